"""Plans in which outputs overlap inputs, replayed byte by byte in the order in which toy kernels read and write.

The replay knows nothing of the planner: a byte of memory holds a byte of a tensor until something else is written
there, and whatever is read must still be there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from tinygen.access import Order, Spacing, by_channels, evenly, rows, spacing
from tinygen.estimate import Estimate
from tinygen.goal import Goal
from tinygen.ir import Array, Graph, Node, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, ScratchOverlaps, Site
from tinygen.layout import Layout, StepBytes, lay_out
from tinygen.memory import ALIGNMENT
from tinygen.plan import Plan, planned
from tinygen.planned import affords, is_better, is_worth_it
from tinygen.select import Candidate, Step


class Toy(Op):
    """An operator that nobody evaluates."""

    name = "TOY"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        raise NotImplementedError

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        raise NotImplementedError


@dataclass
class Toys:
    """A graph in the making, of kernels whose orders of reads and writes are known."""

    sizes: dict[str, int] = field(default_factory=lambda: {"x": 64})
    steps: list[Step] = field(default_factory=list)
    orders: list[Mapping[int, Order]] = field(default_factory=list)
    """Of each step, by input; none: it moves bytes, or nothing is known."""
    detours: dict[int, tuple[Order, Order]] = field(default_factory=dict)
    """By step: how the input's bytes come into the scratch memory, and which of those are read before which writes."""
    outputs: Sequence[str] = ()

    def run(self, inputs: Sequence[str], size: int, orders: Mapping[int, Order], scratch: int = 0) -> str:
        """A step of these orders, all of the same writes."""
        kernel = Kernel("toy", Toy, _no_body, overlaps=lambda site: {x: spacing(order) for x, order in orders.items()})
        return self._append(inputs, size, kernel, orders, scratch)

    def detour(self, name: str, size: int, made: Order, used: Order) -> str:
        """A step that reads all of its input into scratch memory before it computes anything from that."""
        x, scratch = self.sizes[name], int(made.writes_to.max())
        own = ScratchOverlaps({0: spacing(made)}, spacing(used))
        kernel = Kernel(
            "toy",
            Toy,
            _no_body,
            overlaps=lambda site: {0: Spacing(-x, -size)},
            scratch_overlaps=lambda site: own,
        )
        self.detours[len(self.steps)] = made, used
        return self._append([name], size, kernel, {}, scratch)

    def sweep(self, name: str, channels: int, scratch: int = 0) -> str:
        """A step that goes through all pixels for the first channel, then for the next, and keeps their number."""
        size = self.sizes[name]
        declared = {0: by_channels(evenly(size // channels, channels, channels))}
        at = np.arange(size).reshape(-1, channels).T.reshape(-1)
        kernel = Kernel("toy", Toy, _no_body, overlaps=lambda site: declared)
        return self._append([name], size, kernel, {0: Order(at, at + 1, at, at + 1)}, scratch)

    def join(self, inputs: Sequence[str]) -> str:
        """A concatenation, which is no code where the parts lie in the whole."""
        sizes = [self.sizes[name] for name in inputs]
        starts = {index: sum(sizes[:index]) for index in range(len(sizes))}
        return self._append(inputs, sum(sizes), Kernel("join", Toy, _no_body, aliases=lambda site: starts), {}, 0)

    def part(self, name: str, start: int, size: int) -> str:
        """A run of bytes, which is no code where it lies in the whole."""
        return self._append([name], size, Kernel("part", Toy, _no_body, aliases=lambda site: {0: -start}), {}, 0)

    def graph(self) -> Graph:
        tensors = {name: _tensor(name, size) for name, size in self.sizes.items()}
        return Graph("toy", tensors, tuple(step.node for step in self.steps), ("x",), tuple(self.outputs))

    def layout(self, overlap: bool = True) -> Layout:
        return lay_out(self.graph(), self.steps, overlap)

    def _append(
        self, inputs: Sequence[str], size: int, kernel: Kernel, orders: Mapping[int, Order], scratch: int
    ) -> str:
        name = f"t{len(self.steps)}"
        self.sizes[name] = size
        node = Node(f"step {len(self.steps)}", Toy(), tuple(inputs), (name,))
        site = Site(Toy(), tuple(_tensor(x, self.sizes[x]) for x in inputs), (_tensor(name, size),), "balanced")
        self.steps.append(Step(node, site, candidate(kernel, scratch)))
        self.orders.append(orders)
        return name


def candidate(kernel: Kernel, scratch: int = 0) -> Candidate:
    return Candidate(kernel, Body({}), Estimate(100, None, 0, 0, scratch), "")


def _no_body(site: Site) -> Body:
    return Body({})


def _tensor(name: str, size: int) -> Tensor:
    return Tensor(name, (size,), np.dtype(np.int8))


# --- replay ----------------------------------------------------------------------------------------------------------


def overwritten(toys: Toys, layout: Layout) -> list[str]:
    """What is read, but is not there any more. Bytes of parts and views are those of the tensor that they come from."""
    memory: dict[int, object] = {}
    content: dict[str, list[object]] = {"x": [("x", byte) for byte in range(toys.sizes["x"])]}
    wrong: list[str] = []

    def write(name: str, first: int, last: int) -> None:
        start = layout.places[name].offset
        assert start >= 0 and start + toys.sizes[name] <= layout.plan.bytes
        memory.update({start + byte: content[name][byte] for byte in range(first, last)})

    def read(name: str, first: int, last: int, who: str) -> None:
        start = layout.places[name].offset
        if any(memory.get(start + byte) != content[name][byte] for byte in range(first, last)):
            wrong.append(f"{who} reads {name}")

    write("x", 0, toys.sizes["x"])
    for index, (step, orders) in enumerate(zip(toys.steps, toys.orders, strict=True)):
        (name,), operands = step.node.outputs, step.node.inputs
        own = layout.scratch[index].offset if index in layout.scratch else 0
        mine = {own + byte: ("scratch", index, byte) for byte in range(step.scratch)}
        memory.update({} if index in toys.detours else mine)
        if step.kernel.name in ("join", "part"):
            _move(toys, step, layout.aliased[index], content, read, write)
        elif index in toys.detours:
            content[name] = [(name, byte) for byte in range(toys.sizes[name])]
            made, used = toys.detours[index]
            for time in range(len(made.reads_from)):
                read(operands[0], int(made.reads_from[time]), int(made.reads_to[time]), name)
                memory.update(list(mine.items())[made.writes_from[time] : made.writes_to[time]])
            for time in range(len(used.reads_from)):
                if any(
                    memory[at] != value for at, value in list(mine.items())[used.reads_from[time] : used.reads_to[time]]
                ):
                    wrong.append(f"{name} reads its scratch memory")
                write(name, int(used.writes_from[time]), int(used.writes_to[time]))
            continue
        else:
            content[name] = [(name, byte) for byte in range(toys.sizes[name])]
            for time in range(max((len(order.reads_from) for order in orders.values()), default=0)):
                _one(operands, name, orders, time, read, write)
            for operand, x in enumerate(operands):
                if operand not in orders:  # nothing is known: it may be read at the very end
                    write(name, 0, toys.sizes[name])
                    read(x, 0, toys.sizes[x], name)
        if any(memory[byte] != value for byte, value in mine.items()):
            wrong.append(f"{name} lies over its scratch memory")
    for name in toys.outputs:
        read(name, 0, toys.sizes[name], "the caller")
    return wrong


Access = Callable[..., None]


def _one(
    operands: Sequence[str], name: str, orders: Mapping[int, Order], time: int, read: Access, write: Access
) -> None:
    """One step in time of a kernel: of what is not buffered, writes come first, the worst that can be."""

    def reads(buffered: bool) -> None:
        for operand, order in orders.items():
            if order.buffered is buffered:
                read(operands[operand], int(order.reads_from[time]), int(order.reads_to[time]), name)

    reads(True)
    for order in orders.values():
        write(name, int(order.writes_from[time]), int(order.writes_to[time]))
    reads(False)


def _move(
    toys: Toys, step: Step, aliased: frozenset[int], content: dict[str, list[object]], read: Access, write: Access
) -> None:
    """A join or a part; what is not there already is copied, read after everything was written."""
    (name,), operands = step.node.outputs, step.node.inputs
    starts = step.kernel.aliases(step.site)
    whole: list[object] = [None] * toys.sizes[name]
    for operand, x in enumerate(operands):
        for byte, value in enumerate(content[x]):
            if 0 <= starts[operand] + byte < len(whole):
                whole[starts[operand] + byte] = value
    content[name] = whole
    for operand, x in enumerate(operands):
        first = max(0, -starts[operand])
        read(x, first, first + min(toys.sizes[x], toys.sizes[name]), name)
    for operand, x in enumerate(operands):
        if operand not in aliased:
            first = max(0, starts[operand])
            write(name, first, first + min(toys.sizes[x], toys.sizes[name]))
    for operand, x in enumerate(operands):
        if operand not in aliased:
            read(x, 0, toys.sizes[x], f"{name} after writing")


# --- random graphs ---------------------------------------------------------------------------------------------------


def random_order(rng: np.random.Generator, steps: int, read: int, written: Array, buffered: bool) -> Order:
    """Windows that wander over an input, forwards or backwards or anyhow, while all of the output is written."""
    at = np.linspace(0, read, steps + 1).astype(np.int64)
    before, after = rng.integers(0, 12, 2)
    first, last = np.maximum(at[:-1] - before, 0), np.minimum(at[1:] + after, read)
    order = [np.arange(steps), np.arange(steps)[::-1], rng.permutation(steps)][rng.choice(3, p=[0.5, 0.4, 0.1])]
    return Order(first[order], last[order], written[:-1], written[1:], buffered)


KINDS = ("toy", "detour", "elementwise", "sweep", "unknown", "join", "part")


def random_toys(seed: int) -> Toys:
    """Branches, skips, parts and wholes, chains in place, and steps of which nothing is known."""
    rng = np.random.default_rng(seed)
    toys = Toys({"x": int(rng.integers(1, 120))})
    for _ in range(rng.integers(1, 12)):
        names = list(toys.sizes)
        recent = names[-1] if rng.random() < 0.7 else str(rng.choice(names))
        kind = rng.choice(KINDS, p=[0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1])
        size, scratch = toys.sizes[recent], int(rng.choice([0, 0, 5, 40]))
        if kind == "elementwise":
            alike = [name for name in names if toys.sizes[name] == size]
            other = str(rng.choice(alike))
            toys.run([recent, other], size, dict.fromkeys(range(2), evenly(size, 1, 1)), scratch)
        elif kind == "detour":
            written, own, steps = int(rng.integers(1, 160)), int(rng.integers(1, 160)), int(rng.integers(1, 9))
            into, ends = (np.linspace(0, end, steps + 1).astype(np.int64) for end in (own, written))
            made = random_order(rng, steps, size, into, buffered=True)
            toys.detour(recent, written, made, random_order(rng, steps, own, ends, buffered=True))
        elif kind == "sweep":
            toys.sweep(recent, int(rng.choice([c for c in range(1, 9) if size % c == 0])), scratch)
        elif kind == "join":
            toys.join([recent, str(rng.choice(names))])
        elif kind == "part":
            start = int(rng.integers(size))
            toys.part(recent, start, int(rng.integers(1, size - start + 1)))
        else:
            written = int(rng.integers(1, 160))
            steps = int(rng.integers(1, 9))
            ends = np.linspace(0, written, steps + 1).astype(np.int64)
            ends = ends if rng.random() < 0.8 else ends[::-1]
            if ends[0] > ends[-1]:
                toys.run([recent], written, _backwards(rng, steps, size, ends) if kind == "toy" else {}, scratch)
            else:
                inputs = [recent, *([str(rng.choice(names))] if rng.random() < 0.3 else [])]
                buffered = bool(rng.random() < 0.6)
                orders = {
                    index: random_order(rng, steps, toys.sizes[name], ends, buffered)
                    for index, name in enumerate(inputs)
                }
                toys.run(inputs, written, orders if kind == "toy" else {}, scratch)
    read = {name for step in toys.steps for name in step.node.inputs}
    toys.outputs = [name for name in toys.sizes if name not in read or rng.random() < 0.1]
    return toys


def _backwards(rng: np.random.Generator, steps: int, read: int, ends: Array) -> Mapping[int, Order]:
    """The output is written from its end."""
    order = random_order(rng, steps, read, np.zeros(steps + 1, np.int64), bool(rng.random() < 0.6))
    return {0: Order(order.reads_from, order.reads_to, ends[1:], ends[:-1], order.buffered)}


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_nothing_that_is_still_read_is_overwritten(first: int) -> None:
    for seed in range(first, first + 100):
        toys = random_toys(seed)
        layout = toys.layout()
        assert overwritten(toys, layout) == [], f"seed {seed}"
        assert layout.plan.lower_bound <= layout.plan.bytes <= layout.disjoint_bytes
        assert layout.disjoint_bytes == toys.layout(overlap=False).plan.bytes


def test_the_replay_notices_what_is_declared_too_boldly(monkeypatch: pytest.MonkeyPatch) -> None:
    true = spacing

    def bolder(order: Order) -> Spacing:
        return Spacing(*(distance - 8 for distance in true(order)))

    monkeypatch.setattr("test_overlaps.spacing", bolder)
    found = sum(bool(overwritten(toys, toys.layout())) for toys in map(random_toys, range(60)))
    assert found > 20


# --- what overlaps save ----------------------------------------------------------------------------------------------


def arena(toys: Toys) -> int:
    """Of a plan that is proved to be the smallest."""
    layout = toys.layout()
    assert overwritten(toys, layout) == []
    assert layout.plan.lower_bound == layout.plan.bytes
    return layout.plan.bytes


def test_a_chain_in_place_takes_one_tensor() -> None:
    toys = Toys({"x": 400})
    for _ in range(6):
        toys.outputs = [toys.run([list(toys.sizes)[-1]], 400, {0: evenly(100, 4, 4)})]
    assert arena(toys) == 400
    assert toys.layout().disjoint_bytes == 800


def test_channel_by_channel_the_output_takes_the_very_place() -> None:
    toys = Toys({"x": 400})
    toys.outputs = [toys.sweep("x", 8, scratch=24)]
    assert arena(toys) == 424


def test_narrowing_and_widening_take_the_wider_tensor() -> None:
    toys = Toys({"x": 400})
    narrow = toys.run(["x"], 100, {0: evenly(100, 4, 1)})
    backwards = evenly(100, 1, 4)
    wide = {0: Order(*(array[::-1] for array in (backwards.reads_from, backwards.reads_to)),
                     *(array[::-1] for array in (backwards.writes_from, backwards.writes_to)))}  # fmt: skip
    toys.outputs = [toys.run([narrow], 400, wide)]
    assert arena(toys) == 400


def test_rows_lag_behind_their_windows() -> None:
    toys = Toys({"x": 72})
    toys.outputs = [toys.run(["x"], 72, {0: rows(9, 8, 3, 1, 1, 9, 8)}, scratch=12)]
    assert arena(toys) == 72 + 8 + 12


def test_scratch_memory_takes_the_inputs_place_and_ends_behind_the_output() -> None:
    toys = Toys({"x": 200})
    # The first half is read before 400 bytes are written, the second one until all 600 are.
    used = Order(*map(np.array, ([0, 200, 200], [400, 400, 400], [0, 400, 600], [400, 600, 600])))
    toys.outputs = [toys.detour("x", 600, evenly(50, 4, 8), used)]
    assert arena(toys) == 800
    (needed,) = (StepBytes(toys.graph(), toys.steps).of(0, step.chosen) for step in toys.steps)
    assert needed == 800
    toys.outputs = [*toys.outputs, "x"]
    assert toys.layout().plan.bytes == 1000


def test_a_sum_takes_the_place_of_either_operand() -> None:
    toys = Toys({"x": 200})
    skip = toys.run(["x"], 200, {0: evenly(50, 4, 4)})
    deep = toys.run([skip], 200, {})
    toys.outputs = [toys.run([deep, skip], 200, dict.fromkeys(range(2), evenly(200, 1, 1)))]
    assert arena(toys) == 400


def test_what_is_read_again_or_is_an_output_is_not_overlapped() -> None:
    for outputs, again in ([["x"], False], [[], True]):
        toys = Toys({"x": 200})
        y = toys.run(["x"], 200, {0: evenly(50, 4, 4)})
        z = toys.run([y, "x"], 4, {}) if again else y
        toys.outputs = [*outputs, z]
        assert toys.layout().plan.bytes >= 400


def test_parts_leave_room_until_they_are_written() -> None:
    toys = Toys({"x": 40})
    early = toys.run(["x"], 40, {})
    wide = toys.run([early], 400, {})
    late = toys.run([wide], 400, {})
    toys.outputs = [toys.join([early, late])]
    assert toys.layout().plan.bytes == 840


# --- single steps ----------------------------------------------------------------------------------------------------


def test_what_a_step_needs_with_each_kernel() -> None:
    toys = Toys({"x": 400})
    beside = toys.run(["x"], 30, {})
    y = toys.run(["x"], 400, {})
    toys.outputs = [toys.join([y]), beside]
    needs = StepBytes(toys.graph(), toys.steps)
    in_place = Kernel("in place", Toy, _no_body, overlaps=lambda site: {0: spacing(evenly(100, 4, 4))})
    assert needs.of(1, toys.steps[1].chosen) == 832
    assert needs.of(1, candidate(in_place)) == 432
    assert needs.of(1, candidate(in_place, scratch=10)) == 444
    assert needs.of(0, candidate(in_place)) == 432  # x is read again


def test_steps_that_want_a_tensor_in_different_places_are_chosen_together() -> None:
    """The input lies above the first output, which must be low; the last output leaves room only above itself.

    In between, a step may stay in place, with scratch memory, or move up, a little slower: in place is no gain.
    """
    toys = Toys({"x": 300})
    low = toys.run(["x"], 200, {0: evenly(50, 6, 4)}, scratch=40)
    moved = toys.run([low], 200, {0: evenly(50, 4, 4)}, scratch=80)
    toys.outputs = [toys.run([moved], 400, {0: evenly(50, 4, 8)})]
    other = Kernel("up", Toy, _no_body)
    slower = dataclasses.replace(candidate(other), estimate=Estimate(101, None, 0, 0, 0))
    options = [dataclasses.replace(s, rejected=(slower,) if i == 1 else ()) for i, s in enumerate(toys.steps)]
    assert toys.layout().plan.bytes == 480
    found = planned(toys.graph(), options, Goal("ram"))
    assert [step.kernel.name for step in found.steps] == ["toy", "up", "toy"]
    assert found.layout.plan.bytes == 400


@pytest.mark.parametrize(("flash", "expected"), [(100, "lean"), (101, "toy")])
def test_size_takes_less_memory_where_that_takes_no_flash(flash: int, expected: str) -> None:
    toys = Toys({"x": 100})
    toys.outputs = [toys.run(["x"], 100, {}, scratch=80)]
    (step,) = toys.steps
    first = dataclasses.replace(step.chosen, estimate=Estimate(1000, None, 100, 0, 80))
    lean = dataclasses.replace(candidate(Kernel("lean", Toy, _no_body)), estimate=Estimate(1010, None, flash, 0, 0))
    options = [dataclasses.replace(step, chosen=first, rejected=(lean,))]
    found = planned(toys.graph(), options, Goal("size"))
    assert [each.kernel.name for each in found.steps] == [expected]


def test_less_memory_has_to_be_worth_its_cost_unless_it_is_all_that_counts() -> None:
    def plan(size: int, instructions: int) -> Plan:
        toys = Toys({"x": size})
        toys.outputs = [toys.run(["x"], 4, {})]
        (step,) = toys.steps
        estimate = Estimate(instructions, None, 100, 0, 0)
        steps = [dataclasses.replace(step, chosen=dataclasses.replace(step.chosen, estimate=estimate))]
        return Plan(toys.graph(), steps, toys.layout())

    whole = plan(996, 1000)
    for size, cost, worth in ((796, 1010, True), (988, 1010, False), (996, 900, False), (1196, 500, False)):
        assert is_better(Goal("balanced"), plan(size, cost), whole) == worth
        assert is_better(Goal("ram"), plan(size, cost), whole) == (size < 996)
    for size, cost, worth in ((496, 1900, True), (496, 2100, False), (896, 1100, True), (996, 1000, False)):
        assert is_worth_it(Goal("ram"), plan(size, cost), whole) == worth
    for size, cost, worth in ((366, 1120, True), (366, 1140, False), (900, 1000, True), (996, 900, False)):
        assert is_worth_it(Goal("balanced"), plan(size, cost), whole) == worth


def test_patience_allows_so_many_times_the_cost_within_the_budget() -> None:
    toys = Toys({"x": 300})
    toys.outputs = [toys.run(["x"], 400, {})]
    (step,) = toys.steps

    def costing(instructions: int, code: int = 100) -> list[Step]:
        estimate = Estimate(instructions, None, code, 0, 0)
        return [dataclasses.replace(step, chosen=dataclasses.replace(step.chosen, estimate=estimate))]

    for patience, most in ((1, 1250), (4, 2000)):
        goal = Goal("ram", patience=patience)
        assert affords(goal, costing(1000), costing(most))
        assert not affords(goal, costing(1000), costing(most + 1))
    for budget, most in ((None, 140), (200, 140), (120, 120), (90, 100)):
        goal = Goal("balanced", flash_budget=budget, patience=4)
        assert affords(goal, costing(1000), costing(1000, most))
        assert not affords(goal, costing(1000), costing(1000, most + 1))


@pytest.mark.parametrize("seed", range(40))
def test_no_plan_gives_a_step_less_than_it_needs(seed: int) -> None:
    toys = random_toys(seed)
    plan = toys.layout().plan
    needs = StepBytes(toys.graph(), toys.steps)
    most = max(needs.of(index, step.chosen) for index, step in enumerate(toys.steps))
    rounding = sum((ALIGNMENT - 1) * len(slot.buffer.parts) for slot in plan.slots)
    assert most <= plan.bytes + rounding
