"""Rows of few activations times filters: two filters' weights stay in vectors while rows pass by, four at a time.

As `pointwise`, but that all rows come for two filters before the next two; for rows of up to 32 bytes. Of rows of
eight bytes, two are loaded at once, and each filter's weights are there twice: for the first row, and for the second.
In bands, all filters pass over some rows before the next rows come: so the output may take the place of rows before.
The stream:

    where the results of a block go, from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each of the two filters: its vectors of weights
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results

`templates/armv81m/stationary.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tinygen.access import Spacing, evenly, spacing
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
_FEWEST, _MOST = 8, 24
"""Blocks of a band: fewer would take too many instructions for weights, more much memory."""

_FIRST, _SECOND = ("r0", "r2", "r4", "r6"), ("r8", "r10", "r12", "lr")


@dataclass(frozen=True)
class Load:
    """A vector of the rows: where it is, and its products: (sum, weights, whether the sum begins)."""

    register: str
    place: str
    products: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Stationary:
    """The plan for bands of rows of `depth` bytes."""

    blocks: PixelBlocks
    """Of a band."""
    bands: int = 1

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


_Plan = Callable[[Site], Stationary | None]


def _whole(site: Site) -> Stationary | None:
    """All rows for each two filters."""
    sizes = pointwise.blocks(site)
    if sizes is None or sizes.depth > _MOST_DEPTH or sizes.rows < 2 * PIXELS:
        return None
    return Stationary(sizes)


def _banded(site: Site) -> Stationary | None:
    """The largest of several bands of whole blocks, if there are any."""
    plan = _whole(site)
    if plan is None or plan.blocks.overlap:
        return None
    count = plan.blocks.count
    fitting = (size for size in range(min(_MOST, count - 1), _FEWEST - 1, -1) if count % size == 0)
    size = next(fitting, None)
    if size is None:
        return None
    return Stationary(replace(plan.blocks, rows=size * PIXELS), count // size)


def _accepts(plan: _Plan, site: Site) -> bool:
    """As `pointwise` does: of few values, and at least two blocks."""
    return pointwise.accepts(site) and plan(site) is not None


def _overlaps(plan: _Plan, site: Site) -> Mapping[int, Spacing]:
    found = plan(site)
    assert found is not None
    rows = found.blocks.rows
    return {0: spacing(evenly(found.bands, rows * found.blocks.depth, rows * found.blocks.pitch, buffered=False))}


def _prepare(plan: _Plan, site: Site) -> Body:
    found, form = plan(site), finishing.proved(site)
    assert found is not None and form is not None
    weights = site.inputs[1].data
    assert weights is not None
    sizes = found.blocks
    v = Values.of(site)
    vectors = v.of_vectors(found.vectors(v.by_byte(weights.reshape(sizes.filters, -1))))
    # Both vectors of a filter come before those of the other.
    stream = pointwise.stream(site, sizes, vectors, form, together=found.each)
    data = np.concatenate([sizes.offsets, stream])
    values = {"v": v, "plan": found, "sizes": sizes, "finish": Finish.of(form)}
    variant = f"{sizes.depth}x{sizes.filters}_{found.bands * sizes.rows}"
    return Body(values, {"data": data}, variant=variant, proof=form.describe())


def _kernel(name: str, plan: _Plan) -> Kernel:
    return Kernel(
        name,
        Conv2D,
        partial(_prepare, plan),
        requires=finishing.FEATURES,
        accepts=partial(_accepts, plan),
        overlaps=partial(_overlaps, plan),
        assembly=True,
    )


KERNELS = (_kernel("conv_2d.vectors_stationary", _whole), _kernel("conv_2d.vectors_stationary_banded", _banded))
