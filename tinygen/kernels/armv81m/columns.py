"""CONV_2D whose windows have short rows: a column of outputs at a time, over a strip where windows are contiguous.

Below a column of outputs lie rows of a few bytes each. They are copied to the scratch, one after the other, with the
zero point around the image: there each window is one run of bytes, and the next window down begins a few rows further.
Then two filters' weights stay in registers while the windows pass by (see `passing`).

`templates/armv81m/columns.S.j2` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.passing import Passing, body_of
from tinygen.kernels.armv81m.pixel_blocks import PixelBlocks
from tinygen.kernels.armv81m.values import LANES, has_byte_of_zero
from tinygen.kernels.armv81m.window_bytes import WindowBytes
from tinygen.ops.conv_2d import Conv2D


@dataclass(frozen=True, eq=False)
class Columns(WindowBytes):
    """All that the template and the stream need to know."""

    @property
    def passing(self) -> Passing:
        """The windows of a column."""
        plane = self.plane
        blocks = PixelBlocks(plane.out_height, self.depth, plane.filters, self.size)
        return Passing(blocks, plane.rows.stride * self.run, plane.out_width * plane.filters)

    @property
    def reached(self) -> int:
        """Rows that the windows of a column reach."""
        return (self.plane.out_height - 1) * self.plane.rows.stride + self.plane.rows.taps

    @property
    def copied(self) -> int:
        """Rows of them that are the image's."""
        return min(self.plane.height, self.reached - self.plane.rows.before)

    @property
    def scratch(self) -> int:
        """Bytes of the strip, in whole vectors, and what the last loads reach beyond."""
        return -(-(self.reached * self.run + LANES) // LANES) * LANES

    @property
    def in_row(self) -> int:
        """Bytes of a row of the image."""
        return self.plane.width * self.plane.channels

    @property
    def start(self) -> int:
        """Bytes from the beginning of a row to the first column's windows."""
        return -self.plane.columns.before * self.plane.channels

    @property
    def step(self) -> int:
        """Bytes from a column's windows to the next one's."""
        return self.plane.columns.stride * self.plane.channels

    @cached_property
    def clipped(self) -> tuple[bool, ...]:
        """Of each column, whether its windows reach over a side of the image."""
        begins = self.start + np.arange(self.plane.out_width) * self.step
        return tuple(((begins < 0) | (begins + self.run > self.in_row)).tolist())

    @property
    def clears_first(self) -> bool:
        """Whether the strip is cleared before the first column, for rows outside the image."""
        return self.copied < self.reached and not self.clipped[0]

    @property
    def fits(self) -> bool:
        """Whether all is within reach."""
        return self.run <= LANES and self.passing.fits


def _accepts(site: Site) -> bool:
    """One image, all channels in each filter, short rows of neighbouring taps, and a proved requantisation."""
    x, weights, _ = site.inputs
    if not has_byte_of_zero(site) or x.shape[0] != 1 or weights.shape[3] != x.shape[3]:
        return False
    found = Columns.of(site)
    return found.plane.is_dense and found.fits and finishing.proved(site) is not None


def _prepare(site: Site) -> Body:
    found = Columns.of(site)
    return body_of(found, found.passing, site, found.plane)


KERNELS = (
    Kernel(
        "conv_2d.vector_columns",
        Conv2D,
        _prepare,
        requires=finishing.FEATURES | {"loops"},
        accepts=_accepts,
        assembly=True,
        scratch=lambda site: Columns.of(site).scratch,
    ),
)
