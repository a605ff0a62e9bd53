"""The requantisation of depthwise layers, and constants of four channels or one as words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinygen.access import Order, Spacing, by_channels, spacing
from tinygen.fixedpoint import IntArray
from tinygen.kernel import Site
from tinygen.ops.common import INT8
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.proofs.high_product import HighProduct, prove_high_product
from tinygen.proofs.mixed_product import mixed_product
from tinygen.proofs.open_product import open_product
from tinygen.rescaling import OpenLine

_SCALES = (1, 2, 3, 4, 5, 7, 9, 11, 13, 16, 19, 23, 29, 37, 47, 59, 73, 91, 113, 127, 149, 181, 211, 251)
"""What the weights of a channel may be multiplied by to make its requantisation provable: the least that does."""
_SCALES_WITH_STEP = (255, 128, 64, 32, 16, 4, 1)
"""The same for the form with a step, whose start value has only as many choices as the scale."""
_STEPS = 2
"""Outputs on either side of zero that the form with a step is proved for, even if a channel does not reach them: on a
side without any it is not looked for."""


def is_int8(site: Site) -> bool:
    """Whether one image and its weights are plain int8, the weights around zero."""
    op: DepthwiseConv2D = site.op
    x, weights, _ = site.inputs
    return (
        x.dtype == INT8
        and x.shape[0] == 1
        and weights.dtype == INT8
        and not weights.packed
        and op.weight_zero_point == 0
    )


def form(site: Site) -> HighProduct | None:
    """The requantisation, each channel's weights scaled by what proves it, as far as they then are int16."""
    op: DepthwiseConv2D = site.op
    weights = site.inputs[1].data
    assert weights is not None
    low, high = op.reach(site.inputs)
    most = 32767 // max(1, int(np.abs(weights.astype(np.int64)).max()))
    layer = (op.requant, op.output_zero_point, op.clamp)
    scales = [scale for scale in _SCALES if scale <= most]
    if isinstance(op.requant, OpenLine):
        return open_product(op.requant, op.output_zero_point, op.clamp, low, high, scale=scales)
    if site.mixed:
        return mixed_product(*layer, low, high, scale=scales)
    found = prove_high_product(*layer, low, high, scale=scales, with_step=False)
    if found is not None:
        return found
    near = np.ceil(_STEPS / np.maximum(np.array(op.requant.factors), 1e-6)).astype(np.int64)
    scales = [scale for scale in _SCALES_WITH_STEP if scale <= most]
    near_low, near_high = np.minimum(low, -near), np.maximum(high, near)
    found = prove_high_product(*layer, near_low, near_high, scale=scales, with_step=True)
    if found is not None or "fpu" not in site.features:
        return found
    return mixed_product(*layer, low, high, scale=[scale for scale in _SCALES if scale <= most])


def weights(site: Site, product: HighProduct) -> IntArray:
    """(rows, columns, filters), scaled."""
    data = site.inputs[1].data
    assert data is not None
    return np.asarray(data[0].astype(np.int64) * product.scale)


def starts(site: Site, product: HighProduct, *, folded: bool) -> IntArray:
    """What sums begin with; `folded`: those of inputs from which the zero point has not been subtracted."""
    op: DepthwiseConv2D = site.op
    _, data, bias = site.inputs
    assert data.data is not None and bias.data is not None
    values = op.folded_bias(data.data, bias.data) if folded else bias.data.astype(np.int64)
    return np.asarray(values * product.scale + product.start)


def in_groups(order: Order, groups: int) -> Spacing:
    """How the output may overlap the input: `order` is that of each group of channels, which follow one another."""
    return spacing(order) if groups == 1 else by_channels(order)


def at_once(site: Site, groups: int) -> Spacing:
    """The same where all of a group is read before any of it is written."""
    (y,) = site.outputs
    start = np.zeros(1, np.int64)
    return in_groups(Order(start, start + site.inputs[0].bytes, start, start + y.bytes), groups)


def halves(below: IntArray, above: IntArray) -> IntArray:
    """Two int16 as the halfwords of a word."""
    return np.asarray(below & 0xFFFF | (above & 0xFFFF) << 16)


def words(values: IntArray) -> npt.NDArray[np.uint32]:
    """Integers modulo 2**32."""
    return np.asarray(values & 0xFFFFFFFF, np.uint32).reshape(-1)
