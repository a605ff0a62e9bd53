"""How deep the stack goes: a bound that holds for every input, from the instructions of a linked Arm firmware.

Every path through a function is followed, with the bytes that lie between the stack pointer and its value at entry;
where a function calls another one, that one's bound is added. The code of the model, of the compiler's libraries and
of assembly is treated alike. What interrupts put on top is not in it.

There is no bound where an instruction moves the stack pointer by what only it knows, calls or jumps where a register
points to, or where functions call each other in a circle: generated code does none of this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tinygen.counting.disassembly import Instruction

_CONDITION = "(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
_BRANCH = re.compile(f"b{_CONDITION}|cbn?z|(?:le|wls|wlstp|letp)")
_CALL = re.compile(f"blx?{_CONDITION}")
_JUMP_TABLE = re.compile("tb[bh]")
_COMPUTED_JUMP = re.compile("(mov|add) pc, (r[0-9]|sl|fp|ip)")
"""How compilers, and kernels, jump to a computed address on Armv6-M: within the function, never to call another."""
_TABLE_CALL = "__gnu_thumb1_case_"
"""Functions of the compiler's library that do the same: the table follows the call, to which they do not return."""
_PUSH = re.compile(f"v?push{_CONDITION}|v?stmdb{_CONDITION}|v?stmfd{_CONDITION}")
_POP = re.compile(f"v?pop{_CONDITION}|v?ldm(?:ia|fd)?{_CONDITION}")
_ADD_OR_SUBTRACT = re.compile(f"(add|sub)[sw]?{_CONDITION}")
_OTHERS = re.compile(f"(?:bx|mov|ldr){_CONDITION}")
_READS_ITS_FIRST = re.compile("v?str|v?stm|v?ldm|vst[0-9]|cmp|cmn|tst|teq")
_MOVED_BEFORE = re.compile(r"\[sp, #(-?\d+)\]!")
_MOVED_AFTER = re.compile(r"\[sp\], #(-?\d+)")
_DATA = {".byte": 1, ".short": 2, ".word": 4}
_DEEPEST = 1 << 20
"""More than any microcontroller has: a loop that moves the stack pointer in each turn gets there."""


@dataclass(frozen=True)
class Bound:
    """What the stack below a function's caller cannot exceed."""

    bytes: int | None
    """None where there is no bound."""
    path: tuple[str, ...]
    """The functions that call each other at the deepest place, from the outermost; without a bound, to its reason."""
    reason: str = ""
    """Why there is no bound."""


