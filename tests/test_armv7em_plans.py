"""What the assembly for Armv7E-M is planned from: simulated, the steps give the dot products that they stand for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from tinygen.access import spacing
from tinygen.kernels.armv7em import packing, stationary
from tinygen.kernels.armv7em.border_shape import Border, BorderPatches
from tinygen.kernels.armv7em.crossed import Crossed
from tinygen.kernels.armv7em.dot import ACTIVATIONS, STREAM, Block, Step
from tinygen.kernels.armv7em.expansion import Expansion
from tinygen.kernels.armv7em.filters import UNROLLED
from tinygen.kernels.armv7em.gathering import Window
from tinygen.kernels.armv7em.matrix_blocks import Walk
from tinygen.kernels.armv7em.matrix_shape import Geometry
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv7em.vector import Vector
from tinygen.ops.window import Axis

SHAPES = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4), (3, 1), (4, 1), (5, 1)]


def signed(value: int, bits: int) -> int:
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def halves(word: int) -> tuple[int, int]:
    return signed(word, 16), signed(word >> 16, 16)


def word(low: int, high: int) -> int:
    return low & 0xFFFF | (high & 0xFFFF) << 16


class Machine:
    """Registers, and the words that its two pointers walk through."""

    def __init__(self, activations: list[int], stream: list[int]) -> None:
        self.registers: dict[str, int] = {}
        self.memory = {ACTIVATIONS: list(activations), STREAM: list(stream)}

    def run(self, steps: list[Step]) -> None:
        for step in steps:
            if step.kind == "load":
                assert list(step.registers) == sorted(step.registers, key=lambda name: int(name[1:]))
                for register in step.registers:
                    self.registers[register] = self.memory[step.source].pop(0)
            elif step.kind in ("even", "odd"):
                shift = 8 if step.kind == "odd" else 0
                value = self.registers[step.source] >> shift
                self.registers[step.target] = word(signed(value, 8), signed(value >> 16, 8))
            elif step.kind == "low":
                self.registers[step.target] = self.registers[step.source] & 0xFF00FF
            elif step.kind == "cross":
                x, w = halves(self.registers[step.source]), halves(self.registers[step.weights])
                self.registers[step.target] = x[0] * w[1] - x[1] * w[0] + self.registers[step.addend]
            else:
                x, w = halves(self.registers[step.source]), halves(self.registers[step.weights])
                total = x[0] * w[0] + x[1] * w[1] + self.registers[step.addend]
                self.registers[step.target] = total


WORDS = {
    "packed": packing.packed_words,
    "crossed": packing.crossed_words,
    "crossed, both": packing.crossed_words,
    "plain": packing.plain_words,
    "wide": packing.wide_words,
}


EXCESS = {
    "packed": packing.excess,
    "crossed": packing.crossed_excess,
    "crossed, both": packing.crossed_excess,
}


def expanded(lanes: np.ndarray, kind: str) -> list[int]:
    """The words of lanes (lanes, groups * 4), by the formulas of `packing`."""
    words = []
    for group in range(lanes.shape[1] // 4):
        four = lanes[:, 4 * group : 4 * group + 4].astype(int).tolist()
        if kind == "packed":
            words += [word(x0, x2) for x0, _, x2, _ in four]
            words += [word(256 * x1 + 127 - x0, 256 * x3 + 127 - x2) for x0, x1, x2, x3 in four]
        elif kind.startswith("crossed"):
            for x0, x1, x2, x3 in four:
                words += [word(x0 + 128, x2 + 128)] * kind.endswith("both")
                words += [word(256 * x1 + x0 + 128, 256 * x3 + x2 + 128)]
        elif kind == "wide":
            words += [word(x1, x3) for _, x1, _, x3 in four]
            words += [word(x0, x2) for x0, _, x2, _ in four]
        else:
            words += [word(256 * x0, 256 * x2) for x0, _, x2, _ in four]
            words += [word(256 * x1, 256 * x3) for _, x1, _, x3 in four]
    return words


def steps_of(kind: str) -> Iterator[tuple[str, int, int]]:
    """With each number of filters and lanes: crossed words are of one lane, plain weights take a register more."""
    for filters, lanes in SHAPES:
        if (lanes == 1 or not kind.startswith("crossed")) and (kind != "plain" or filters * lanes <= 6):
            yield kind, filters, lanes


@pytest.mark.parametrize(("kind", "filters", "lanes"), [step for kind in WORDS for step in steps_of(kind)])
@pytest.mark.parametrize("groups", [1, 2, 3, 8])
def test_steps_add_up_to_dot_products(filters: int, lanes: int, groups: int, kind: str) -> None:
    crossed = kind.startswith("crossed")
    rng = np.random.default_rng(groups)
    weights = rng.integers(-128 if kind in ("plain", "wide") else -127, 128, (filters, 4 * groups))
    x = rng.integers(-128, 128, (lanes, 4 * groups))
    starts = rng.integers(-1000, 1000, filters)
    stream = [*starts.tolist(), *WORDS[kind](weights).T.reshape(-1).tolist()]
    block = (
        Crossed.of(filters, kind.endswith("both"))
        if crossed
        else Block.of(filters, lanes, kind == "packed", kind == "wide")
    )
    machine = Machine(expanded(x, kind), stream)
    machine.run(block.products(groups - groups // 2, first=True))
    machine.run(block.products(groups // 2, first=False))
    excess = EXCESS[kind](weights) if kind in EXCESS else np.zeros(filters, np.int64)
    for index, row in enumerate(block.accumulators):
        for lane, register in enumerate(row):
            expected = packing.SCALE * int(weights[index] @ x[lane]) + excess[index] + starts[index]
            assert machine.registers[register] == expected
    assert not machine.memory[ACTIVATIONS] and not machine.memory[STREAM]
    used = {register for step in block.products(groups, first=True) for register in (step.target, *step.registers)}
    assert used - {""} <= {f"r{index}" for index in range(12)}


def test_crossed_words_are_used_only_where_they_hold_the_weights() -> None:
    x0, x1, x2, x3 = 3, -5, 7, -11
    v0, v2 = x0 + 128, x2 + 128
    m = 256 * x1 + v0, 256 * x3 + v2
    for four in itertools.product([-128, -127, 0, 127], repeat=4):
        weights = np.array([four])
        ((packed,),) = packing.crossed_words(weights).tolist()
        w, u = halves(packed), (signed(packed, 8), signed(packed >> 16, 8))
        found = w[0] * v2 - w[1] * v0 + m[0] * u[1] - m[1] * u[0]
        expected = packing.SCALE * int(weights[0] @ [x0, x1, x2, x3]) + int(packing.crossed_excess(weights)[0])
        assert (found == expected) == packing.crosses(weights), four


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("depth", "filters"), [(4, 9), (8, 64), (8, 13), (20, 31), (128, 640), (12, 5), (64, 1)])
def test_results_of_a_row_are_computed_once_and_the_last_ones_from_its_own_bytes(
    depth: int, filters: int, both: bool
) -> None:
    plan = Vector(depth, filters, both)
    assert sum(phase.results for phase in plan.phases) == filters
    assert sum(count * together for together, count in plan.filter_groups) == filters
    assert plan.turn_bytes + 4 * plan.rest == depth
    if both and plan.phases[0].results:
        assert filters - depth - 19 <= plan.phases[0].results <= filters - depth
        assert spacing(plan.used).input_above <= filters - depth  # its scratch memory is twice the row


@pytest.mark.parametrize("depth", range(1, 50))
@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_an_expanded_lane_is_read_to_its_end_and_no_further(depth: int, lanes: int) -> None:
    plan = Expansion(lanes, depth, packed=True)
    stores = [*plan.turn * plan.turns, *plan.rest]
    at = 0
    read = []
    for store in stores:
        for group in store.groups:
            assert len(group) == lanes
            if store.load == "next":
                read.append(range(at, at + 4))
                at += 4
            elif store.load == "last":
                read.append(range(at + plan.left - 4, at + plan.left))
            else:
                read.append(range(int(store.load)))
    assert sorted({*itertools.chain(*read)}) == list(range(depth))
    assert len(read) == plan.groups
    weights = np.arange(1, depth + 1, dtype=np.int8)[None]
    (columns,) = packing.ending_together(weights)
    columns = np.pad(columns, (0, -len(columns) % 4))
    multiplied = [columns[4 * group + i] for group, span in enumerate(read) for i, _ in enumerate(span)]
    positions = [position for span in read for position in span]
    assert sorted((p, w) for p, w in zip(positions, multiplied, strict=True) if w) == [(i, i + 1) for i in range(depth)]


@pytest.mark.parametrize("depth", range(1, 13))
def test_rows_of_few_values_are_read_once_and_no_further(depth: int) -> None:
    halves = [half for part in stationary.parts(depth) for pair in part.words for half in pair if half is not None]
    assert sorted(halves) == list(range(depth))
    sizes = {"four": 4, "pair": 2, "last": 1, "three": 3}
    assert all(0 <= part.first <= depth - sizes[part.kind] for part in stationary.parts(depth))
    assert sum(len(part.words) for part in stationary.parts(depth)) == stationary.words(depth)


@pytest.mark.parametrize("depth", range(1, 11))
@pytest.mark.parametrize("stepped", [True, False])
def test_sums_of_rows_that_pass_by(depth: int, stepped: bool) -> None:
    plan = stationary.Plan(depth, stepped)
    count, words = 5, stationary.words(depth)
    rng = np.random.default_rng(depth)
    weights, x = rng.integers(-(2**15), 2**15, (words, 2)), rng.integers(-128, 128, (count, words, 2))
    machine = Machine([word(*pair) for row in x.tolist() for pair in row], [])
    for register, pair in zip(plan.constants, weights.tolist(), strict=False):
        machine.registers[register] = word(*pair)
    machine.registers[plan.start] = 77
    kept = {name: machine.registers[name] for name in plan.constants[: words + 1]}
    for index, row in enumerate(plan.sums(count)):
        machine.run(list(row.steps))
        assert machine.registers[row.accumulator] == int((weights * x[index]).sum()) + 77
        assert row.temporary not in (*plan.constants, row.accumulator)
        machine.registers[row.temporary] = machine.registers[row.accumulator] = -1  # what follows may use them
    assert not machine.memory[ACTIVATIONS]
    assert kept == {name: machine.registers[name] for name in kept}


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("rows", range(1, 40))
def test_blocks_take_every_row_once(rows: int, most: int) -> None:
    geometry = Geometry(rows, 8, 5, None, most)
    assert max(lanes for lanes, _ in geometry.blocks) <= most
    assert sum(lanes * count for lanes, count in geometry.blocks) == rows
    assert sum(filters * count for filters, count in geometry.filter_groups) == 5
    tile = stationary.Tile.of(rows, 8, 5, most_bytes=160 * most)
    assert tile.rows * 4 * stationary.words(8) <= 160 * most
    assert tile.rows <= rows <= tile.rows * tile.count < rows + tile.rows
    assert tile.rows % tile.at_once == 0


@pytest.mark.parametrize("rows", range(4, 12))
@pytest.mark.parametrize(("depth", "filters"), [(8, 8), (8, 5), (5, 8)])
def test_rows_may_be_replaced_from_either_end(rows: int, depth: int, filters: int) -> None:
    """The input lies at the end of the larger one's memory if rows come in order, at its beginning if backwards."""
    forwards = spacing(Geometry(rows, depth, filters, None).order)
    backwards = spacing(Geometry(rows, depth, filters, None, backwards=True).order)
    grown, shrunk = max(rows * (filters - depth), 0), max(rows * (depth - filters), 0)
    assert forwards.input_above <= grown < backwards.input_above
    assert backwards.output_above <= shrunk < forwards.output_above


