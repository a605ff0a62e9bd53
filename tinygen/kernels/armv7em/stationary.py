"""Rows of few activations times filters: a filter's weights stay in registers while rows pass by.

A tile of rows is expanded to int16 in the scratch memory, two values a word. Then, for each filter, its weights and
constants are loaded once, and each row takes a SMLAD for two values and the requantisation. The last tile may begin
within the one before: its first results are written twice. Short tiles take a little more time, and less memory.

The stream has the zero point, where filters are in float32, and for each filter: the weights, two int16 a word, 256
times what they are; start value, multiplier, addend
and, in the form with a step, step of its requantisation. Filters in float32 take the rows one by one.
`templates/armv7em/stationary.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Order, Spacing, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em import finishing, matrix, packing
from tinygen.kernels.armv7em.dot import ACTIVATIONS, Step
from tinygen.kernels.armv7em.finishing import Floats, channel_runs
from tinygen.kernels.armv7em.matrix_shape import Geometry, geometry
from tinygen.kernels.contracts import is_plain
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct

_REGISTERS = 12
"""r0 to r11; r12 walks through the activations, lr through the results."""
_MOST_DEPTH = 12
_LONG, _SHORT = 1536, 384
"""Bytes of an expanded tile, at most."""
_MOST_ROWS_AT_ONCE = 24
_FARTHEST = 4095


class Part(NamedTuple):
    """Some values of a row that are loaded together."""

    kind: str
    """"four" values, as two words; a "pair", as one; the "last" value alone, as one; "three", as two."""
    first: int
    """Of the values, from the row's beginning."""
    words: tuple[tuple[int | None, int | None], ...]
    """Which values the halfwords hold; None: nothing that counts."""


def parts(depth: int) -> tuple[Part, ...]:
    """How a row of `depth` values is loaded: no byte beyond it is read."""
    found = [Part("four", first, ((first, first + 2), (first + 1, first + 3))) for first in range(0, depth - 3, 4)]
    first, rest = depth // 4 * 4, depth % 4
    if rest == 1:
        found.append(Part("last", first, ((first, None),)))
    elif rest == 2:
        found.append(Part("pair", first, ((first, first + 1),)))
    elif rest == 3 and first:  # the value before them comes twice
        found.append(Part("four", first - 1, ((None, first + 1), (first, first + 2))))
    elif rest == 3:
        found.append(Part("three", first, ((0, 2), (1, None))))
    return tuple(found)


