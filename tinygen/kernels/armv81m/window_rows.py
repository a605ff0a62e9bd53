"""CONV_2D whose windows have short rows: the windows of a row of outputs are copied, one after the other.

Each row of each window is a load and a store. Where windows reach over a side of the image, what is outside is the zero
point, which is there from the beginning; rows outside the image are written. Then two filters' weights stay in
registers while the windows pass by (see `passing`).

`templates/armv81m/window_rows.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tinygen.access import Spacing, rows, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.passing import Passing, body_of
from tinygen.kernels.armv81m.pixel_blocks import PixelBlocks
from tinygen.kernels.armv81m.values import LANES, has_byte_of_zero
from tinygen.kernels.armv81m.window_bytes import WindowBytes
from tinygen.ops.conv_2d import Conv2D

_FARTHEST_STEP = 127
"""By how many bytes a load or store can move its pointer."""
TOGETHER = 4
"""Windows that are copied in a turn."""


class Piece(NamedTuple):
    """Neighbouring windows that have as many bytes of a row of the image."""

    windows: int
    bytes: int
    begin: int
    """Of the first one, in the row of the image."""
    place: int
    """Where that goes, in bytes from the first window's row."""

    @property
    def turns(self) -> int:
        """Of a loop over `TOGETHER` windows each; none, if they are few."""
        return self.windows // TOGETHER if self.windows >= 2 * TOGETHER else 0

    @property
    def rest(self) -> int:
        """Windows after that."""
        return self.windows - self.turns * TOGETHER


@dataclass(frozen=True, eq=False)
class WindowRows(WindowBytes):
    """All that the template and the stream need to know."""

    @property
    def in_row(self) -> int:
        """Bytes of a row of the image."""
        return self.plane.width * self.plane.channels

    @property
    def step(self) -> int:
        """Bytes of the image from a window to the next one."""
        return self.plane.columns.stride * self.plane.channels

    @property
    def passing(self) -> Passing:
        """The windows of a row of outputs; each begins at a whole vector."""
        blocks = PixelBlocks(self.plane.out_width, self.depth, self.plane.filters, self.size)
        return Passing(blocks, -(-self.depth // LANES) * LANES, self.plane.filters)

    @property
    def scratch(self) -> int:
        """Bytes of all windows."""
        return self.plane.out_width * self.passing.pitch

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """From the left to the right."""
        return tuple(self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        first = None
        for window in range(self.plane.out_width):
            begin = window * self.step - self.plane.columns.before * self.plane.channels
            left, right = max(begin, 0), min(begin + self.run, self.in_row)
            place = window * self.passing.pitch + left - begin
            if right - left == self.run:
                first = first or (left, place, window)
                continue
            if first:
                yield Piece(window - first[2], self.run, *first[:2])
                first = None
            if right > left:
                yield Piece(1, right - left, left, place)
        if first:
            yield Piece(self.plane.out_width - first[2], self.run, *first[:2])

    @property
    def clipped(self) -> bool:
        """Whether any windows reach over a side of the image."""
        return sum(piece.windows for piece in self.pieces if piece.bytes == self.run) < self.plane.out_width

    @property
    def outside(self) -> int:
        """Rows of windows above and below the image."""
        found = self.plane.in_rows
        return int(((found < 0) | (found >= self.plane.height)).sum())

    @property
    def inside(self) -> int:
        """The others."""
        return self.plane.out_height * self.plane.rows.taps - self.outside

    @property
    def fits(self) -> bool:
        """Whether all is within reach."""
        return self.run <= LANES and self.step <= _FARTHEST_STEP and self.passing.fits


def _accepts(site: Site) -> bool:
    """One image, all channels in each filter, short rows of neighbouring taps, and a proved requantisation."""
    x, weights, _ = site.inputs
    if not has_byte_of_zero(site) or x.shape[0] != 1 or weights.shape[3] != x.shape[3]:
        return False
    found = WindowRows.of(site)
    if not found.plane.is_dense or pointwise.blocks(site) is not None:
        return False
    return found.fits and finishing.proved(site) is not None


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    found = WindowRows.of(site)
    plane = found.plane
    window, out_row = plane.rows, plane.out_width * found.passing.blocks.pitch
    order = rows(plane.out_height, found.in_row, window.taps, window.stride, window.before, plane.height, out_row)
    return {0: spacing(order)}


def _prepare(site: Site) -> Body:
    found = WindowRows.of(site)
    return body_of(found, found.passing, site, found.plane, together=TOGETHER)


KERNELS = (
    Kernel(
        "conv_2d.vector_rows",
        Conv2D,
        _prepare,
        requires=finishing.FEATURES | {"loops"},
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=lambda site: WindowRows.of(site).scratch,
    ),
)