@pytest.mark.parametrize("groups", range(1, 90))
@pytest.mark.parametrize("longest", [2, 8, 32])
def test_walks_take_every_group_once_in_so_much_code(groups: int, longest: int) -> None:
    walk = Walk.of(groups, longest, 5)
    assert walk.straight + walk.turn * walk.turns == groups
    assert walk.straight + walk.turn <= longest


def plane(size: tuple[int, int], channels: int, rows: Axis, columns: Axis, filters: int = 3) -> Plane:
    rng = np.random.default_rng(filters)
    weights = rng.integers(-127, 127, (filters, rows.taps, columns.taps, channels), np.int8, endpoint=True)
    return Plane(*size, channels, rows.output_size(size[0]), columns.output_size(size[1]), rows, columns, weights)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("taps", "run"), [(1, 1), (1, 7), (2, 6), (3, 4), (3, 5), (3, 9), (4, 3), (5, 2), (9, 1)])
def test_groups_are_the_bytes_under_a_window(taps: int, run: int, exact: bool) -> None:
    pitch = run + 5
    window = Window(taps, run, exact)
    image = np.random.default_rng(run).integers(-128, 127, taps * pitch + 3, np.int8, endpoint=True)
    gathered = np.zeros((window.groups, 4), np.int64)
    for group, pieces in zip(gathered, window.pieces(pitch), strict=True):
        for piece in pieces:
            first = piece.shift // 8
            group[first : first + piece.size] = image[piece.offset : piece.offset + piece.size]
            assert not exact or piece.offset % pitch + piece.size <= run
    found = plane((taps, run), 1, Axis(taps, 1), Axis(run, 1))
    weights = window.weights(found)[:, 0]
    under = image[: taps * pitch].reshape(taps, pitch)[:, :run]
    sums = gathered.reshape(-1)[: weights.shape[1]] @ weights.T.astype(np.int64)
    assert sums.tolist() == (found.weights[..., 0] * under.astype(np.int64)).sum(axis=(1, 2)).tolist()
    assert weights.shape[1] <= 4 * window.groups


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize(
    ("size", "channels", "rows", "columns"),
    [
        ((9, 17), 3, Axis(3, 1, 1, 1, 1), Axis(3, 1, 1, 1, 1)),
        ((8, 16), 3, Axis(3, 2, 1, 0, 1), Axis(3, 2, 1, 0, 1)),
        ((12, 27), 1, Axis(5, 2, 1, 2, 2), Axis(4, 2, 1, 1, 2)),
        ((3, 20), 2, Axis(3, 1), Axis(2, 3, 1, 1, 0)),
        ((20, 9), 4, Axis(2, 1, 1, 1, 0), Axis(2, 1)),
    ],
)
def test_only_what_is_under_windows_at_the_border_is_patched(
    size: tuple[int, int], channels: int, rows: Axis, columns: Axis, lanes: int
) -> None:
    patches = BorderPatches(plane(size, channels, rows, columns), UNROLLED, lanes)
    border = Border.of(patches)
    blocks = copied = copied_rows = 0
    for row in patches.plane.in_rows:
        for first in patches.first_pixels:
            under = patches.plane.in_columns[first : first + patches.lanes]
            within = (row >= 0) & (row < size[0])
            columns_within = np.unique(under[(under >= 0) & (under < size[1])])
            if not within.all() or under.min() < 0 or under.max() >= size[1]:
                blocks += 1
                copied_rows += within.sum()
                # Columns that a stride leaves out are copied, too.
                copied += within.sum() * (np.ptp(columns_within) + 1) * channels
    assert (border.blocks, border.inside) == (blocks, patches.count - blocks)
    assert (border.rows, 4 * border.words + border.bytes) == (copied_rows, copied)
