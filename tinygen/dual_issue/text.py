"""Functions in assembly, arranged for a core that issues two instructions in a cycle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from tinygen.assembly import Instruction
from tinygen.dual_issue import order
from tinygen.dual_issue.effects import Effects, effects, register_number, registers

NOTE = "    @ In an order for two instructions a cycle: loads and others stand beside multiplications."

_COMMENT = re.compile(r"^\s*@")
_INSTRUCTION = re.compile(r"^    ([a-z][\w.]*)[ \t]+([^@]*?)(\s*@.*)?$")


class _Line(NamedTuple):
    """A line of a function; without effects, it keeps its place."""

    text: str
    instruction: Instruction
    effects: Effects | None


@lru_cache(maxsize=512)
def arranged(text: str, may_grow: bool) -> str:
    """The text of a function, with instructions between labels and branches in another order where that is faster.

    Labels, branches, comments on lines of their own, and instructions of which nothing is known keep their places.
    `may_grow`: whether loads of several registers may become loads of one each, which other instructions can go beside.
    """
    lines = [line for part in _parts(text.splitlines()) for line in _arranged(part, may_grow)]
    found = "\n".join(line.text for line in lines)
    return found if found == text else _with_note(found)


def _parts(lines: Sequence[str]) -> Iterator[list[_Line]]:
    """Runs of lines that may be moved, and between them those that may not."""
    run: list[_Line] = []
    for line in map(_read, lines):
        if line.effects is None:
            yield run
            yield [line]
            run = []
        else:
            run.append(line)
    yield run


def _read(line: str) -> _Line:
    match = _INSTRUCTION.match(line)
    instruction = Instruction(match[1], match[2].strip()) if match else Instruction("", "")
    return _Line(line, instruction, effects(*instruction))


def _arranged(part: list[_Line], may_grow: bool) -> list[_Line]:
    """The order that takes least, of those that are tried; the present one where no other is better."""
    if len(part) < 2:
        return part
    trials = (part, _single_loads(part)) if may_grow else (part,)
    return min((part, *map(_in_order, trials)), key=_price)


def _price(part: list[_Line]) -> float:
    """Cycles, and half a cycle for each instruction: what one more takes where nothing else hinders."""
    return order.cycles(_effects(part)) + len(part) / 2


def _in_order(part: list[_Line]) -> list[_Line]:
    return [part[index] for index in order.arranged(_effects(part))]


def _effects(part: list[_Line]) -> list[Effects]:
    return [line.effects for line in part if line.effects is not None]


def _single_loads(part: list[_Line]) -> list[_Line]:
    """Loads of several registers as loads of one each, from the same addresses."""
    return [
        new
        for line in part
        for new in [_read(f"    ldr     {operands}") for operands in _words(line.instruction)] or [line]
    ]


def _words(instruction: Instruction) -> list[str]:
    """Operands of LDR for each word that LDM or LDRD loads; nothing for other instructions."""
    mnemonic, operands = instruction
    if mnemonic.startswith("ldm"):
        base, _, listed = operands.partition("{")
        pointer = registers(base)[0]
        values = sorted(registers(listed), key=register_number)
        if "!" not in base:
            return [f"{value}, [{pointer}, #{4 * index}]" for index, value in enumerate(values)]
        size = 4 * len(values)
        first = f"{values[0]}, [{pointer}], #{size}"
        return [first, *(f"{value}, [{pointer}, #{4 * i - size}]" for i, value in enumerate(values) if i)]
    pair = re.fullmatch(r"(\w+), (\w+), \[(\w+)(?:, #(-?\d+))?\]", operands) if mnemonic == "ldrd" else None
    if pair is None or pair[3] in (pair[1], pair[2]):
        return []
    offset = int(pair[4] or 0)
    if offset < -255:  # LDRD reaches further back
        return []
    return [f"{pair[1]}, [{pair[3]}, #{offset}]", f"{pair[2]}, [{pair[3]}, #{offset + 4}]"]


def _with_note(text: str) -> str:
    """Behind the comment that the function begins with."""
    lines = text.splitlines()
    count = next((index for index, line in enumerate(lines) if not _COMMENT.match(line)), len(lines))
    return "\n".join([*lines[:count], NOTE, *lines[count:]])
