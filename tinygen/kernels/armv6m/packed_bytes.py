"""Convolutions and dense layers with a byte of flash for each weight, and one function for layers of all sizes.

Filters are computed in pairs, as in `pairs`, whose order of values and whose bytes of four weights these are. Groups
are as long as they can be. Of a group's words b and values x, with K = -0x00800080 * (the sum of x),

    H = K + the sum of x * (b >> 8 & 0x00ff00ff),  L = K + 256 * K + the sum of x * b - 256 * H

are the sums of both pairs' words, modulo 2**32: what weights have too much, and one of the masks, is taken off once for
a group. The values of a window are gathered in the scratch memory, behind K of their group and behind how far into the
code for the longest group to go for this one. The data:

    sizes, which the function copies to its frame
    for each group, of 16 bits, by how much it is shorter than the longest, doubled, and its values' offsets
    for each four filters
        for each value a word of bytes
        the requantisation's constants of each (see `finishing`)
        bytes from where their results begin to those of the next four; zero after the last ones

`templates/armv6m/packed_bytes.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.interval import Interval
from tinygen.ir import Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing, grouping, packed, pairs
from tinygen.kernels.armv6m.finishing import Finish
from tinygen.kernels.armv6m.grouping import Groups
from tinygen.kernels.armv6m.pairs import TOGETHER
from tinygen.kernels.armv6m.windows import Strip, Windows, flat_array, flat_weights, value_bounds
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted

LONGEST = 16
"""Values of a group, at most."""
_LITTLE = 100_000
"""Products of a layer of windows: more are worth a kernel of its own, unless flash is all that counts."""
_HEAD = 2
"""Words before the values of each group, and behind the last one."""


@dataclass(frozen=True)
class _Shape:
    """The sizes of a layer."""

    windows: Windows
    groups: Groups
    filters: int

    @staticmethod
    def of(site: Site) -> _Shape:
        weights, bounds = site.inputs[1], value_bounds(site)
        groups = _groups(weights, bounds.low.tobytes(), bounds.high.tobytes())
        return _Shape(Windows.of(site), groups, weights.shape[0])

    @property
    def row_bytes(self) -> int:
        """Of a window's values and what is between them."""
        return 4 * (self.groups.slots + _HEAD * (self.groups.count + 1))

    @property
    def scratch(self) -> int:
        """Bytes in all."""
        return self.row_bytes + (self.windows.strip.bytes if self.windows.strip else 0)

    def sizes(self, stream_at: int) -> dict[str, int]:
        """What the frame begins with, by name; distances are in bytes."""
        windows = self.windows
        sizes = {
            "stream": stream_at,
            "groups": self.groups.count,
            "step": windows.step,
            "extent": windows.extent,
            "lines": windows.lines,
        }
        strip = windows.strip
        return sizes | (_strip_sizes(strip, self.row_bytes) if strip else {"line": windows.line})

    def runs(self) -> dict[str, int]:
        """How often the blocks of the kernel run."""
        windows, strip = self.windows, self.windows.strip
        fours = -(-self.filters // TOGETHER)
        runs = {
            "windows": windows.count,
            "lines": windows.lines,
            "next_windows": windows.count - windows.lines,
            "next_lines": windows.lines - 1,
            "fours": windows.count * fours,
            "next_fours": windows.count * (fours - 1),
            "gathered_groups": windows.count * self.groups.count,
            "gathered": windows.count * self.groups.slots,
            "groups": windows.count * fours * (self.groups.count + 1),
            "whole_groups": windows.count * fours * self.groups.count,
            "values": windows.count * fours * self.groups.slots,
        }
        return runs | (_strip_runs(strip, windows.lines) if strip else {})


def _strip_sizes(strip: Strip, begin: int) -> dict[str, int]:
    return {
        "gathered": begin,
        "strip_bytes": strip.bytes,
        "zero": strip.zero_byte * 0x01010101,
        "strip_rows": strip.taps * strip.pitch,
        "image": -strip.before * strip.image_row,
        "image_row": -strip.before,
        "stride_bytes": strip.stride * strip.image_row,
        "stride": strip.stride,
        "dilation_bytes": strip.dilation * strip.image_row,
        "dilation": strip.dilation,
        "pitch": strip.pitch,
        "lead": strip.lead,
        "copied": strip.copied,
        "height": strip.height,
    }


def _strip_runs(strip: Strip, lines: int) -> dict[str, int]:
    return {
        "strip_words": strip.bytes // 4,
        "strip_rows": strip.taps * lines,
        "inside": strip.inside,
        "outside": strip.outside,
        "copied": strip.inside * strip.copied,
        "filled": strip.outside * strip.copied,
    }


@lru_cache(maxsize=64)
def _groups(weights: Tensor, low: bytes, high: bytes) -> Groups:
    bounds = Interval(np.frombuffer(low, np.int64), np.frombuffer(high, np.int64))
    return grouping.of_any_size(flat_array(weights), bounds, LONGEST)


def _accepts(site: Site) -> bool:
    """Flash is what counts, or several windows are little work; for the rest as other packed layers."""
    if site.objective == "speed" or not packed.accepts(site):
        return False
    windows = Windows.of(site)
    if site.objective != "size" and not 1 < windows.count <= _LITTLE // flat_weights(site).size:
        return False
    return windows.strip is None or windows.strip.copied > 0


def _table(shape: _Shape) -> npt.NDArray[np.uint16]:
    """Of each group how much is skipped for it, and its values' offsets; whole words."""
    table: list[int] = []
    order = iter(shape.groups.order)
    for size in shape.groups.sizes:
        table.append(2 * (LONGEST - size))
        table += [int(shape.windows.offsets[next(order)]) for _ in range(size)]
    return np.array(table + [0] * (len(table) % 2), "<u2")


def _prepare(site: Site) -> Body:
    op: Weighted = site.op
    shape, form = _Shape.of(site), finishing.proved(site)
    weights, bias = (tensor.data for tensor in site.inputs[1:])
    assert form is not None and weights is not None and bias is not None
    table = _table(shape).view("<u4").astype(np.uint32)
    sizes = shape.sizes(table.nbytes)
    if finishing.has_rest(form):
        sizes["doubled_zero"] = 2 * op.output_zero_point + 1
    frame = packed.Frame.of([*sizes, "x", "end", "table", "row", "mask"])
    short, lacking = finishing.is_short(form), op.folded_bias(weights, bias)
    filters = pairs.stream(shape.groups, flat_weights(site), form, lacking, in_bytes=True, short=short)
    alone = [] if shape.filters > TOGETHER else [streams.words(np.zeros(1, np.int64))]
    data = np.concatenate([streams.words(np.array([*sizes.values()])), table, filters, *alone])
    strip = shape.windows.strip
    doubled_at = frame.offsets.get("doubled_zero")
    values = {
        "strip": strip is not None,
        "results": min(shape.filters, TOGETHER),
        "finish": Finish(form, pairs.FREE, short, decided_in=pairs.DECIDED_IN, doubled_at=doubled_at),
        "sizes": list(sizes),
        "frame": frame,
        "longest": LONGEST,
    }
    return Body(
        values,
        {"data": data},
        variant="strip" if strip else "",
        proof=form.describe(),
        runs=shape.runs(),
        apart=form.near is not None,
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Windows.of(site).order)}


def _kernel(name: str, op: type[Weighted]) -> Kernel:
    return Kernel(
        name,
        op,
        _prepare,
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=lambda site: _Shape.of(site).scratch,
    )


KERNELS = (
    _kernel("conv_2d.packed_bytes", Conv2D),
    _kernel("fully_connected.packed_bytes", FullyConnected),
)
