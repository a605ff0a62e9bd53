"""From plans to the board's regions of memory: where each part of the libraries lies, by hand or by what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import DoesNotFit, UsageError
from tinygen.goal import Goal
from tinygen.hot_code import HotCode, hot_code, layers_named
from tinygen.interface import Interface
from tinygen.layout import lay_out
from tinygen.placement import AUTO, PARTS, named, region_of, resolved, spare
from tinygen.plan import Plan, sizes_of
from tinygen.target import FLASH, RAM, Board, Region


@dataclass(frozen=True)
class Placed:
    """A plan, and the regions of those parts that are placed."""

    chosen: Plan
    places: tuple[tuple[str, str], ...]
    hot: HotCode

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of the library's parts; those of code are estimates."""
        sizes = dict(sizes_of(self.chosen))
        hot = min(self.hot.bytes, sizes["code"])
        return {**sizes, "code": sizes["code"] - hot, "hot": hot}


def place(plans: Sequence[Plan], board: Board, goal: Goal, interface: Interface) -> tuple[Placed, ...]:
    """Where the parts of libraries lie that are in one firmware, of which one runs at a time.

    Raises UsageError for what cannot be placed so, and DoesNotFit where scratch memory of its own exceeds the budget.
    """
    wanted = dict(goal.places)
    _check(wanted, goal, interface, len(plans))
    fixed = {part: region for part, region in wanted.items() if part != "hot"}
    apart = [_apart(chosen, goal) for chosen in plans] if "scratch" in fixed else list(plans)
    places = resolved(fixed, board, _sizes(apart))
    if "scratch" in fixed and not interface.is_external and places["scratch"] == places.get("arena", RAM):
        apart = list(plans)  # together they need less
    for chosen in apart:
        _expect_within(goal.ram_budget, chosen)
    hot = [HotCode() for _ in plans]
    if "hot" in wanted:
        code = region_of(board, places.get("code", FLASH))
        free = spare(board, _sizes(apart), places)
        tried = [
            (_saved(region, code, found), region.name, found)
            for region in _regions(wanted["hot"], code, board)
            for found in [[hot_code(chosen, goal.hot, free[region.name] // len(plans)) for chosen in apart]]
        ]
        # Of those that save as much, the first: where the code lies anyway comes before all else.
        _, places["hot"], hot = max(tried, key=lambda trial: trial[0])
        if places["hot"] == code.name:
            hot = [HotCode() for _ in plans]
    in_order = tuple((part, places[part]) for part in PARTS if part in places)
    return tuple(Placed(chosen, in_order, found) for chosen, found in zip(apart, hot, strict=True))


def _check(wanted: Mapping[str, str], goal: Goal, interface: Interface, count: int) -> None:
    if "arena" in wanted and interface.is_external:
        raise UsageError(
            f"--place arena={wanted['arena']}: an external arena lies where the application has it",
            "Leave it out, and give the library memory of the region that it is to work in.",
        )
    if goal.hot and "hot" not in wanted:
        raise UsageError(
            f"--hot {goal.hot}: it is not said where the code of those layers goes", "Say it: --place hot=REGION."
        )
    if goal.hot and layers_named(goal.hot) and count > 1:
        raise UsageError(
            f"--hot {goal.hot}: {count} models have layers of such names", "Give a number of bytes, for each of them."
        )


def _apart(chosen: Plan, goal: Goal) -> Plan:
    """The same kernels, with memory for themselves that is not in the arena."""
    return dataclasses.replace(chosen, layout=lay_out(chosen.graph, chosen.steps, goal.overlap, scratch_apart=True))


def _expect_within(budget: int | None, chosen: Plan) -> None:
    layout = chosen.layout
    if budget is not None and layout.ram_bytes > budget:
        raise DoesNotFit(
            f"{layout.scratch_bytes:,} bytes of scratch apart from {layout.plan.bytes:,} of arena and "
            f"{layout.state_bytes:,} of state need {layout.ram_bytes:,} bytes of RAM, the budget is {budget:,}",
            "Raise the RAM budget, or leave the scratch in the arena.",
        )


def _sizes(plans: Sequence[Plan]) -> Mapping[str, int]:
    """Bytes of the parts of all libraries. One runs at a time: their arenas are one."""
    each = [sizes_of(chosen) for chosen in plans]
    return {part: max(s[part] for s in each) if part == "arena" else sum(s[part] for s in each) for part in each[0]}


def _regions(wanted: str, code: Region, board: Board) -> Iterator[Region]:
    """Where hot code may go: where it is wanted; else where it lies with all code, and where it is fetched faster."""
    if wanted != AUTO:
        yield named("hot", wanted, board)
        return
    yield code
    faster = [region for region in board.regions if region.wait_states < code.wait_states]
    # Of two that are as fast, that which is not needed for anything else.
    yield from sorted(faster, key=lambda region: region.name == RAM)


def _saved(region: Region, code: Region, found: Sequence[HotCode]) -> int:
    """Wait states that the layers' code does not meet there, where each instruction met them once."""
    return (code.wait_states - region.wait_states) * sum(hot.instructions for hot in found)
