"""CONV_2D over patches at the border only: windows inside the image are gathered and expanded from where they are.

The windows of a block that reach over the border are first patched together in the scratch: the part of the image under
them, with the zero point around it. That is little: no row of the image is copied whole. Blocks are pieces of a row of
results; the last one of a row may begin within the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.fixedpoint import IntArray
from tinygen.interval import BoolArray
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import filters
from tinygen.kernels.armv7em.filters import (
    GROUP,
    UNROLLED,
    Filters,
    Frame,
    Layer,
    Sums,
    group_bytes,
    lane_counts,
)
from tinygen.kernels.armv7em.gathering import FARTHEST, Gather, Window, block_cost, takes_wide_weights
from tinygen.kernels.armv7em.lanes import Lanes, Zero
from tinygen.kernels.armv7em.plane import Plane
from tinygen.ops.conv_2d import Conv2D

_EIGHT = tuple(f"r{register}" for register in range(4, 12))


@dataclass(frozen=True)
class BorderFrame(Frame):
    """Also: where the loops are."""

    limit: int = 12
    """Where the expansion of a window ends."""
    inner: int = 16
    """Where that of a window's row ends."""
    x: int = 20
    """The first row under the results; may lie above the image."""
    row: int = 24
    """Its number."""
    rows: int = 28
    """Rows of results to come."""
    left: int = 32
    """Blocks of the row to come."""
    base: int = 36
    """The first window of the next block."""

    @property
    def bytes(self) -> int:
        """All words."""
        return self.table[-1] + 4


