"""The memory planner's properties, recomputed from the lifetimes: nothing here trusts the plan's own figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations, count, permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygen.access import Spacing
from tinygen.memory import ALIGNMENT, Buffer, MemoryPlan, Part, plan_memory, step_bytes

STEPS = 12


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    """Any sizes and lifetimes."""
    made = []
    for index in range(draw(st.integers(0, 14))):
        first = draw(st.integers(0, STEPS))
        made.append(Buffer(f"b{index}", draw(st.integers(1, 400)), first, draw(st.integers(first, STEPS))))
    return made


def chain_of(sizes: Sequence[int]) -> list[Buffer]:
    """Each buffer lives from the step that writes it to the next, as in a network without branches. Sizes in words."""
    return [Buffer(f"b{index}", ALIGNMENT * size, index, index + 1) for index, size in enumerate(sizes)]


def live_bytes(given_buffers: Sequence[Buffer], step: int) -> int:
    """Least arena that holds what is live, each buffer rounded up: offsets and the arena's size are aligned."""
    live = [buffer.bytes for buffer in given_buffers if step in range(buffer.first, buffer.last + 1)]
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in live)


def most_live_bytes(given_buffers: Sequence[Buffer]) -> int:
    last = max((buffer.last for buffer in given_buffers), default=0)
    return max(live_bytes(given_buffers, step) for step in range(last + 1))


def clashes(plan: MemoryPlan) -> list[tuple[str, str]]:
    """Pairs that hold the same byte at the same step."""
    taken: dict[tuple[int, int], str] = {}
    found = []
    for slot in plan.slots:
        for step in range(slot.buffer.first, slot.buffer.last + 1):
            for byte in range(slot.offset, slot.offset + slot.buffer.bytes):
                other = taken.setdefault((step, byte), slot.buffer.name)
                if other != slot.buffer.name:
                    found.append((other, slot.buffer.name))
    return found


@given(buffers())
def test_buffers_that_live_together_never_overlap(given_buffers: list[Buffer]) -> None:
    plan = plan_memory(given_buffers)
    assert sorted(slot.buffer.name for slot in plan.slots) == sorted(buffer.name for buffer in given_buffers)
    assert {slot.buffer.name: slot.buffer for slot in plan.slots} == {buffer.name: buffer for buffer in given_buffers}
    assert clashes(plan) == []


@given(buffers())
def test_offsets_are_aligned_and_the_size_holds_every_buffer(given_buffers: list[Buffer]) -> None:
    plan = plan_memory(given_buffers)
    assert all(slot.offset >= 0 and slot.offset % ALIGNMENT == 0 for slot in plan.slots)
    end = max((slot.offset + slot.buffer.bytes for slot in plan.slots), default=0)
    assert plan.bytes % ALIGNMENT == 0
    assert end <= plan.bytes < end + ALIGNMENT


@given(buffers())
def test_the_bound_and_the_peak_are_those_of_the_lifetimes(given_buffers: list[Buffer]) -> None:
    plan = plan_memory(given_buffers)
    assert live_bytes(given_buffers, plan.peak_step) == most_live_bytes(given_buffers)
    assert most_live_bytes(given_buffers) <= plan.lower_bound <= plan.bytes


