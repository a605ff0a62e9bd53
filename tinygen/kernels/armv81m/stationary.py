"""Rows of few activations times filters: two filters' weights stay in vectors while rows pass by, four at a time.

As `pointwise`, but that all rows come for two filters before the next two; for rows of up to 32 bytes. Of rows of
eight bytes, two are loaded at once, and each filter's weights are there twice: for the first row, and for the second.
The stream:

    where the results of a block go, from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each of the two filters: its vectors of weights
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results

`templates/armv81m/stationary.S.j2` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.finishing import Finish
from tinygen.kernels.armv81m.pixel_blocks import PIXELS, PixelBlocks
from tinygen.kernels.armv81m.values import LANES, Values
from tinygen.kernels.armv81m.walk import Walk
from tinygen.ops.conv_2d import Conv2D

_MOST_DEPTH = 2 * LANES
_PAIRED = LANES // 2
_TOGETHER = 4
"""Blocks that are written out, at most."""

_FIRST, _SECOND = ("r0", "r2", "r4", "r6"), ("r8", "r10", "r12", "lr")


@dataclass(frozen=True)
class Load:
    """A vector of the rows: where it is, and its products: (sum, weights, whether the sum begins)."""

    register: str
    place: str
    products: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Stationary:
    """The plan for rows of `depth` bytes."""

    blocks: PixelBlocks

    @property
    def paired(self) -> bool:
        """Whether two rows are loaded at once."""
        return self.blocks.depth == _PAIRED

    @property
    def walk(self) -> Walk:
        """Through a row."""
        return Walk(self.blocks.depth)

    @property
    def each(self) -> int:
        """Vectors of weights of each filter."""
        return 2 if self.paired else self.walk.vectors

    @property
    def weights(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Their registers."""
        names = tuple(f"q{4 + index}" for index in range(2 * self.each))
        return names[: self.each], names[self.each :]

    @property
    def predicated(self) -> bool:
        """Whether a row is shorter than a vector, and others are not to be read with it."""
        return self.blocks.depth < LANES and not self.paired

    @property
    def in_sequence(self) -> bool:
        """Whether the vectors of a block follow one after the other."""
        return self.paired or self.blocks.depth % LANES == 0

    @property
    def loads(self) -> tuple[Load, ...]:
        """Of a block."""
        found = []
        if self.paired:
            for row in range(0, PIXELS, 2):
                products = tuple(
                    (sums[row + half], names[half], True)
                    for sums, names in zip((_FIRST, _SECOND), self.weights, strict=True)
                    for half in (0, 1)
                )
                found.append((row * self.blocks.depth, products))
        else:
            for row in range(PIXELS):
                for index, begin in enumerate(self.walk.begins):
                    products = tuple(
                        (sums[row], names[index], index == 0)
                        for sums, names in zip((_FIRST, _SECOND), self.weights, strict=True)
                    )
                    found.append((row * self.blocks.depth + begin, products))
        places = ("[r1], #16" if self.in_sequence else f"[r1, #{at}]" if at else "[r1]" for at, _ in found)
        return tuple(
            Load(f"q{index % 2}", place, products)
            for index, ((_, products), place) in enumerate(zip(found, places, strict=True))
        )

    @property
    def unrolled(self) -> int:
        """Blocks that are written out in the loop over blocks."""
        whole = self.blocks.count - (1 if self.blocks.overlap else 0)
        return max(count for count in range(1, _TOGETHER + 1) if whole % count == 0 or count == 1)

    @property
    def turns(self) -> int:
        """Of that loop."""
        return (self.blocks.count - (1 if self.blocks.overlap else 0)) // self.unrolled

    def vectors(self, rows: Array) -> Array:
        """(filters, vectors, 16) int8 of weights (filters, depth), one for each byte."""
        if not self.paired:
            return self.walk.weights(rows)
        found = np.zeros((len(rows), 2, 2, _PAIRED), np.int8)
        found[:, 0, 0] = found[:, 1, 1] = rows
        return found.reshape(len(rows), 2, LANES)


def _plan(site: Site) -> Stationary | None:
    sizes = pointwise.blocks(site)
    if sizes is None or sizes.depth > _MOST_DEPTH or sizes.rows < 2 * PIXELS:
        return None
    return Stationary(sizes)


def _accepts(site: Site) -> bool:
    """As `pointwise` does: of few values, and at least two blocks."""
    return pointwise.accepts(site) and _plan(site) is not None


def _prepare(site: Site) -> Body:
    plan, form = _plan(site), finishing.proved(site)
    assert plan is not None and form is not None
    weights = site.inputs[1].data
    assert weights is not None
    sizes = plan.blocks
    v = Values.of(site)
    vectors = v.of_vectors(plan.vectors(v.by_byte(weights.reshape(sizes.filters, -1))))
    # Both vectors of a filter come before those of the other.
    stream = pointwise.stream(site, sizes, vectors, form, together=plan.each)
    data = np.concatenate([sizes.offsets, stream])
    values = {"v": v, "plan": plan, "sizes": sizes, "finish": Finish.of(form)}
    variant = f"{sizes.depth}x{sizes.filters}_{sizes.rows}"
    return Body(values, {"data": data}, variant=variant, proof=form.describe())


KERNELS = (
    Kernel(
        "conv_2d.vectors_stationary",
        Conv2D,
        _prepare,
        requires=finishing.FEATURES,
        accepts=_accepts,
        assembly=True,
    ),
)
