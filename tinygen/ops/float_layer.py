"""FloatConv for kernels that sum and rescale integers: as an ordinary convolution whose results are sure, or marked.

Such a kernel stores for every result what the line says, and marks those that float32 could round otherwise, with a
bit each. Then the C around it takes float32 sums for the marked ones. Result i (its index in y) has bit i % 32 of word
i / 32, and words are counted down from the memory that the kernel has for itself: the first one lies just below.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np

from tinygen.ir import Array, Tensor, read_only
from tinygen.kernel import Around, Body, Kernel, Site, Work
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.float_conv import FloatConv, float_values, float_work
from tinygen.rescaling import OpenLine

_WORD = 32
"""Results that a word of marks is for."""
_OF_WORD = 8
"""Instructions of the C around a kernel for a word of marks, beside the float32 sums."""
_CODE = 500
"""Bytes of it."""


def integer_layer(site: Site) -> Site:
    """The same sums and results as an ordinary layer's, which has an `OpenLine` for its requantisation."""
    return _integer_layer(site._replace(inputs=tuple(site.inputs), outputs=tuple(site.outputs)))


@lru_cache(maxsize=256)
def _integer_layer(site: Site) -> Site:
    op: FloatConv = site.op
    x, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    line = OpenLine(
        tuple((op.scale * scales.data.astype(np.float64) / op.output_scale).tolist()),
        tuple((bias.data.astype(np.float64) / op.output_scale).tolist()),
        tuple(op.bounds(site.inputs).error.tolist()),
    )
    filters, *_, depth = weights.shape
    nothing = Tensor(bias.name, bias.shape, np.dtype(np.int32), None, read_only(np.zeros(filters, np.int32)))
    layer: type[Conv2D] | type[DepthwiseConv2D] = Conv2D
    if depth == 1 < x.shape[3]:
        layer = DepthwiseConv2D
        by_channel = read_only(np.ascontiguousarray(weights.data.transpose(3, 1, 2, 0)))
        weights = Tensor(weights.name, by_channel.shape, weights.dtype, None, by_channel)
    like = layer(op.zero_point, op.weight_zero_point, op.output_zero_point, line, op.clamp, op.window)
    return site._replace(op=like, inputs=(x, weights, nothing))


def mark_words(site: Site) -> int:
    """How many words of marks there are."""
    return -(-site.outputs[0].elements // _WORD)


def with_float(body: Body, site: Site) -> Body:
    """The body of a kernel that marks what it is not sure of, with the C that decides on that."""
    _, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    values, helpers = float_values(site)
    beside: dict[str, Array] = {"weights": weights.data, "scales": scales.data, "bias": bias.data}
    words = mark_words(site)
    work = Work(_OF_WORD * words + float_work(site), _CODE)
    around = Around("ops/float_conv.marked.j2", {**values, "words": words}, frozenset(beside), work)
    constants = {**body.constants, **beside}
    return dataclasses.replace(body, constants=constants, helpers=body.helpers | helpers, around=around)


def takes_float(kernel: Kernel, site: Site) -> bool:
    """Whether a kernel for ordinary convolutions takes this one, too."""
    layer = integer_layer(site)
    return isinstance(layer.op, kernel.op) and kernel.accepts(layer)
