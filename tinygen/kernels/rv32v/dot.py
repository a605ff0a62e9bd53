"""Dot products of vectors: FULLY_CONNECTED, and CONV_2D, of single pixels or of the rows of windows.

An output's products, of 16 bits each, are made 32 at a time where vectors have 128 bits, and added to as many sums of
32 bits, which are summed at the end. Sums may wrap around on the way: there is room for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tinygen.access import Spacing
from tinygen.fixedpoint import INT32_MAX
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops.common import INT8
from tinygen.ops.conv_2d import Conv2D, is_contiguous
from tinygen.ops.convolution import convolution_body
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.overlaps import by_row, by_window
from tinygen.ops.weighted import Weighted, weighted_body
from tinygen.ops.window import WindowLoops
from tinygen.ops.work import EDGE, WINDOW, pixels

_AT_ONCE = 32
_TURN, _OUTPUT = 11, 45
"""Instructions of a turn of the inner loop, and of an output besides."""
_ROW = 24
"""Of a row of a window, besides its turns."""
_CODE_BYTES = 220
_EDGE_BYTES = 220
_LEAST_ROW = 16
"""Elements of a window's row: with fewer, vectors take longer than C."""


def _shape(site: Site) -> tuple[int, int]:
    """Filters, and the elements of each."""
    _, weights, _ = site.inputs
    return weights.shape[0], math.prod(weights.shape[1:])


def _prepare(site: Site) -> Body:
    op: Weighted = site.op
    x, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    filters, depth = _shape(site)
    values = {"rows": x.elements // depth, "depth": depth, "filters_count": filters}
    biases = {"bias": op.folded_bias(weights.data, bias.data)}
    return weighted_body(site, values, biases, frozenset({"dot_vectors"}))


def _accepts(site: Site) -> bool:
    """Sums of 32 bits, of int8 values as they lie in memory."""
    x, weights, _ = site.inputs
    op: Weighted = site.op
    plain = (x.dtype, weights.dtype) == (INT8, INT8) and not weights.packed and op.weight_zero_point == 0
    return plain and int(op.bound(site.inputs).max()) <= INT32_MAX


def _accepts_pixels(site: Site) -> bool:
    """Windows of one pixel each, of all pixels in their order, that see all channels."""
    x, weights, _ = site.inputs
    (y,) = site.outputs
    return (
        _shape(site)[1] == x.shape[3] and x.shape[:3] == y.shape[:3] and weights.shape[1:3] == (1, 1) and _accepts(site)
    )


def _work(site: Site) -> Work:
    turns = math.ceil(_shape(site)[1] / _AT_ONCE)
    return Work(site.outputs[0].elements * (_TURN * turns + _OUTPUT), _CODE_BYTES)


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    filters, depth = _shape(site)
    return by_row(site, depth, filters)


def _accepts_windows(site: Site) -> bool:
    """Windows whose rows are long enough runs of bytes, some of which lie inside the image."""
    _, _, kernel_w, depth = site.inputs[1].shape
    return kernel_w * depth >= _LEAST_ROW and is_contiguous(site) and WindowLoops.at(site).has_inside and _accepts(site)


def _prepare_windows(site: Site) -> Body:
    _, kernel_h, kernel_w, depth = site.inputs[1].shape
    run = kernel_w * depth
    values = {"depth": depth, "run": run, "filter_size": kernel_h * run}
    return convolution_body(site, values, frozenset({"dot_vectors"}))


def _window_work(site: Site) -> Work:
    """Windows over the border take what they take without vectors."""
    filters, kernel_h, kernel_w, depth = site.inputs[1].shape
    inside, edge = pixels(WindowLoops.at(site))
    row = _TURN * math.ceil(kernel_w * depth / _AT_ONCE) + _ROW
    line = WINDOW[site.objective]
    over_border = EDGE * (line.slope * kernel_h * kernel_w * depth + line.start)
    instructions = filters * (inside * (kernel_h * row + _OUTPUT) + edge * over_border)
    return Work(site.inputs[0].shape[0] * round(instructions), _CODE_BYTES + (_EDGE_BYTES if edge else 0))


def _window_overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_window(site, site.op.window, channelwise=False)


KERNELS = tuple(
    Kernel(name, op, prepare, requires=frozenset({"rvv"}), accepts=accepts, work=work, overlaps=overlaps)
    for name, op, prepare, accepts, work, overlaps in (
        ("fully_connected.vectors", FullyConnected, _prepare, _accepts, _work, _overlaps),
        ("conv_2d.pointwise_vectors", Conv2D, _prepare, _accepts_pixels, _work, _overlaps),
        ("conv_2d.window_vectors", Conv2D, _prepare_windows, _accepts_windows, _window_work, _window_overlaps),
    )
)
