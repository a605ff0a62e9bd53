"""What assembly that templates print costs: its blocks say in comments how often they run.

A label's comment ends in "runs N times", or "runs once", which `tinygen.emit` prints for the filter `runs`. A block
goes from its label to the next; the one before the first label runs once. Where layers of different sizes share the
text, N is a name in braces, printed for the filter `runs_as`, and every layer has its own number for it; a number may
stand before it that it is multiplied by: "runs 25 * {channels} times".

Of a block whose instructions are repeated, by `.rept N` and `.endr`, all copies together run so often.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

_LABEL = re.compile(r"(\d+|[.\w]+):")
_RUNS = re.compile(r"runs (?:(once)|(?:([\d,]+)|(?:([\d,]+) \* )?{(\w+)}) times)")
_LOW = re.compile(r"r[0-7]\b")
_HIGH = re.compile(r"\b(r8|r9|r10|r11|r12|lr|ip|fp|sl)\b")


_NO_NAMES: Mapping[str, int] = MappingProxyType({})


class Instruction(NamedTuple):
    """One line of assembly."""

    mnemonic: str
    operands: str


@dataclass(frozen=True)
class Block:
    """Instructions between two labels, and how often they run in one call."""

    label: str
    runs: int
    instructions: tuple[Instruction, ...]
    copies: int = 1
    """How often the instructions are there."""


def blocks(text: str, named: Mapping[str, int] = _NO_NAMES) -> tuple[Block, ...]:
    """The blocks of a function; `named`: the numbers for names in braces.

    Raises ValueError for a label that does not say how often its block runs, or by a name without a number.
    """

    def number(runs: _Runs) -> int:
        if runs.name and runs.name not in named:
            raise ValueError(f"no number is known for {{{runs.name}}}, which counts a block")
        return runs.number * (named[runs.name] if runs.name else 1)

    return tuple(Block(part.label, number(part.runs), tuple(part.code), part.copies) for part in _parts(text))


class _Runs(NamedTuple):
    """A number, times what a name stands for if there is one."""

    number: int
    name: str = ""


@dataclass
class _Part:
    """Of each block the label, how often it runs, and the instructions."""

    label: str
    runs: _Runs
    code: list[Instruction] = field(default_factory=list)
    copies: int = 1


@lru_cache(maxsize=256)
def _parts(text: str) -> tuple[_Part, ...]:
    found = [_Part("", _Runs(1))]
    for line in text.splitlines():
        code, _, comment = line.partition("@")
        words = code.strip()
        label = _LABEL.match(words)
        if label:
            runs = _RUNS.search(comment)
            if runs is None:
                raise ValueError(f"a label without 'runs N times': {line}")
            count = int((runs[2] or runs[3] or "1").replace(",", ""))
            found.append(_Part(label[1], _Runs(count, runs[4] or "")))
            words = words[label.end() :].strip()
        mnemonic, _, operands = words.partition(" ")
        if mnemonic == ".rept":
            found[-1].copies = int(operands)
        elif words and not words.startswith("."):
            found[-1].code.append(Instruction(mnemonic, operands.strip()))
    return tuple(found)


def instructions(text: str, named: Mapping[str, int] = _NO_NAMES) -> int:
    """Executed instructions of one call."""
    return sum(block.runs * len(block.instructions) for block in blocks(text, named))


def code_bytes(text: str, named: Mapping[str, int] = _NO_NAMES) -> int:
    """About the size of the code: a guess at which instructions have 16 bits."""
    return sum(
        block.copies * sum(2 if _is_narrow(instruction) else 4 for instruction in block.instructions)
        for block in blocks(text, named)
    )


def executions(text: str, named: Mapping[str, int] = _NO_NAMES) -> Iterator[tuple[Instruction, int, int]]:
    """(instruction, how often it runs, how often it branches) for all instructions, in the order of the text.

    A branch falls through as often as what follows it runs.
    """
    listed = [(instruction, block.runs) for block in blocks(text, named) for instruction in block.instructions]
    for index, (instruction, runs) in enumerate(listed):
        following = listed[index + 1][1] if index + 1 < len(listed) else 0
        taken = max(runs - following, 0) if is_conditional(instruction.mnemonic) else runs
        yield instruction, runs, taken if is_branch(instruction) else 0


_CONDITIONS = "eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"


@lru_cache(maxsize=1 << 10)
def is_conditional(mnemonic: str) -> bool:
    """Whether it is a branch that may fall through."""
    return re.fullmatch(rf"(b({_CONDITIONS})(\.[nw])?|cbn?z)", mnemonic) is not None


@lru_cache(maxsize=1 << 14)
def is_branch(instruction: Instruction) -> bool:
    """Whether it goes elsewhere than to the next instruction."""
    mnemonic, operands = instruction
    return (
        is_conditional(mnemonic)
        or re.fullmatch(r"(b|bl|bx|blx)(\.[nw])?", mnemonic) is not None
        or (mnemonic == "pop" and "pc" in operands)
        or (mnemonic in ("add", "mov") and operands.startswith("pc,"))
    )


_NARROW = frozenset(
    "ldmia stmia uxtb sxtb uxth sxth rev16 lsls asrs lsrs ands bics orrs eors mvns muls rsbs sbcs adcs".split()
)
"""With low registers, all their forms that set flags have 16 bits."""


@lru_cache(maxsize=1 << 14)
def _is_narrow(instruction: Instruction) -> bool:
    mnemonic, operands = instruction
    if mnemonic.endswith(".n") or mnemonic in ("bx", "blx", "nop") or mnemonic.startswith("it"):
        return True
    if mnemonic.endswith(".w"):
        return False
    if mnemonic in ("push", "pop"):
        return not re.search(r"r8|r9|r1[0-2]", operands)
    if mnemonic == "mov" and "#" not in operands:
        return True
    if mnemonic == "add" and "#" not in operands and operands.count(",") == 1:
        return True
    if _HIGH.search(operands) or not _LOW.search(operands) or re.search(r"\b(lsl|asr|lsr|ror)\b", operands):
        return False
    number = re.search(r"#(-?\d+)", operands)
    value = int(number[1]) if number else 0
    if mnemonic in ("ldr", "str"):
        return operands.count(",") == 2 and 0 <= value <= (1020 if "sp" in operands else 124) and "!" not in operands
    if mnemonic in ("ldrb", "strb", "ldrh", "strh"):
        return 0 <= value <= 31 and not operands.endswith(f"], #{value}")
    if mnemonic in ("adds", "subs", "movs", "cmp"):
        return 0 <= value <= (255 if mnemonic in ("movs", "cmp") or operands.count(",") == 1 else 7)
    return mnemonic in _NARROW
