"""What a kernel is expected to cost, before anything is compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tinygen import assembly, costs, dual_issue
from tinygen.kernel import Work
from tinygen.target import DUAL_ISSUE

_CALL = 9
"""Instructions of a layer's wrapper around a function in assembly, and of the call to it."""


@dataclass(frozen=True)
class Estimate:
    """Of one layer; None where nothing is known."""

    instructions: int | None
    """Executed in one invocation."""
    cycles: int | None
    """Modelled, with the core's cost table."""
    code: int
    """Bytes of flash, shared with layers that print the same text."""
    data: int
    """Bytes of constants."""
    scratch: int
    """Bytes of RAM while it runs."""
    width: int = 1
    """Instructions that the core issues in a cycle."""

    @property
    def flash(self) -> int:
        """Bytes of code and constants."""
        return self.code + self.data

    @property
    def time(self) -> float:
        """What is compared: instructions, and modelled cycles where there are any.

        Cycles are modelled without wait states: of two kernels with as many, that with fewer instructions fetches less.
        """
        return float("inf") if self.instructions is None else self.instructions / self.width + (self.cycles or 0)


def of_assembly(
    text: str,
    named: Mapping[str, int],
    data: int,
    scratch: int,
    table: Mapping[str, float],
    features: frozenset[str] = frozenset(),
) -> Estimate:
    """Of a function's text, with a core's features and the cycles of its instruction classes (none: none are modelled).

    `named`: how often blocks run that the text counts by name.
    """
    return Estimate(
        instructions=assembly.instructions(text, named) + _CALL,
        cycles=round(_cycles(text, named, table, features) + _CALL * table["alu"]) if table else None,
        code=assembly.code_bytes(text, named),
        data=data,
        scratch=scratch,
        width=_width(features),
    )


def _width(features: frozenset[str]) -> int:
    return 2 if DUAL_ISSUE in features else 1


def _cycles(text: str, named: Mapping[str, int], table: Mapping[str, float], features: frozenset[str]) -> float:
    if DUAL_ISSUE in features:
        executed = list(assembly.executions(text, named))
        each = dual_issue.cycles(table, (instruction for instruction, _, _ in executed))
        return sum(
            runs * cycles + taken * table["taken"] for (_, runs, taken), cycles in zip(executed, each, strict=True)
        )
    total, before = 0.0, ""
    for instruction, runs, taken in assembly.executions(text, named):
        total += runs * costs.cycles(table, *instruction, before) + taken * table["taken"]
        before = " ".join(instruction)
    return total


_CYCLES_OF_C = 1.4
"""About how many cycles an instruction of such loops takes where assembly's are modelled."""


def of_c(
    work: Work, data: int, scratch: int, table: Mapping[str, float], features: frozenset[str] = frozenset()
) -> Estimate:
    """Of a function in C, whose code is not known before a compiler has seen it."""
    cycles = round(work.instructions * _CYCLES_OF_C) if work.instructions is not None and table else None
    return Estimate(work.instructions, cycles, work.code, data, scratch, _width(features))


def with_c(found: Estimate, work: Work, table: Mapping[str, float]) -> Estimate:
    """A function in assembly, and the C around it."""
    c = of_c(work, 0, 0, table)
    return dataclasses.replace(
        found,
        instructions=_sum(found.instructions, c.instructions),
        cycles=_sum(found.cycles, c.cycles),
        code=found.code + c.code,
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
