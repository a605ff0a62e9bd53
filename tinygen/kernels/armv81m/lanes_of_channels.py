"""DEPTHWISE_CONV_2D of few outputs: eight neighbouring channels of an output at a time, in vectors.

Nothing is taken apart: bytes of pixels and weights are widened to 16 bits as they are loaded. The sum of two products
of int8 has room there, as long as no weight is -128; it is widened to 32 bits, even lanes and odd ones apart, and added
to the sums. Narrowing puts them together again. The stream, for each eight channels, and for those left over with some
of the ones before:

    for each tap: eight weights
    B, (T, D,) M of the requantisation: four words each of the even channels, and of the odd ones

`templates/ops/depthwise_conv_2d.channels.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.access import Order, Spacing, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.finishing import Finish, VectorForm
from tinygen.kernels.contracts import is_plain
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D

_TOGETHER = 8
"""Channels of a vector of 16 bits."""
_MOST_TAPS = 32
"""That are written out."""


@dataclass(frozen=True)
class Channels:
    """All that follows from shapes; `steps` and so on are bytes."""

    channels: int
    out_height: int
    out_width: int
    offsets: tuple[int, ...]
    """Where each tap is, from the window's first byte on."""
    step: int
    """From a pixel's window to the next one's, and of a row's first pixel to that of the next row."""
    row_step: int

    @staticmethod
    def of(site: Site) -> Channels:
        """That of a layer."""
        op: DepthwiseConv2D = site.op
        (_, _, width, channels), (_, out_height, out_width, _) = site.inputs[0].shape, site.outputs[0].shape
        rows, columns = op.window.rows, op.window.columns
        offsets = tuple(
            (row * rows.dilation * width + column * columns.dilation) * channels
            for row in range(rows.taps)
            for column in range(columns.taps)
        )
        steps = columns.stride * channels, rows.stride * width * channels
        return Channels(channels, out_height, out_width, offsets, *steps)

    @property
    def groups(self) -> int:
        """Whole ones, of eight channels."""
        return self.channels // _TOGETHER

    @property
    def rest(self) -> int:
        """Channels that are left over."""
        return self.channels % _TOGETHER

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first channel of each group."""
        whole = tuple(group * _TOGETHER for group in range(self.groups))
        return (*whole, self.channels - _TOGETHER) if self.rest else whole

    @property
    def moves(self) -> tuple[int, ...]:
        """Bytes from the tap before to each one; of the first, from the last one back to the next group's first."""
        between = (after - before for before, after in zip(self.offsets, self.offsets[1:], strict=False))
        return (_TOGETHER - self.offsets[-1], *between)

    def order(self) -> Order:
        """Pixel by pixel: the window is read again for each group."""
        rows, columns = np.divmod(np.arange(self.out_height * self.out_width, dtype=np.int64), self.out_width)
        first = rows * self.row_step + columns * self.step
        written = np.arange(len(first), dtype=np.int64) * self.channels
        last = first + self.offsets[-1] + self.channels
        return Order(first, last, written, written + self.channels, buffered=False)


def _accepts(site: Site) -> bool:
    """int8, one image, one filter for each of at least eight channels, windows inside, and a proved requantisation."""
    x, weights, _ = site.inputs
    op: DepthwiseConv2D = site.op
    if not is_plain(site) or x.shape[0] != 1 or weights.shape[3] != x.shape[3] or x.shape[3] < _TOGETHER:
        return False
    (_, height, width, _), (_, out_height, out_width, _) = x.shape, site.outputs[0].shape
    axes = ((op.window.rows, height, out_height), (op.window.columns, width, out_width))
    inside = all(axis.before == 0 and (count - 1) * axis.stride + axis.extent <= size for axis, size, count in axes)
    few = op.window.rows.taps * op.window.columns.taps <= _MOST_TAPS
    assert weights.data is not None
    return inside and few and int(weights.data.min()) > -128 and finishing.proved(site) is not None


def _stream(site: Site, plan: Channels, form: VectorForm) -> npt.NDArray[np.uint32]:
    op: DepthwiseConv2D = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    taps = weights.data[0].reshape(len(plan.offsets), plan.channels)
    constants = finishing.by_filter(form, op.folded_bias(weights.data, bias.data))
    start, multiplier, *steps = constants.T
    parts = []
    for first in plan.firsts:
        those = np.s_[first : first + _TOGETHER]
        parts.append(np.ascontiguousarray(taps[:, those]).view("<u4").reshape(-1))
        for values in (start, *steps, multiplier):
            parts += [values[those][0::2], values[those][1::2]]
    return np.concatenate(parts).astype(np.uint32)


def _prepare(site: Site) -> Body:
    plan, form = Channels.of(site), finishing.proved(site)
    assert form is not None
    (_, height, width, channels) = site.inputs[0].shape
    values = {
        "c": plan,
        "finish": Finish.of(form),
        "scale_bits": int(form.scale_bits[0]),
        "together": _TOGETHER,
    }
    return Body(
        values,
        {"data": _stream(site, plan, form)},
        variant=f"{height}x{width}x{channels}",
        proof=form.describe(),
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Channels.of(site).order())}


KERNELS = (
    Kernel(
        "depthwise_conv_2d.channels",
        DepthwiseConv2D,
        _prepare,
        requires=finishing.FEATURES | {"loops"},
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
    ),
)
