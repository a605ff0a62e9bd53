"""The instructions of a firmware, by address."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinygen import costs, costs_riscv, dual_issue
from tinygen.counting.vector_encodings import vector_text
from tinygen.errors import ToolFailed
from tinygen.platformio_storage import tool
from tinygen.target import ARM, AVR, DUAL_ISSUE, RISCV, Core

# Without mnemonic: an instruction that this disassembler does not know, as CINC of Armv8.1-M before binutils 2.41.
_FORMATS = {"elf32-littlearm": ARM, "elf32-littleriscv": RISCV, "elf32-avr": AVR}
_FORMAT = re.compile(r"file format (\S+)$", re.MULTILINE)
_LINE = re.compile(r"^ *([0-9a-f]+):\t([0-9a-f]+(?: [0-9a-f]+)*) *\t(\S*)(?:[ \t]+([^@;<]*))?")


@dataclass(frozen=True)
class Instruction:
    """An instruction as a disassembler has it, and the one before it in memory, as text."""

    mnemonic: str
    operands: str
    previous: str
    architecture: str = ARM

    @cached_property
    def kind(self) -> str:
        """Its class, of tinygen.costs.CLASSES, wherever it stands."""
        if self.architecture == RISCV:
            return costs_riscv.classify(self.mnemonic)
        return costs.classify(self.mnemonic, self.operands)

    def cycles(self, table: Mapping[str, float]) -> float:
        """Modelled cycles of one execution that the next instruction follows."""
        if self.architecture == RISCV:
            return table[self.kind]
        return costs.cycles(table, self.mnemonic, self.operands, self.previous)


def modelled_cycles(code: Mapping[int, Instruction], core: Core) -> Mapping[int, float]:
    """Of one execution of each instruction that the next one follows, by address."""
    table = core.cost.cycles
    if DUAL_ISSUE not in core.features:
        return {address: instruction.cycles(table) for address, instruction in code.items()}
    each = dual_issue.cycles(table, ((instruction.mnemonic, instruction.operands) for instruction in code.values()))
    return dict(zip(code, each, strict=True))


def disassemble(elf: Path, toolchain: str) -> dict[int, Instruction]:
    """All instructions of an ELF file, by the toolchain on the PATH, or PlatformIO's. Raises ToolFailed."""
    command = [tool(f"{toolchain}objdump"), "-d", str(elf)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolFailed(
            f"cannot run {command[0]}: {error.strerror}", "It comes with the compiler's binutils."
        ) from None
    if done.returncode:
        raise ToolFailed(f"{command[0]} cannot read {elf}:\n{done.stderr.strip()}", "Build the firmware again.")
    form = _FORMAT.search(done.stdout)
    architecture = _FORMATS.get(form.group(1), "") if form else ""
    found: dict[int, Instruction] = {}
    previous = ""
    for line in done.stdout.splitlines():
        match = _LINE.match(line)
        if match is None:
            previous = "" if not line or line.endswith(":") else previous  # another function begins
            continue
        address, code, mnemonic, operands = match.groups(default="")
        if architecture == ARM and len(halfwords := code.split()) == 2:
            vector = vector_text(mnemonic, *(int(halfword, 16) for halfword in halfwords))
            if vector:
                mnemonic, _, operands = vector.partition(" ")
        found[int(address, 16)] = Instruction(mnemonic, operands.strip(), previous, architecture)
        previous = f"{mnemonic} {operands}".strip()
    return found
