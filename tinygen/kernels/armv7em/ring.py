"""CONV_2D over a ring of expanded rows: as many rows of the image as a window spans, each value expanded once.

A row of results is cut into up to four equal pieces, which are computed side by side: the lanes. Where the row's length
is no multiple, pieces overlap, and some results are computed twice. A row in the ring holds, for each position of a
window's first column within a piece and on to the last one's end, the pixels of all lanes, expanded and interleaved.
So a row of a window is one run, or one for each tap if the taps lie apart; and where it lies outside the image it holds
the expansion of the zero point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import filters
from tinygen.kernels.armv7em.filters import (
    COMPACT,
    GROUP,
    UNROLLED,
    Filters,
    Layer,
    Sums,
    group_bytes,
    lane_counts,
)
from tinygen.kernels.armv7em.frames import RingFrame
from tinygen.kernels.armv7em.lanes import Lanes, Zero
from tinygen.kernels.armv7em.plane import Plane
from tinygen.ops.conv_2d import Conv2D

_MOST_ADDRESSES = 128
"""Of rows, and of runs: they are on the stack."""

_UNROLLED = 4
"""Groups of a position that are written out."""


@dataclass(frozen=True)
class Stretch:
    """Neighbouring positions of a row at which the same lanes lie outside the image, and the loops over them."""

    outside: tuple[bool, ...]
    times: int
    """How often the body runs: for some whole groups, or for one position with `rest`."""
    inner: int
    """How often the groups run in the body; more than once, they are a loop."""
    groups: int
    """Whole groups that are written out."""
    rest: int
    """Values of a last group that is not whole."""
    bytes: int
    """That are written."""
    inner_bytes: int


@dataclass(frozen=True, eq=False)
class Ring:
    """All that the template and the stream need to know."""

    plane: Plane
    most: int
    """Groups that are written out."""

    @cached_property
    def lanes(self) -> int:
        """Pieces of a row."""
        width = self.plane.out_width
        groups = self.runs * self.run
        return min(lane_counts(width, self.plane), key=lambda lanes: filters.cost(width, lanes, groups))

    @property
    def length(self) -> int:
        """Results of a piece."""
        return -(-self.plane.out_width // self.lanes)

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first result of each piece."""
        between = max(self.lanes - 1, 1)
        return tuple(lane * (self.plane.out_width - self.length) // between for lane in range(self.lanes))

    @property
    def pixel(self) -> int:
        """Groups of a pixel."""
        return -(-self.plane.channels // GROUP)

    @property
    def apart(self) -> bool:
        """Whether the taps of a row are no neighbours."""
        return self.plane.columns.dilation > 1

    @property
    def runs(self) -> int:
        """Of a window."""
        return self.plane.rows.taps * (self.plane.columns.taps if self.apart else 1)

    @property
    def run(self) -> int:
        """Groups of a run."""
        return self.pixel * (1 if self.apart else self.plane.columns.taps)

    @property
    def first_runs(self) -> tuple[tuple[int, int], ...]:
        """For each run, the row of the ring, and the bytes from where that begins to the first window's run."""
        between = self.plane.columns.dilation * self.pixel * group_bytes(self.lanes)
        taps = self.plane.columns.taps if self.apart else 1
        rows = self.plane.rows
        return tuple((row * rows.dilation, tap * between) for row in range(rows.taps) for tap in range(taps))

    @cached_property
    def sums(self) -> Sums:
        """Over the runs."""
        return Sums.of(self.runs, self.run, self.lanes, self.most)

    @property
    def positions(self) -> int:
        """Pixels of each lane in a row of the ring."""
        return self.plane.columns.stride * (self.length - 1) + self.plane.columns.extent

    @property
    def row_bytes(self) -> int:
        """Of a row in the ring."""
        return self.positions * self.pixel * group_bytes(self.lanes)

    @property
    def bytes(self) -> int:
        """The ring, with what its last run may be filled up with."""
        beyond = self.sums.groups - self.run
        return self.plane.rows.extent * self.row_bytes + beyond * group_bytes(self.lanes)

    @property
    def first_columns(self) -> tuple[int, ...]:
        """The input column of each lane's first position; may lie outside the image."""
        return tuple(first * self.plane.columns.stride - self.plane.columns.before for first in self.firsts)

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """A row of the ring, from left to right."""
        columns = np.array(self.first_columns) + np.arange(self.positions)[:, None]
        outside = [tuple(row) for row in ((columns < 0) | (columns >= self.plane.width)).tolist()]
        return tuple(self._stretch(lanes, len(list(group))) for lanes, group in groupby(outside))

    def _stretch(self, outside: tuple[bool, ...], positions: int) -> Stretch:
        size = group_bytes(self.lanes)
        whole, rest = divmod(self.plane.channels, GROUP)
        total = positions * self.pixel * size
        if not rest:
            groups = 2 - positions * whole % 2
            return Stretch(outside, positions * whole // groups, 1, groups, 0, total, 0)
        if whole <= _UNROLLED:
            return Stretch(outside, positions, 1, whole, rest, total, 0)
        groups = 2 - whole % 2
        return Stretch(outside, positions, whole // groups, groups, rest, total, whole * size)

    @property
    def new_rows(self) -> list[int]:
        """Rows of the image that enter the ring, in order; outside the image, too."""
        rows = self.plane.rows
        first = range(-rows.before, rows.extent - rows.before)
        new = min(rows.stride, rows.extent)
        return [
            *first,
            *(row + y * rows.stride for y in range(1, self.plane.out_height) for row in first[rows.extent - new :]),
        ]

    @property
    def order(self) -> Order:
        """All rows under a row of results are in the ring before that is written, and no row is read twice."""
        rows = self.plane.rows
        at = np.arange(self.plane.out_height, dtype=np.int64)
        ends = at * rows.stride + rows.extent - rows.before
        first = np.where(at == 0, 0, ends - min(rows.stride, rows.extent)).clip(0, self.plane.height)
        row = self.plane.width * self.plane.channels
        written = self.plane.out_width * self.plane.filters
        return Order(first * row, ends.clip(0, self.plane.height) * row, at * written, (at + 1) * written)


def _rows(ring: Ring) -> Array:
    """Weights (filters, runs, values of a run) as the ring's groups want them."""
    plane = ring.plane
    padded = np.zeros((*plane.weights.shape[:3], ring.pixel * GROUP), np.int8)
    padded[..., : plane.channels] = plane.weights
    return padded.reshape(plane.filters, ring.runs, -1)


def _accepts(site: Site) -> bool:
    if not filters.takes(site):
        return False
    ring = Ring(filters.plane_of(site), UNROLLED)
    return ring.runs + ring.plane.rows.extent <= _MOST_ADDRESSES and Layer.of(site, _rows(ring)) is not None


def _scratch(most: int, site: Site) -> int:
    return Ring(filters.plane_of(site), most).bytes


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Ring(filters.plane_of(site), UNROLLED).order)}


def _prepare(most: int, site: Site) -> Body:
    ring = Ring(filters.plane_of(site), most)
    layer = Layer.of(site, _rows(ring))
    assert layer is not None
    plane, lanes = ring.plane, ring.lanes
    new = ring.new_rows
    inside = sum(0 <= row < plane.height for row in new)
    offsets = tuple(first * plane.filters for first in ring.firsts)
    row = plane.width * plane.channels
    stride, extent = plane.rows.stride, plane.rows.extent
    values = {
        "plane": plane,
        "ring": ring,
        "frame": RingFrame(ring.runs, span=extent),
        "f": Filters.of(layer, ring.sums, offsets, plane.out_height * ring.length),
        "lanes": Lanes.of(lanes, layer.packed, scale=layer.scale),
        "zero": Zero.of(site.op.zero_point, layer.packed, layer.scale),
        "x_row": row,
        "x_before": plane.rows.before * row,
        "x_lanes": tuple(min(max(column, 0), plane.width - 1) * plane.channels for column in ring.first_columns),
        "first_wanted": extent - plane.rows.before,
        "rows": len(new),
        "inside": inside,
        "outside": len(new) - inside,
        "skipped": max(stride - extent, 0),
        "x_skipped": max(stride - extent, 0) * row,
        "step": plane.columns.stride * ring.pixel * group_bytes(lanes),
        "beyond": (plane.out_width - ring.length) * plane.filters,
    }
    data = layer.after_zero_point(layer.stream(ring.sums))
    return Body(values, {"data": data}, variant=plane.variant, proof=layer.form.describe(), runs=layer.runs)


def _kernel(name: str, most: int) -> Kernel:
    return Kernel(
        name,
        Conv2D,
        partial(_prepare, most),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=partial(_scratch, most),
    )


KERNELS = (_kernel("conv_2d.ring", UNROLLED), _kernel("conv_2d.ring_compact", COMPACT))