def words(depth: int) -> int:
    """Of a row in the scratch memory."""
    return -(-depth // 2)


@dataclass(frozen=True)
class Tile:
    """How rows are cut."""

    rows: int
    count: int
    at_once: int
    """Rows that are written out in the loop over a tile's rows."""

    @staticmethod
    def of(rows: int, depth: int, filters: int, most_bytes: int) -> Tile:
        """The cheapest of those that are small enough.

        For each filter, a tile costs some eight instructions, and a turn of the loop four. A turn of the loop that
        expands a tile costs three.
        """
        most = min(rows, most_bytes // (4 * words(depth)))
        largest = max(1, min(_MOST_ROWS_AT_ONCE, _FARTHEST // filters))

        def cost(tile: int) -> float:
            at_once = _largest_divisor(tile, largest)
            turns = Expansion.of(depth, tile).turns
            each = 8 + tile // at_once * 4 + tile * (words(depth) + 4)
            return -(-rows // tile) * (each + 3 * turns / filters)

        best = min(range(1, most + 1), key=cost)
        return Tile(best, -(-rows // best), _largest_divisor(best, largest))


def _largest_divisor(value: int, most: int) -> int:
    return max(part for part in range(1, min(value, most) + 1) if value % part == 0)


class Load(NamedTuple):
    """Values of a row, and the registers that they are expanded into."""

    part: Part
    offset: int
    """Bytes from where the pointer is."""
    registers: tuple[str, ...]


@dataclass(frozen=True)
class Expansion:
    """The loop that expands a tile."""

    depth: int
    rows: int
    """Of a turn."""
    turns: int

    @staticmethod
    def of(depth: int, rows: int) -> Expansion:
        """Turns of several rows, of up to twelve loads."""
        at_once = _largest_divisor(rows, max(1, 12 // len(parts(depth))))
        return Expansion(depth, at_once, rows // at_once)

    @property
    def stores(self) -> Iterator[tuple[Load, ...]]:
        """The loads of a turn, by the store that follows them."""
        pending: list[Load] = []
        free = list(_names(4, 8))
        for row in range(self.rows):
            for part in parts(self.depth):
                if len(free) < len(part.words):
                    yield tuple(pending)
                    pending, free = [], list(_names(4, 8))
                registers = tuple(free.pop(0) for _ in part.words)
                pending.append(Load(part, row * self.depth + part.first, registers))
        yield tuple(pending)


class Row(NamedTuple):
    """The sum of one row."""

    steps: tuple[Step, ...]
    accumulator: str
    temporary: str
    """Free afterwards; for the form with a step."""


@dataclass(frozen=True)
class Plan:
    """What is in which register while rows pass by."""

    depth: int
    stepped: bool

    @property
    def constants(self) -> tuple[str, ...]:
        """Weights, start, multiplier, addend, and step if there is one."""
        return _names(0, words(self.depth) + (4 if self.stepped else 3))

    @property
    def start(self) -> str:
        """Register of the start value; multiplier, addend, step follow."""
        return self.constants[words(self.depth)]

    @property
    def multiplier(self) -> str:
        """Register of the multiplier."""
        return self.constants[words(self.depth) + 1]

    @property
    def addend(self) -> str:
        """Register of the addend."""
        return self.constants[words(self.depth) + 2]

    @property
    def step(self) -> str:
        """Register of the step, if there is one."""
        return self.constants[-1]

    @property
    def pool(self) -> tuple[str, ...]:
        """Registers for activations."""
        return _names(len(self.constants), _REGISTERS - len(self.constants))

    def sums(self, count: int) -> Iterator[Row]:
        """For so many rows: activations are loaded as many as registers allow, the sum replaces the first of a row."""
        # With one word a row, no other register becomes free.
        pool = self.pool[:-1] if self.stepped and words(self.depth) == 1 else self.pool
        left = count * words(self.depth)
        pending: list[str] = []
        for _ in range(count):
            steps: list[Step] = []
            accumulator = ""
            for weights in self.constants[: words(self.depth)]:
                if not pending:
                    pending = [register for register in pool if register != accumulator][:left]
                    left -= len(pending)
                    steps.append(Step("load", source=ACTIVATIONS, registers=tuple(pending)))
                x = pending.pop(0)
                addend = accumulator or self.start
                accumulator = accumulator or x
                steps.append(Step("multiply", target=accumulator, source=x, weights=weights, addend=addend))
            yield Row(tuple(steps), accumulator, x if x != accumulator else self.pool[-1])


def accepts(site: Site) -> bool:
    """As `matrix` does, of rows of few values that follow one after the other."""
    if not is_plain(site):
        return False
    sizes = geometry(site)
    if sizes is None or sizes.steps is not None or sizes.depth > _MOST_DEPTH or sizes.rows < 2:
        return False
    form = _form(site)
    return form is not None and len(Plan(sizes.depth, form.step is not None).pool) >= 2


def _form(site: Site) -> HighProduct | None:
    return finishing.proved_or_float(site, packing.SCALE)


def _accepts_short(site: Site) -> bool:
    """Where tiles would be longer otherwise."""
    return accepts(site) and scratch(_LONG, site) > _SHORT


def _tile(most_bytes: int, site: Site) -> tuple[Geometry, Tile]:
    sizes = geometry(site)
    assert sizes is not None
    return sizes, Tile.of(sizes.rows, sizes.depth, sizes.filters, most_bytes)


def scratch(most_bytes: int, site: Site) -> int:
    """Bytes of an expanded tile."""
    sizes, tile = _tile(most_bytes, site)
    return 4 * tile.rows * words(sizes.depth)


def overlaps(most_bytes: int, site: Site) -> Mapping[int, Spacing]:
    """A tile is expanded before its first result is written; the last one may be expanded again in part."""
    sizes, tile = _tile(most_bytes, site)
    first = np.minimum(np.arange(tile.count, dtype=np.int64) * tile.rows, sizes.rows - tile.rows)
    last = first + tile.rows
    return {0: spacing(Order(first * sizes.depth, last * sizes.depth, first * sizes.filters, last * sizes.filters))}


def prepare(most_bytes: int, site: Site) -> Body:
    """The plan of tiles and registers, and the stream."""
    form = _form(site)
    assert form is not None
    sizes, tile = _tile(most_bytes, site)
    plan = Plan(sizes.depth, form.step is not None)
    values = {
        "sizes": sizes,
        "tile": tile,
        "expansion": Expansion.of(sizes.depth, tile.rows),
        "plan": plan,
        "rows": tuple(plan.sums(tile.at_once)),
        "row": next(plan.sums(1)),
        "form": form,
        "floats": Floats.holding(form),
        "words": words(sizes.depth),
        "stream_bytes": 4 * sizes.filters * len(plan.constants),
        "overlap": tile.rows * tile.count - sizes.rows,
    }
    variant = f"{sizes.depth}x{sizes.filters}_{sizes.rows}"
    data = {"data": _stream(site, sizes.depth, form)}
    return Body(values, data, variant=variant, proof=form.describe(), runs=channel_runs(form))


def _stream(site: Site, depth: int, form: HighProduct) -> npt.NDArray[np.uint32]:
    op: Weighted = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    rows = weights.data.reshape(-1, depth).astype(np.int64) * packing.SCALE
    zeros = np.zeros(len(rows), np.int64)
    halves = [
        (zeros if low is None else rows[:, low], zeros if high is None else rows[:, high])
        for part in parts(depth)
        for low, high in part.words
    ]
    packed = streams.words(np.stack([low & 0xFFFF | high << 16 for low, high in halves], axis=1))
    starts = streams.words(packing.SCALE * op.folded_bias(weights.data, bias.data) + form.start)
    stream = np.hstack([packed, starts[:, None], finishing.constants(form)]).reshape(-1)
    return finishing.with_zero_point(form, stream)


def _names(first: int, count: int) -> tuple[str, ...]:
    return tuple(f"r{first + index}" for index in range(count))


KERNELS = tuple(
    Kernel(
        name,
        op,
        partial(prepare, most_bytes),
        requires=matrix.FEATURES,
        accepts=contract,
        overlaps=partial(overlaps, most_bytes),
        assembly=True,
        scratch=partial(scratch, most_bytes),
    )
    for name, op, most_bytes, contract in (
        ("conv_2d.pointwise_stationary", Conv2D, _LONG, accepts),
        ("conv_2d.pointwise_stationary_short", Conv2D, _SHORT, _accepts_short),
        ("fully_connected.stationary", FullyConnected, _LONG, accepts),
    )
)
