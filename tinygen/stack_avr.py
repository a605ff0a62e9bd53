"""The bound of the stack in AVR's instructions, with GCC's ways to make and leave a frame.

A call pushes its return address: two bytes, three on processors with more than 128 KB of flash. They are counted with
the callee, the outermost function's own, too: they lie below its caller's stack pointer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tinygen.counting.disassembly import Instruction
from tinygen.stack import Bound, Calls

_RELATIVE = re.compile(r"\.([+-]\d+)")
_BRANCH = re.compile("br[a-z]{2}")
_SKIPS = frozenset({"cpse", "sbrc", "sbrs", "sbic", "sbis"})
_CALLS = frozenset({"call", "rcall"})
_RETURNS = frozenset({"ret", "reti"})
_TABLE_JUMP = "__tablejump"
"""How names of what compilers jump to begin, to go on where a table of addresses says: no functions, if called so."""
_POINTER_LOW, _POINTER_HIGH = "0x3d", "0x3e"
"""The stack pointer's halves, as ports."""
_MOVED = "moves the stack pointer by"
"""Instead of the last instruction of those that write it."""


class AvrCalls(Calls):
    """The bounds of functions of AVR.

    `labels` are other names, which functions of the compiler's library may have. A call pushes `return_bytes`.
    """

    def __init__(
        self, code: Mapping[int, Instruction], names: Mapping[int, str], labels: Mapping[int, str], return_bytes: int
    ) -> None:
        read = _read(code, return_bytes)
        called = {_target(each) for each in read.values() if each.mnemonic in _CALLS}
        functions = {address: name for address, name in labels.items() if address in called} | dict(names)
        super().__init__(
            read, {address: name for address, name in functions.items() if not name.startswith(_TABLE_JUMP)}
        )
        self._return_bytes = return_bytes

    def bound(self, entry: int) -> Bound:
        """That of the function at an address, with the address that it returns to."""
        found = super().bound(entry)
        return found if found.bytes is None else replace(found, bytes=found.bytes + self._return_bytes)

    def _pushed_by(self, call: Instruction) -> int:
        return self._return_bytes if call.mnemonic in _CALLS else 0

    def _jumps_by_table(self, instruction: Instruction) -> bool:
        """A jump through a register. Compilers write none that ends a function with a call of an unknown one."""
        return instruction.mnemonic in ("ijmp", "eijmp")

    def _veneer(self, address: int, instruction: Instruction) -> int | None:
        return None

    def _called(self, entry: int, instruction: Instruction) -> int | None:
        mnemonic = instruction.mnemonic
        if mnemonic in _CALLS:
            return _target(instruction)
        if mnemonic in ("jmp", "rjmp") or _BRANCH.fullmatch(mnemonic):
            target = _target(instruction)
            return target if target in self._names and target != entry else None
        return None

    def _successors(self, address: int, instruction: Instruction) -> Iterator[int]:
        mnemonic = instruction.mnemonic
        if mnemonic in ("icall", "eicall"):
            raise ValueError(f"{mnemonic} goes where a register points to")
        if mnemonic in ("jmp", "rjmp"):
            yield _target(instruction)
            return
        if mnemonic in _RETURNS:
            return
        if _BRANCH.fullmatch(mnemonic):
            yield _target(instruction)
        elif not mnemonic or mnemonic.startswith("."):
            raise ValueError("execution runs into data")
        following = self._next.get(address, address + 2)
        yield following
        if mnemonic in _SKIPS:
            yield self._next.get(following, following + 2)

    def _moved(self, instruction: Instruction) -> int:
        mnemonic, operands = instruction.mnemonic, instruction.operands
        if mnemonic == _MOVED:
            return int(operands)
        if mnemonic in ("push", "pop"):
            return 1 if mnemonic == "push" else -1
        if mnemonic == "out" and operands.startswith(_POINTER_LOW):
            raise ValueError(f"{mnemonic} {operands} moves the stack pointer no one knows how far")
        return 0


def _read(code: Mapping[int, Instruction], return_bytes: int) -> dict[int, Instruction]:
    """The code with absolute addresses where branches have distances, and what moves the stack pointer in a word."""
    addresses = sorted(code)
    found = {}
    for index, address in enumerate(addresses):
        instruction = code[address]
        target = _RELATIVE.fullmatch(instruction.operands)
        if target and instruction.mnemonic == "rcall" and target.group(1) == "+0":  # not to call: to make room
            instruction = Instruction(_MOVED, str(return_bytes), "")
        elif target:
            instruction = replace(instruction, operands=f"{address + 2 + int(target.group(1)):#x}")
        elif instruction.mnemonic == "out" and instruction.operands.startswith(_POINTER_LOW):
            by = _frame([code[before] for before in addresses[max(0, index - 7) : index]], instruction)
            instruction = instruction if by is None else Instruction(_MOVED, str(by), "")
        found[address] = instruction
    return found


def _frame(before: Sequence[Instruction], write: Instruction) -> int | None:
    """How far down the stack pointer goes with the write of its lower half, from the instructions before it.

    GCC writes it from a pair of registers that has its value, or is the frame's pointer, which is the same while
    nothing is pushed; to or from that it adds the frame's bytes. What was pushed before counts as if it still were
    there. None for anything else.
    """
    low = int(write.operands.rpartition("r")[2])
    text = [f"{each.mnemonic} {each.operands}" for each in before]
    halves = ["in r0, 0x3f", "cli", f"out {_POINTER_HIGH}, r{low + 1}", "out 0x3f, r0"]
    if [each.strip() for each in text[-4:]] != halves or len(text) < 6:
        return None
    if match := re.fullmatch(rf"(adiw|sbiw) r{low}, 0x([0-9a-f]+)", text[-5], re.IGNORECASE):
        return int(match.group(2), 16) * (1 if match.group(1) == "sbiw" else -1)
    first = re.fullmatch(rf"subi r{low}, 0x([0-9a-f]+)", text[-6], re.IGNORECASE)
    second = re.fullmatch(rf"(?:sbci r{low + 1}, 0x([0-9a-f]+)|sbc r{low + 1}, r1)", text[-5], re.IGNORECASE)
    if first is None or second is None:
        return None
    by = int(first.group(1), 16) + 256 * int(second.group(1) or "0", 16)
    return by - 0x10000 if by >= 0x8000 else by


def _target(instruction: Instruction) -> int:
    """Where a jump or a call goes."""
    return int(instruction.operands, 16)