@given(buffers())
def test_no_plan_is_worse_than_no_sharing(given_buffers: list[Buffer]) -> None:
    plan = plan_memory(given_buffers)
    assert plan.bytes <= sum(-(-buffer.bytes // ALIGNMENT) * ALIGNMENT for buffer in given_buffers)


# In turn at the bottom and at the top of the arena, neighbours of a chain meet in no more than the bound.
WORDS = st.lists(st.integers(1, 100), min_size=1, max_size=14)


@given(WORDS)
@example([3, 2, 2, 3, 3, 1, 4])
@settings(max_examples=200)
def test_chains_reach_the_bound(sizes: list[int]) -> None:
    chain = chain_of(sizes)
    assert plan_memory(chain).bytes == most_live_bytes(chain)


@given(st.integers(1, 100), WORDS)
@example(1, [4, 3, 3, 4])
@settings(max_examples=200)
def test_chains_beside_a_skip_connection_reach_the_bound(skip: int, sizes: list[int]) -> None:
    everything = [Buffer("skip", ALIGNMENT * skip, 0, len(sizes)), *chain_of(sizes)]
    assert plan_memory(everything).bytes == most_live_bytes(everything)


@given(buffers(), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_buffers(given_buffers: list[Buffer], random: object) -> None:
    shuffled = list(given_buffers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_memory(shuffled) == plan_memory(given_buffers)


# --- distances instead of disjointness --------------------------------------------------------------------------------

Problem = tuple[list[Buffer], dict[tuple[str, str], Spacing]]


@st.composite
def problems(draw: st.DrawFn, most: int = 8, largest: int = 400) -> Problem:
    """Any buffers, some of parts with lives of their own, and any spacings between those that follow each other."""
    made = []
    for index in range(draw(st.integers(0, most))):
        parts: list[Part] = []
        start = 0
        for number in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
            first = draw(st.integers(0, STEPS))
            size = draw(st.integers(1, largest))
            parts.append(Part(f"p{index}.{number}", start, size, first, draw(st.integers(first, STEPS))))
            start += draw(st.integers(0, size))
        end = max(part.offset + part.bytes for part in parts)
        first, last = min(part.first for part in parts), max(part.last for part in parts)
        made.append(Buffer(f"b{index}", end, first, last, tuple(parts)))
    spacings = {
        (x.name, y.name): Spacing(
            draw(st.integers(-largest, largest)), draw(st.integers(-largest, largest)), draw(st.booleans())
        )
        for a, b in permutations(made, 2)
        for x in a.parts
        for y in b.parts
        if x.last == y.first and draw(st.booleans())
    }
    return made, spacings


def is_right(x: Part, at_x: int, y: Part, at_y: int, spacings: Mapping[tuple[str, str], Spacing]) -> bool:
    """Whether two parts may lie there: at different times, disjoint, or as a spacing allows."""
    if x.last < y.first or y.last < x.first or at_x + x.bytes <= at_y or at_y + y.bytes <= at_x:
        return True
    for (a, at_a), (b, at_b) in permutations(((x, at_x), (y, at_y))):
        if (a.name, b.name) in spacings:
            spacing = spacings[a.name, b.name]
            if at_a - at_b >= spacing.input_above or at_b - at_a >= spacing.output_above:
                return True
            if spacing.in_place and at_a == at_b:
                return True
    return False


def all_right(offsets: Mapping[Buffer, int], spacings: Mapping[tuple[str, str], Spacing]) -> bool:
    parts = [(part, buffer, offset + part.offset) for buffer, offset in offsets.items() for part in buffer.parts]
    return all(is_right(x, at_x, y, at_y, spacings) for (x, a, at_x), (y, b, at_y) in combinations(parts, 2) if a != b)


def least_bytes(given_buffers: Sequence[Buffer], spacings: Mapping[tuple[str, str], Spacing]) -> int:
    """The smallest arena, by trying all aligned offsets."""

    def goes(height: int, offsets: Mapping[Buffer, int], rest: Sequence[Buffer]) -> bool:
        if not rest:
            return True
        trials = ({**offsets, rest[0]: at} for at in range(0, height - rest[0].bytes + 1, ALIGNMENT))
        return any(all_right(trial, spacings) and goes(height, trial, rest[1:]) for trial in trials)

    return next(height for height in count(0, ALIGNMENT) if goes(height, {}, given_buffers))


@given(problems())
def test_live_parts_overlap_no_more_than_spacings_allow(problem: Problem) -> None:
    given_buffers, spacings = problem
    plan = plan_memory(given_buffers, spacings)
    offsets = {slot.buffer: slot.offset for slot in plan.slots}
    assert sorted(offsets, key=lambda b: b.name) == sorted(given_buffers, key=lambda b: b.name)
    assert all(offset >= 0 and offset % ALIGNMENT == 0 for offset in offsets.values())
    assert plan.bytes == -(-max((slot.end for slot in plan.slots), default=0) // ALIGNMENT) * ALIGNMENT
    assert all_right(offsets, spacings)
    assert plan.lower_bound <= plan.bytes <= plan_memory(given_buffers).bytes


@given(problems(most=4, largest=16))
@settings(max_examples=150, deadline=None)
def test_small_plans_are_the_smallest_and_proved_to_be(problem: Problem) -> None:
    plan = plan_memory(*problem)
    assert plan.lower_bound == plan.bytes == least_bytes(*problem)


@given(problems(most=4, largest=16), st.integers(0, STEPS))
@settings(deadline=None)
def test_no_step_can_do_with_less_than_it_is_said_to_need(problem: Problem, step: int) -> None:
    given_buffers, spacings = problem
    live = [run for buffer in given_buffers for run in buffer.during(step)]
    assert step_bytes(live, spacings) <= least_bytes(live, spacings)


@given(problems(), st.randoms(use_true_random=False))
def test_overlaps_do_not_depend_on_the_order_of_the_buffers(problem: Problem, random: object) -> None:
    given_buffers, spacings = problem
    shuffled = list(given_buffers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_memory(shuffled, spacings) == plan_memory(given_buffers, spacings)


@pytest.mark.parametrize("seed", range(3))
def test_two_hundred_steps_reach_the_bound(seed: int) -> None:
    """Blocks of widening, filtering in place and narrowing beside a skip connection, all about as large."""
    rng = np.random.default_rng(seed)
    made = [Buffer("x0", 96, 0, 1)]
    spacings: dict[tuple[str, str], Spacing] = {}
    for block in range(67):
        step, narrow, wide = 3 * block, made[-1], 24 * int(rng.integers(18, 22))
        made[-1] = dataclasses.replace(narrow, last=step + 2)
        made += [
            Buffer(f"wide{block}", wide, step, step + 1),
            Buffer(f"deep{block}", wide, step + 1, step + 2),
            Buffer(f"rows{block}", int(rng.integers(1, 80)), step + 1, step + 1),
            Buffer(f"x{block + 1}", 96, step + 2, step + 3),
        ]
        spacings[f"wide{block}", f"deep{block}"] = Spacing(24, 24)
        spacings[f"deep{block}", f"x{block + 1}"] = Spacing(0, wide)
    plan = plan_memory(made, spacings)
    assert plan.bytes == plan.lower_bound
    assert plan.bytes < plan_memory(made).bytes


def test_nothing_takes_nothing() -> None:
    assert plan_memory([]) == MemoryPlan((), 0, 0, 0)