@dataclass(frozen=True)
class Patch:
    """The rows under a block's windows, where they are patched together."""

    rows: int
    row: int
    """Bytes of each."""

    @property
    def bytes(self) -> int:
        """Whole words."""
        return -(-self.rows * self.row // 4) * 4

    @property
    def fills(self) -> int:
        """Times that eight words fill it."""
        return self.bytes // 32

    @property
    def filled(self) -> int:
        """Bytes of these."""
        return self.bytes // 32 * 32

    @property
    def rest(self) -> tuple[str, ...]:
        """Registers for further words."""
        return _EIGHT[: self.bytes % 32 // 4]


@dataclass(frozen=True, eq=False)
class BorderPatches:
    """All that the template and the stream need to know."""

    plane: Plane
    most: int
    """Groups that are written out."""
    most_lanes: int = 4
    """Pixels of a block; the fewer, the less scratch."""

    @cached_property
    def window(self) -> Window:
        """Nothing beyond a window's row is read: it may be none of the image's."""
        return Window(self.plane.rows.taps, self.plane.columns.taps * self.plane.channels, exact=True)

    @property
    def pitch(self) -> int:
        """Bytes of a row of the image."""
        return self.plane.width * self.plane.channels

    @property
    def straight(self) -> bool:
        """Whether a window is gathered without a loop."""
        return self.window.groups <= self.most and self.window.rows * self.pitch <= FARTHEST

    @property
    def wide(self) -> bool:
        """Whether weights are wide."""
        return self.straight and takes_wide_weights(self.plane, self.window.groups, self.most)

    @cached_property
    def lanes(self) -> int:
        """Pixels of a block."""
        plane, width = self.plane, self.plane.out_width

        def cost(lanes: int) -> float:
            return -(-width // lanes) * block_cost(plane, lanes, self.window.groups, self.wide)

        counts = lane_counts(width, plane.weights, self.wide)
        return min((lanes for lanes in counts if lanes <= self.most_lanes), key=cost)

    @property
    def blocks(self) -> int:
        """Of a row of results."""
        return -(-self.plane.out_width // self.lanes)

    @property
    def count(self) -> int:
        """Of all rows."""
        return self.blocks * self.plane.out_height

    @property
    def overlap(self) -> int:
        """Pixels that a row's last block computes again."""
        return self.blocks * self.lanes - self.plane.out_width

    @property
    def step(self) -> int:
        """Bytes from a window to the next in its row."""
        return self.plane.columns.stride * self.plane.channels

    @property
    def patch(self) -> Patch:
        """Of a block."""
        return Patch(self.window.rows, (self.lanes - 1) * self.step + self.window.run)

    @cached_property
    def sums(self) -> Sums:
        """Over the one run."""
        return Sums.of(1, self.window.groups, self.lanes, self.most)

    @property
    def window_bytes(self) -> int:
        """The expanded windows of a block, with what the last chunk is filled up with."""
        return self.sums.groups * group_bytes(self.lanes)

    def gather(self, pitch: int) -> Gather:
        """From rows that lie so many bytes apart."""
        return Gather(self.window, pitch, self.lanes, self.straight, self.wide)

    # --- where windows lie --------------------------------------------------------------------------------------------

    @property
    def first_pixels(self) -> IntArray:
        """(blocks,): of each block in its row of results."""
        return np.asarray(np.minimum(np.arange(self.blocks) * self.lanes, self.plane.out_width - self.lanes))

    @property
    def first_bytes(self) -> IntArray:
        """(blocks,): where in the rows of the image the windows begin; before them, too."""
        return np.asarray(self.first_pixels * self.step - self.plane.columns.before * self.plane.channels)

    @property
    def inside_bytes(self) -> IntArray:
        """(blocks, 2): the first byte of the image under the windows, in its row, and the first one beyond."""
        ends = np.stack([self.first_bytes, self.first_bytes + self.patch.row], axis=1)
        return np.asarray(ends.clip(0, self.pitch))

    @property
    def inside_rows(self) -> IntArray:
        """(rows of results, 2): the same for rows of the image."""
        first = self.plane.in_rows[:, 0]
        return np.asarray(np.stack([first, first + self.window.rows], axis=1).clip(0, self.plane.height))

    @property
    def whole_columns(self) -> BoolArray:
        """(blocks,): where no window reaches over the border to the left or right; neighbours."""
        return np.asarray(np.diff(self.inside_bytes)[:, 0] == self.patch.row)

    @property
    def whole_rows(self) -> BoolArray:
        """(rows of results,): the same above and below; neighbours, too."""
        return np.asarray(np.diff(self.inside_rows)[:, 0] == self.window.rows)

    @property
    def order(self) -> Order:
        """The windows of a block are read before its first result is written."""
        (top, bottom), (first, last) = self.inside_rows.T, self.inside_bytes.T
        results = np.arange(self.plane.out_height)[:, None] * self.plane.out_width + self.first_pixels
        written = results.reshape(-1) * self.plane.filters
        return Order(
            (top[:, None] * self.pitch + first).reshape(-1),
            ((bottom - 1)[:, None] * self.pitch + last).reshape(-1),
            written,
            written + self.lanes * self.plane.filters,
        )


@dataclass(frozen=True)
class Border:
    """How often windows are patched together, and of what."""

    inside: int
    """Blocks of which no window reaches over the border."""
    in_whole_rows: int
    """Blocks without those in rows of results whose windows reach over it above or below."""
    whole_rows: int
    """Rows of the image at which the windows of such a block may begin."""
    whole_columns: int
    """Blocks of a row that do not reach over it to the left or right."""
    columns_after: int
    """Blocks of a row after these."""
    blocks: int
    """That do reach over it."""
    rows: int
    """Rows that are patched into these,"""
    words: int
    bytes: int
    """and of what."""

    @staticmethod
    def of(patches: BorderPatches) -> Border:
        """Of all blocks."""
        rows, columns = patches.whole_rows, patches.whole_columns
        at_border = ~(rows[:, None] & columns)
        copied = at_border * np.diff(patches.inside_rows)
        sizes = np.diff(patches.inside_bytes)[:, 0]
        return Border(
            inside=int((~at_border).sum()),
            in_whole_rows=int(rows.sum()) * patches.blocks,
            whole_rows=patches.plane.height - patches.window.rows + 1,
            whole_columns=int(columns.sum()),
            columns_after=patches.blocks - 1 - int(np.flatnonzero(columns).max()),
            blocks=int(at_border.sum()),
            rows=int(copied.sum()),
            words=int((copied * (sizes // GROUP)).sum()),
            bytes=int((copied * (sizes % GROUP)).sum()),
        )


def _accepts(most: int, most_lanes: int, site: Site) -> bool:
    """Where some windows lie inside the image, and some do not, but none wholly outside."""
    if not filters.takes(site):
        return False
    plane = Plane.of(site)
    if any(axis.dilation > 1 and axis.taps > 1 for axis in (plane.rows, plane.columns)):
        return False
    patches = BorderPatches(plane, most, most_lanes)
    rows, columns = patches.whole_rows, patches.whole_columns
    mixed = rows.any() and columns.any() and not (rows.all() and columns.all())
    touched = np.diff(patches.inside_rows).all() and np.diff(patches.inside_bytes).all()
    gathered = patches.straight or patches.window.run % GROUP == 0
    return bool(mixed and touched and gathered) and Layer.of(site, patches.window.weights(plane)) is not None


def _scratch(most: int, most_lanes: int, site: Site) -> int:
    patches = BorderPatches(Plane.of(site), most, most_lanes)
    return patches.window_bytes + patches.patch.bytes


def _overlaps(most: int, most_lanes: int, site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(BorderPatches(Plane.of(site), most, most_lanes).order)}


def _prepare(most: int, most_lanes: int, site: Site) -> Body:
    patches = BorderPatches(Plane.of(site), most, most_lanes)
    layer = Layer.of(site, patches.window.weights(patches.plane), patches.wide)
    assert layer is not None
    plane, lanes = patches.plane, patches.lanes
    values = {
        "plane": plane,
        "patches": patches,
        "border": Border.of(patches),
        "frame": BorderFrame(1),
        "f": Filters.of(layer, patches.sums, tuple(lane * plane.filters for lane in range(lanes)), patches.count),
        "lanes": Lanes.of(lanes, layer.packed, layer.wide),
        "in_x": patches.gather(patches.pitch),
        "in_patch": patches.gather(patches.patch.row),
        "zero": Zero.of(site.op.zero_point, layer.packed),
        "eight": _EIGHT,
        "x_before": plane.rows.before * patches.pitch,
        "x_left": plane.columns.before * plane.channels,
        "x_next": plane.rows.stride * patches.pitch,
        "steps": tuple(lane * patches.step for lane in range(lanes)),
        "advance": lanes * patches.step,
        "back": patches.overlap * patches.step,
        "y_advance": (lanes - 1) * plane.filters,
        "y_back": patches.overlap * plane.filters,
    }
    shape = f"{plane.rows.taps}x{plane.columns.taps}x{plane.channels}"
    return Body(
        values,
        {"data": layer.stream(patches.sums)},
        variant=f"{shape}_{plane.filters}_{plane.out_height}x{plane.out_width}",
        proof=layer.form.describe(),
    )


def _accepts_fewer(most_lanes: int, site: Site) -> bool:
    """Where blocks would have more lanes otherwise."""
    return _accepts(UNROLLED, most_lanes, site) and BorderPatches(Plane.of(site), UNROLLED).lanes > most_lanes


def _kernel(name: str, most: int, most_lanes: int, accepts: Callable[[Site], bool]) -> Kernel:
    return Kernel(
        name,
        Conv2D,
        partial(_prepare, most, most_lanes),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=accepts,
        overlaps=partial(_overlaps, most, most_lanes),
        assembly=True,
        scratch=partial(_scratch, most, most_lanes),
    )


KERNELS = (
    _kernel("conv_2d.border_patches", UNROLLED, 4, partial(_accepts, UNROLLED, 4)),
    _kernel("conv_2d.border_patches_2x2", UNROLLED, 2, partial(_accepts_fewer, 2)),
    _kernel("conv_2d.border_patches_2x1", UNROLLED, 1, partial(_accepts_fewer, 1)),
)
