"""CONV_2D whose windows have short rows: a column of outputs at a time, over a strip where windows are contiguous.

Below a column of outputs lie rows of a few bytes each. They are copied to the scratch, one after the other, with the
zero point around the image: there each window is one run of bytes, and the next window down begins a few rows further.
Then two filters' weights stay in registers while the windows pass by, four at a time. The stream:

    where the results of a block go, in results from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each of the two filters: its vectors of weights, zero beyond the window
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results

`templates/armv81m/columns.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.finishing import Finish
from tinygen.kernels.armv81m.pixel_blocks import PIXELS, PixelBlocks
from tinygen.kernels.armv81m.values import LANES, Values, has_byte_of_zero
from tinygen.ops.conv_2d import Conv2D

_MOST_VECTORS = 3
"""Of a window: those of two filters stay in registers."""
_NEAR = 127
"""How far loads of bytes reach from a pointer."""
_FARTHEST_RESULT = 0xFFFF
_TOGETHER = 4
"""Blocks that are written out, at most."""
_SUMS = ("r0", "r2", "r4", "r6"), ("r8", "r10", "r12", "lr")


@dataclass(frozen=True)
class Load:
    """A vector of a window: where it is, and its products: (sum, weights)."""

    register: str
    offset: int
    first: bool
    products: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Columns:
    """All that the template and the stream need to know."""

    plane: Plane
    """Its channels are bytes."""
    size: int
    """Of a value."""

    @staticmethod
    def of(site: Site) -> Columns:
        """Those of a layer."""
        values = Values.of(site)
        return Columns(values.plane(site), values.size)

    @property
    def run(self) -> int:
        """Bytes of a row of a window."""
        return self.plane.columns.taps * self.plane.channels

    @property
    def depth(self) -> int:
        """Bytes of a window."""
        return self.plane.rows.taps * self.run

    @property
    def vectors(self) -> int:
        """Of a window."""
        return -(-self.depth // LANES)

    @property
    def pitch(self) -> int:
        """Bytes from a window to the next one down."""
        return self.plane.rows.stride * self.run

    @property
    def blocks(self) -> PixelBlocks:
        """Of a column of results."""
        return PixelBlocks(self.plane.out_height, self.depth, self.plane.filters, self.size)

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
    def weights(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Registers of both filters' weights."""
        names = [f"q{2 + index}" for index in range(2 * self.vectors)]
        return tuple(names[: self.vectors]), tuple(names[self.vectors :])

    @property
    def crowded(self) -> bool:
        """Whether weights leave no register for anything else that stays."""
        return self.vectors == _MOST_VECTORS

    def loads(self, lanes: int) -> tuple[Load, ...]:
        """Of a block of so many windows."""
        return tuple(self._loads(lanes))

    def _loads(self, lanes: int) -> Iterator[Load]:
        for lane in range(lanes):
            for index in range(self.vectors):
                products = tuple((sums[lane], names[index]) for sums, names in zip(_SUMS, self.weights, strict=True))
                number = lane * self.vectors + index
                yield Load(f"q{number % 2}", lane * self.pitch + index * LANES, index == 0, products)

    @property
    def rest(self) -> int:
        """Windows of a column that no whole block has."""
        return self.plane.out_height % PIXELS

    @property
    def unrolled(self) -> int:
        """Whole blocks that are written out."""
        whole = self.plane.out_height // PIXELS
        return max((count for count in range(1, _TOGETHER + 1) if whole % count == 0), default=1) if whole else 0

    @property
    def turns(self) -> int:
        """Of the loop over them."""
        return self.plane.out_height // PIXELS // self.unrolled if self.unrolled else 0

    @property
    def fits(self) -> bool:
        """Whether all is within reach."""
        farthest = (PIXELS - 1) * self.plane.out_width * self.plane.filters + 1
        near = (PIXELS - 1) * self.pitch + (self.vectors - 1) * LANES <= _NEAR
        return self.run <= LANES and self.vectors <= _MOST_VECTORS and near and farthest <= _FARTHEST_RESULT


def _accepts(site: Site) -> bool:
    """One image, all channels in each filter, short rows of neighbouring taps, and a proved requantisation."""
    x, weights, _ = site.inputs
    if not has_byte_of_zero(site) or x.shape[0] != 1 or weights.shape[3] != x.shape[3]:
        return False
    found = Columns.of(site)
    return found.plane.is_dense and found.fits and finishing.proved(site) is not None


def _prepare(site: Site) -> Body:
    v, found, form = Values.of(site), Columns.of(site), finishing.proved(site)
    assert form is not None
    plane, blocks = found.plane, found.blocks
    rows = np.pad(plane.weights.reshape(plane.filters, -1), ((0, 0), (0, found.vectors * LANES - found.depth)))
    vectors = v.of_vectors(rows.reshape(plane.filters, found.vectors, LANES))
    second = min(plane.filters - 1, 1)
    row = plane.out_width * plane.filters
    places = np.array([lane * row + index for lane in range(PIXELS) for index in (0, second)], "<u2").view("<u4")
    data = np.concatenate([places, pointwise.stream(site, blocks, vectors, form, together=found.vectors)])
    finish = Finish.of(form)
    values = {
        "v": v,
        "c": found,
        "plane": plane,
        "blocks": blocks,
        "finish": finish,
        "scale_bits": form.scale_bits,
        "zero": site.op.zero_point & 0xFF,
        "row": row * v.size,
    }
    return Body(values, {"data": data.astype(np.uint32)}, variant=plane.variant, proof=form.describe())


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
