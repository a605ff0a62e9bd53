"""The memory planner's properties, recomputed from the lifetimes: nothing here trusts the plan's own figures."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygen.memory import ALIGNMENT, Buffer, MemoryPlan, plan_memory

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


def test_nothing_takes_nothing() -> None:
    assert plan_memory([]) == MemoryPlan((), 0, 0, 0)
