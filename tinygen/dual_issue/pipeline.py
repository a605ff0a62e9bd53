"""How a Cortex-M7 issues instructions: two in a cycle where they pair, in order, each when its operands are there.

Arm does not publish it. The rules are those on which LLVM's scheduler (ARMScheduleM7.td, by people at Arm) and
measurements on STM32H7 (github.com/jnk0le/random) agree, and where they differ, the slower one. Left out: branches,
banks of memory (two loads never go together here), alignment, caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tinygen import costs
from tinygen.dual_issue import effects as e
from tinygen.dual_issue.effects import Effects, effects

_ALONE = frozenset({e.LOADS, e.STORES, e.FLOAT_MOVES})
"""What nothing goes beside: it moves more than one register."""

_NEVER_TWICE = frozenset({e.MULTIPLY, e.STORE, e.LOAD, e.FLOAT_MOVE, e.SHIFT})
"""Of which the core takes one in a cycle."""


def pairs(first: Effects, second: Effects) -> bool:
    """Whether two instructions may be issued together, in this order, if their operands are there."""
    kinds = {first.kind, second.kind}
    return not (
        kinds & _ALONE
        or (first.kind == second.kind and first.kind in _NEVER_TWICE)
        or kinds == {e.MULTIPLY, e.STORE}
        or second.kind == e.LANES  # these have one place only, that of the first
        or first.writes & second.writes
    )


class Pipeline:
    """Instructions that were issued one after the other, and when."""

    def __init__(self) -> None:
        self.end = 0.0
        """The cycle after the last."""
        self._start = 0.0
        self._first: Effects | None = None  # that another may go beside
        self._ready: dict[str, tuple[float, float, str]] = {}  # for what is wanted early and otherwise; of which kind

    def when(self, instruction: Effects) -> float:
        """The cycle in which it would be issued next."""
        needed = max((self._needed(name, instruction) for name in instruction.reads), default=0.0)
        if self._first is not None and needed <= self._start and pairs(self._first, instruction):
            return self._start
        return max(needed, self.end)

    def issue(self, instruction: Effects) -> None:
        """Issue an instruction as soon as may be."""
        start = self.when(instruction)
        beside = self._first is not None and start == self._start
        self._first = None if beside else instruction
        self._start = start
        self.end = max(self.end, start + instruction.cycles)
        result = start + instruction.cycles - 1 + instruction.latency
        for name in instruction.writes:
            if name == instruction.updated:
                self._ready[name] = (start + 1, start + 1, "")
            else:
                self._ready[name] = (result + 1, result, instruction.kind)

    def issue_unknown(self, cycles: float) -> None:
        """Issue an instruction of which nothing is known, by itself and after all before it."""
        self._first = None
        self._start = self.end
        self.end += cycles

    def _needed(self, name: str, instruction: Effects) -> float:
        early, ready, kind = self._ready.get(name, (0.0, 0.0, ""))
        if name in instruction.early:
            return early
        if name in instruction.late:
            return ready - 1
        # A product takes what was loaded a cycle later than others do.
        return ready + 1 if instruction.kind == e.MULTIPLY and kind in (e.LOAD, e.LOADS) else ready


def cycles(table: Mapping[str, float], listed: Iterable[tuple[str, str]]) -> list[float]:
    """Modelled cycles by which each instruction, in the order of the code, prolongs those before it; 0 beside another.

    `table` has cycles for each class (`tinygen.target.CostTable.cycles`), for those of which no more is known.
    """
    pipeline, found, previous = Pipeline(), [], ""
    for mnemonic, operands in listed:
        before, known = pipeline.end, effects(mnemonic, operands)
        if known is None:
            pipeline.issue_unknown(costs.cycles(table, mnemonic, operands, previous))
        else:
            pipeline.issue(known)
        found.append(pipeline.end - before)
        previous = f"{mnemonic} {operands}"
    return found