class _Boundless(Exception):
    def __init__(self, reason: str, path: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def bound(code: Mapping[int, Instruction], names: Mapping[int, str], entry: int) -> Bound:
    """The bound of the function at an address. `code`: all instructions by address; `names`: functions by theirs."""
    return Calls(code, names).bound(entry)


class Calls:
    """The bounds of functions, each found once, in Arm's Thumb instructions.

    For others, a class derived from it says what instructions do.
    """

    def __init__(self, code: Mapping[int, Instruction], names: Mapping[int, str]) -> None:
        self._code = code
        self._names = names
        self._next = dict(pairwise(sorted(code)))
        self._known: dict[int, tuple[int, tuple[str, ...]]] = {}

    def bound(self, entry: int) -> Bound:
        """That of the function at an address."""
        try:
            size, path = self._deepest(entry, ())
        except _Boundless as found:
            return Bound(None, found.path, found.reason)
        return Bound(size, path)

    def _deepest(self, entry: int, callers: tuple[int, ...]) -> tuple[int, tuple[str, ...]]:
        """Bytes below the stack pointer at entry, and the functions that lead there. Raises _Boundless."""
        if entry in callers:
            raise self._boundless("it calls itself", (*callers, entry))
        if entry not in self._known:
            self._known[entry] = self._followed(entry, (*callers, entry))
        return self._known[entry]

    def _followed(self, entry: int, path: tuple[int, ...]) -> tuple[int, tuple[str, ...]]:
        name = self._name(entry)
        alone: tuple[str, ...] = (name,)
        deepest, below = 0, alone
        depths: dict[int, int] = {}
        waiting = [(entry, 0)]
        table: int | None = None
        while waiting or (table is not None and (waiting := self._unreached(entry, depths, table))):
            address, depth = waiting.pop()
            if depths.get(address, -1) >= depth:
                continue
            if depth > _DEEPEST:
                raise self._boundless("a loop moves the stack pointer further in each turn", path)
            depths[address] = depth
            if address not in self._code:
                raise self._boundless(f"it goes on at {address:#x}, where there is no instruction", path)
            instruction = self._code[address]
            if self._jumps_by_table(instruction):
                table = max(depth, table or 0)
                continue
            try:
                depth = max(0, depth + self._moved(instruction))
                veneer = self._veneer(address, instruction)
                called = self._called(entry, instruction) if veneer is None else veneer
                if called is not None and self._name(called).startswith(_TABLE_CALL):
                    table = max(depth, table or 0)
                    following: Iterable[int] = ()
                else:
                    following = self._successors(address, instruction) if veneer is None else ()
                waiting += [(target, depth) for target in following if target != called]
            except ValueError as error:
                raise self._boundless(f"{error}, at {address:#x}", path) from None
            size = depth
            callees = alone
            if called is not None:
                own, names = self._deepest(called, path)
                size, callees = depth + self._pushed_by(instruction) + own, (name, *names)
            if size > deepest:
                deepest, below = size, callees
        return deepest, below

    def _pushed_by(self, call: Instruction) -> int:
        """Bytes that the call itself, or the jump to another function, puts on the stack."""
        return 0

    def _jumps_by_table(self, instruction: Instruction) -> bool:
        """Whether execution goes on anywhere in the function, by a table of addresses."""
        return _COMPUTED_JUMP.fullmatch(f"{_bare(instruction)} {instruction.operands}") is not None

    def _moved(self, instruction: Instruction) -> int:
        """How far down the stack pointer goes. Raises ValueError where that cannot be told."""
        return _moved(instruction)

    def _unreached(self, entry: int, depths: Mapping[int, int], depth: int) -> list[tuple[int, int]]:
        """Where a jump by a table of addresses may lead that nothing else does: one place of the function at a time."""
        end = min((start for start in self._names if start > entry), default=0)
        for address in range(entry, end, 2):
            found = self._code.get(address)
            if found is not None and address not in depths and not self._is_data(address):
                return [(address, depth)]
        return []

    def _is_data(self, address: int) -> bool:
        """Whether there are literals, or what aligns the literals, or the function, behind it."""
        mnemonic = self._code[address].mnemonic
        next_one = self._next.get(address, address)
        following = self._code.get(next_one)
        aligns = following is not None and (following.mnemonic.startswith(".") or next_one in self._names)
        return mnemonic.startswith(".") or (mnemonic == "nop" and aligns)

    def _called(self, entry: int, instruction: Instruction) -> int | None:
        """The function that a call, or a jump out of the one at `entry`, goes to. Raises ValueError as _target."""
        mnemonic = _bare(instruction)
        if _CALL.fullmatch(mnemonic):
            return _target(instruction)
        if _BRANCH.fullmatch(mnemonic) and (target := _target(instruction)) in self._names and target != entry:
            return target
        return None

    def _veneer(self, address: int, instruction: Instruction) -> int | None:
        """The function that a linker's veneer goes to, for one that a branch does not reach: its address follows."""
        if (_bare(instruction), instruction.operands) != ("ldr", "pc, [pc]"):
            return None
        literal = self._code.get((address + 4) & ~3)
        return int(literal.operands, 16) & ~1 if literal and literal.mnemonic == ".word" else None

    def _successors(self, address: int, instruction: Instruction) -> Iterator[int]:
        """Where execution goes on in the same function. Raises ValueError where that cannot be told."""
        mnemonic = _bare(instruction)
        if mnemonic.startswith("."):
            raise ValueError("execution runs into data")
        if _BRANCH.fullmatch(mnemonic):
            yield _target(instruction)
        elif _JUMP_TABLE.fullmatch(mnemonic):
            yield from self._table(address, 1 if mnemonic == "tbb" else 2)
            return
        elif _leaves(mnemonic, instruction.operands):
            if not _is_conditional(instruction):
                return
        elif mnemonic == "udf":
            return
        if mnemonic != "b":
            yield self._next.get(address, address + 2)

    def _table(self, address: int, size: int) -> Iterator[int]:
        """The targets of a jump table, which lies behind the jump and is padded with zero."""
        start = self._next.get(address, address + 4)
        table = b""
        at = start
        while at in self._code and (width := _DATA.get(self._code[at].mnemonic)):
            table += int(self._code[at].operands.split(",")[0], 16).to_bytes(width, "little")
            at = self._next.get(at, at + width)
        for index in range(0, len(table) - size + 1, size):
            offset = int.from_bytes(table[index : index + size], "little")
            if offset:
                yield start + 2 * offset

    def _name(self, address: int) -> str:
        return self._names.get(address, f"{address:#x}")

    def _boundless(self, reason: str, path: tuple[int, ...]) -> _Boundless:
        return _Boundless(reason, tuple(map(self._name, path)))


def _bare(instruction: Instruction) -> str:
    """The mnemonic without what only tells its encoding, or its types: "b" of "b.n"."""
    mnemonic, dot, rest = instruction.mnemonic.partition(".")
    return mnemonic or dot + rest


def _is_conditional(instruction: Instruction) -> bool:
    """Whether the instruction is one of an IT block, by its suffix."""
    mnemonic = _bare(instruction)
    for pattern in (_PUSH, _POP, _ADD_OR_SUBTRACT, _OTHERS):
        match = pattern.fullmatch(mnemonic)
        if match:
            return any(group and group not in ("add", "sub") for group in match.groups())
    return False


def _target(instruction: Instruction) -> int:
    """Where a branch or a call goes. Raises ValueError for one through a register."""
    address = instruction.operands.split(",")[-1].strip()
    if not re.fullmatch("(0x)?[0-9a-f]+", address):
        raise ValueError(f"{instruction.mnemonic} {instruction.operands} goes where a register points to")
    return int(address, 16)


def _leaves(mnemonic: str, operands: str) -> bool:
    """Whether the instruction returns. Raises ValueError for other jumps through a register."""
    if (re.fullmatch(f"bx{_CONDITION}", mnemonic) and operands == "lr") or (mnemonic, operands) == ("mov", "pc, lr"):
        return True
    if _POP.fullmatch(mnemonic) and re.search(r"\bpc\b", operands):
        return True
    if re.fullmatch(f"ldr{_CONDITION}", mnemonic) and re.fullmatch(r"pc, \[sp\], #\d+", operands):
        return True
    if re.fullmatch(f"bx(ns)?{_CONDITION}", mnemonic) or re.match(r"pc\b", operands):
        raise ValueError(f"{mnemonic} {operands} goes where a register points to")
    return False


def _moved(instruction: Instruction) -> int:
    """How far down the stack pointer goes; a conditional instruction counts where it goes down, and not where up.

    Raises ValueError where that cannot be told.
    """
    mnemonic, operands = _bare(instruction), instruction.operands
    by = _by(mnemonic, operands)
    return max(0, by) if by and _is_conditional(instruction) else by


def _by(mnemonic: str, operands: str) -> int:
    short = re.fullmatch(f"v?(?:push|pop){_CONDITION}", mnemonic) is not None
    if short or operands.startswith("sp!"):
        size = _listed_bytes(operands)
        if _PUSH.fullmatch(mnemonic):
            return size
        if _POP.fullmatch(mnemonic):
            return -size
    elif match := _MOVED_BEFORE.search(operands) or _MOVED_AFTER.search(operands):
        return -int(match.group(1))
    elif re.match(r"sp\b", operands) and not _READS_ITS_FIRST.match(mnemonic):
        kind = _ADD_OR_SUBTRACT.fullmatch(mnemonic)
        literal = re.fullmatch(r"sp, (?:sp, )?#(\d+)", operands)
        if kind and literal:
            return int(literal.group(1)) * (1 if kind.group(1) == "sub" else -1)
    else:
        return 0
    raise ValueError(f"{mnemonic} {operands} moves the stack pointer no one knows how far")


def _listed_bytes(operands: str) -> int:
    """Bytes of the registers in braces: "{r4, r5, lr}", "{d8-d15}"."""
    inside = operands[operands.index("{") + 1 : operands.index("}")]
    total = 0
    for item in inside.split(","):
        first, _, last = item.strip().partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        total += count * (8 if first.startswith("d") else 4)
    return total
