"""The bound of the stack in RISC-V's instructions, with 32-bit integer registers and GCC's calling convention."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinygen.counting.disassembly import Instruction
from tinygen.stack import Calls

_BRANCH = re.compile("b(?:eq|ne|lt|ge|gt|le)u?z?")
_ADDRESS = re.compile("(?:0x)?[0-9a-f]+")
_RESOLVED = re.compile(r"# ([0-9a-f]+)")
"""What disassemblers know of a jump through a register that was loaded just before."""
_MOVE = re.compile(r"sp,sp,(-?\d+)")
_READS_ITS_FIRST = re.compile(r"s[bhw]|csrw")
_STOPS = frozenset({"ebreak", "unimp", "c.unimp"})


class RiscvCalls(Calls):
    """The bounds of functions of RV32."""

    def _jumps_by_table(self, instruction: Instruction) -> bool:
        """A jump through a register that nothing is known of.

        Compilers write one for a table of addresses within the function, and for a call of an unknown function at the
        end of another, which generated code and what it calls do not have.
        """
        return instruction.mnemonic == "jr" and _RESOLVED.search(instruction.operands) is None

    def _veneer(self, address: int, instruction: Instruction) -> int | None:
        return None

    def _called(self, entry: int, instruction: Instruction) -> int | None:
        mnemonic = instruction.mnemonic
        if mnemonic in ("jal", "jalr"):
            return _target(instruction)
        if mnemonic in ("j", "jr") and (target := _target(instruction)) in self._names and target != entry:
            return target
        return None

    def _successors(self, address: int, instruction: Instruction) -> Iterator[int]:
        mnemonic = instruction.mnemonic
        if mnemonic in ("j", "jr"):
            yield _target(instruction)
            return
        if mnemonic == "ret" or mnemonic in _STOPS:
            return
        if _BRANCH.fullmatch(mnemonic):
            yield _target(instruction)
        elif not mnemonic or mnemonic.startswith("."):
            raise ValueError("execution runs into data")
        yield self._next.get(address, address + 2)

    def _moved(self, instruction: Instruction) -> int:
        mnemonic, operands = instruction.mnemonic, instruction.operands
        if not re.match(r"sp\b", operands) or _READS_ITS_FIRST.fullmatch(mnemonic) or _BRANCH.fullmatch(mnemonic):
            return 0
        found = _MOVE.match(operands)
        if found is None or mnemonic not in ("add", "addi"):
            raise ValueError(f"{mnemonic} {operands} moves the stack pointer no one knows how far")
        return -int(found.group(1))


def _target(instruction: Instruction) -> int:
    """Where a jump goes. Raises ValueError for one through a register, and for one that returns to another one."""
    *registers, address = [part.strip() for part in instruction.operands.partition("#")[0].split(",")]
    resolved = _RESOLVED.search(instruction.operands)
    if resolved and instruction.mnemonic in ("jalr", "jr"):
        address = resolved.group(1)
    elif not _ADDRESS.fullmatch(address) or instruction.mnemonic in ("jalr", "jr"):
        raise ValueError(f"{instruction.mnemonic} {instruction.operands} goes where a register points to")
    if instruction.mnemonic == "jal" and registers not in ([], ["ra"]):
        raise ValueError(f"{instruction.mnemonic} {instruction.operands} keeps no return address in ra")
    return int(address, 16)
