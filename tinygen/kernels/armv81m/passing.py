"""Short windows that pass by two filters' weights, four at a time: each is one run of bytes in the scratch memory.

`templates/armv81m/passing.j2` prints it. The stream:

    where the results of a block go, in results from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each of the two filters: its vectors of weights, zero beyond the window
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygen.kernel import Body, Site
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.finishing import Finish, VectorForm
from tinygen.kernels.armv81m.pixel_blocks import PIXELS, PixelBlocks
from tinygen.kernels.armv81m.values import LANES, Values
from tinygen.kernels.streams import Words

_MOST_VECTORS = 3
"""Of a window: those of two filters stay in registers."""
_BYTES, _WORDS = 127, 508
"""How far loads reach from a pointer: of bytes, from anywhere; of words, from a word."""
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


@dataclass(frozen=True)
class Passing:
    """Windows in a row."""

    blocks: PixelBlocks
    """Of the windows."""
    pitch: int
    """Bytes from a window to the next one."""
    apart: int
    """Results from a window's first to that of the next one."""

    @property
    def values(self) -> Values:
        """What windows and results consist of."""
        return Values(self.blocks.size)

    @property
    def vectors(self) -> int:
        """Of a window."""
        return -(-self.blocks.depth // LANES)

    @property
    def in_words(self) -> bool:
        """Whether every vector lies at a word."""
        return self.pitch % 4 == 0

    @property
    def load(self) -> str:
        """The instruction."""
        return "vldrw.u32" if self.in_words else "vldrb.u8"

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
        """Windows that no whole block has."""
        return self.blocks.rows % PIXELS

    @property
    def unrolled(self) -> int:
        """Whole blocks that are written out."""
        whole = self.blocks.rows // PIXELS
        return max((count for count in range(1, _TOGETHER + 1) if whole % count == 0), default=1) if whole else 0

    @property
    def turns(self) -> int:
        """Of the loop over them."""
        return self.blocks.rows // PIXELS // self.unrolled if self.unrolled else 0

    @property
    def fits(self) -> bool:
        """Whether all is within reach."""
        near = (PIXELS - 1) * self.pitch + (self.vectors - 1) * LANES <= (_WORDS if self.in_words else _BYTES)
        return self.vectors <= _MOST_VECTORS and near and (PIXELS - 1) * self.apart + 1 <= _FARTHEST_RESULT

    def stream(self, site: Site, plane: Plane, form: VectorForm) -> Words:
        """All of it; `plane` has bytes for channels."""
        padding = self.vectors * LANES - self.blocks.depth
        rows = np.pad(plane.weights.reshape(plane.filters, -1), ((0, 0), (0, padding)))
        vectors = self.values.of_vectors(rows.reshape(plane.filters, self.vectors, LANES))
        second = min(plane.filters - 1, 1)
        places = [lane * self.apart + index for lane in range(PIXELS) for index in (0, second)]
        head = np.array(places, "<u2").view("<u4")
        filters = pointwise.stream(site, self.blocks, vectors, form, together=self.vectors)
        return np.concatenate([head, filters]).astype(np.uint32)


def body_of(windows: object, passing: Passing, site: Site, plane: Plane, **more: object) -> Body:
    """What templates need whose windows, copied as `windows` says, pass by; with `more` that one of them needs."""
    form = finishing.proved(site)
    assert form is not None
    values = {
        "c": windows,
        "w": passing,
        "plane": plane,
        "finish": Finish.of(form),
        "scale_bits": int(form.scale_bits[0]),
        "zero": site.op.zero_point & 0xFF,
        **more,
    }
    data = passing.stream(site, plane, form)
    return Body(values, {"data": data}, variant=plane.variant, proof=form.describe())
