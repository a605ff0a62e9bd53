"""What an instruction reads and writes, as far as order matters: registers, flags, memory.

Only what kernels have much of is known. All else keeps its place, and nothing is moved past it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

FLAGS = "flags"
"""Stands among the registers for N, Z, C and V together. Q and GE are left out: nothing here reads them but SEL, which
is not known."""

_NAMES = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12", "r13": "sp", "r14": "lr", "r15": "pc"}
_REGISTER = re.compile(r"r\d+|s\d+|d\d+|sp|lr|pc|ip|fp|sl|sb")
_ORDER = {"sp": 13, "lr": 14, "pc": 15}
_SHIFTED = re.compile(r"\b(?:lsl|asr|lsr|ror)\b")

_MOVES = r"(?:mov|mvn)s?|movw"
_ARITHMETIC = r"(?:add|sub|rsb|adc|sbc|and|orr|eor|bic|orn|lsl|lsr|asr|ror)s?|addw|subw"
_COMPARES = r"cmp|cmn|tst|teq"
_EXTENDS = r"[su]xt(?:b16|b|h)|rev(?:16|sh)?|rbit|clz|[su]bfx"
_LANES = r"[su]xta(?:b16|b|h)|pkh(?:bt|tb)|[su](?:add|sub)(?:8|16)|[su]h(?:add|sub)(?:8|16)|u?q(?:add|sub)(?:8|16)?"
_SATURATES = r"[su]sat(?:16)?"
_INSERTS = r"bf[ic]|movt"
_MULTIPLIES = r"muls?|smul[bt][bt]|smulw[bt]|smu[as]dx?|smmulr?"
_ACCUMULATES = r"mla|mls|smla[bt][bt]|smlaw[bt]|sml[as]dx?|smml[as]r?"
_LONG_MULTIPLIES = r"[su]mull"
_LONG_ACCUMULATES = r"[su]mlal|smlal[bt][bt]|smlaldx?"

ALU, SHIFT, LANES, MULTIPLY = "alu", "shift", "lanes", "multiply"
FLOAT_MOVE, FLOAT_MOVES = "float_move", "float_moves"
LOAD, LOADS, STORE, STORES = "load", "loads", "store", "stores"


@dataclass(frozen=True)
class Effects:
    """Of one instruction; registers by name, FLAGS among them."""

    kind: str
    """What it needs for itself: one of the words above."""
    writes: frozenset[str]
    reads: frozenset[str]
    early: frozenset[str] = frozenset()
    """Those of the registers read that are wanted a cycle before others: addresses, and what is shifted."""
    late: frozenset[str] = frozenset()
    """Those that are wanted a cycle after others: sums that a product is added to, and what is stored."""
    latency: int = 1
    """Cycles until another instruction can use the result."""
    updated: str = ""
    """The address, where it is changed: that result is there a cycle earlier than what is loaded."""
    cycles: int = 1
    """That it takes by itself."""

    @property
    def is_load(self) -> bool:
        """Whether it reads memory."""
        return self.kind in (LOAD, LOADS)

    @property
    def is_store(self) -> bool:
        """Whether it writes memory."""
        return self.kind in (STORE, STORES)


@lru_cache(maxsize=1 << 14)
def effects(mnemonic: str, operands: str) -> Effects | None:
    """Of an instruction such as ("ldr", "r0, [r1], #4"); None where nothing is known about it."""
    name = mnemonic.removesuffix(".w").removesuffix(".n")
    parts = _split(operands)
    if re.fullmatch(r"(?:ldr|str)(?:d|b|h|sb|sh)?", name):
        return _access(name, operands, parts)
    if re.fullmatch(r"(?:ldm|stm)(?:ia)?", name):
        return _multiple(name, operands)
    if name == "vmov":
        return _float_move(parts)
    return _arithmetic(name, operands, parts)


def registers(text: str) -> tuple[str, ...]:
    """The registers in a text, in its order: "{r4-r6, lr}" has r4, r5, r6 and lr; those of the FPU are of 32 bits."""
    found: list[str] = []
    for first, last in re.findall(r"(\w+)(?:\s*-\s*(\w+))?", text):
        if not _REGISTER.fullmatch(first):
            continue
        low = _NAMES.get(first, first)
        if last and _REGISTER.fullmatch(last):
            kind = low[0]
            found += [f"{kind}{number}" for number in range(register_number(low), register_number(last) + 1)]
        else:
            found.append(low)
    singles = (
        (f"s{2 * int(name[1:])}", f"s{2 * int(name[1:]) + 1}") if name[0] == "d" else (_NAMES.get(name, name),)
        for name in found
    )
    return tuple(name for names in singles for name in names)


def register_number(name: str) -> int:
    """Of a core register by any of its names, or of one of the FPU."""
    known = _NAMES.get(name, name)
    return _ORDER.get(known) or int(known[1:])


def _split(operands: str) -> list[str]:
    """The operands, where commas in brackets do not part."""
    return [part.strip() for part in re.split(r",(?![^\[{]*[\]}])", operands) if part.strip()]


def _access(name: str, operands: str, parts: list[str]) -> Effects | None:
    address = re.search(r"\[(.*?)\](.*)", operands)
    if address is None:
        return None
    count = 2 if name.endswith("d") else 1
    values = frozenset(name for part in parts[:count] for name in registers(part))
    within, behind = registers(address[1]), address[2].strip()
    early = frozenset((*within, *registers(behind)))
    updated = within[0] if behind else ""
    if "pc" in values | early:
        return None
    if name.startswith("str"):
        kind = STORES if name == "strd" else STORE
        return Effects(kind, frozenset({updated} - {""}), values | early, early, late=values - early, updated=updated)
    kind = LOADS if name == "ldrd" else LOAD
    latency = 1 if name in ("ldr", "ldrd") else 2
    return Effects(kind, values | ({updated} - {""}), early, early, latency=latency, updated=updated)


def _multiple(name: str, operands: str) -> Effects | None:
    base, _, listed = operands.partition("{")
    values, address = frozenset(registers(listed)), registers(base)
    if len(address) != 1 or address[0] in values or "pc" in values:
        return None
    early, updated = frozenset(address), address[0] if "!" in base else ""
    written, cycles = frozenset({updated} - {""}), (len(values) + 1) // 2
    if name.startswith("stm"):
        return Effects(STORES, written, values | early, early, updated=updated, cycles=cycles)
    return Effects(LOADS, values | written, early, early, updated=updated, cycles=cycles)


def _float_move(parts: list[str]) -> Effects | None:
    named = [registers(part) for part in parts]
    if len(parts) not in (2, 3) or not all(named):
        return None  # an immediate
    to_core = parts[0][0] == "r" or named[0][0] in ("sp", "lr")
    count = 2 if len(parts) == 3 and to_core else 1
    written = frozenset(name for names in named[:count] for name in names)
    read = frozenset(name for names in named[count:] for name in names)
    return Effects(FLOAT_MOVES if len(parts) == 3 else FLOAT_MOVE, written, read, latency=2 if to_core else 4)


def _arithmetic(name: str, operands: str, parts: list[str]) -> Effects | None:
    form = next((form for pattern, form in _FORMS if re.fullmatch(pattern, name)), None)
    if form is None or not parts or "pc" in registers(operands):
        return None
    kind, results, latency = form
    named = [registers(part) for part in parts]
    written = frozenset(name for names in named[:results] for name in names)
    sources = named[results:]
    read = frozenset(name for names in sources for name in names)
    shift = _SHIFTED.search(parts[-1]) is not None
    accumulates = re.fullmatch(_ACCUMULATES, name) is not None
    keeps = re.fullmatch(f"{_INSERTS}|{_LONG_ACCUMULATES}", name) is not None
    two = len(parts) - shift == 2 and re.fullmatch(f"{_ARITHMETIC}|{_MULTIPLIES}|{_LANES}", name) is not None
    late = frozenset(named[-1]) if accumulates and len(parts) == 4 else frozenset()
    if re.fullmatch(_LONG_ACCUMULATES, name):
        late = written
    if keeps or two:
        read |= written
    early: frozenset[str] = frozenset()
    if kind == ALU and shift:
        kind, early = SHIFT, frozenset(named[-2 if parts[-1].split()[0] in ("lsl", "asr", "lsr", "ror") else -1])
        early |= frozenset(named[-1])
    elif re.fullmatch(rf"{_SATURATES}|[su]xta\w+|pkh\w+|[su]bfx|rev\w*|rbit", name):
        early = frozenset(sources[-2] if shift and len(sources) > 1 else sources[-1]) or read
    # Each of the flags is taken for all of them.
    if name.endswith("s") and re.fullmatch(f"{_MOVES}|{_ARITHMETIC}|{_MULTIPLIES}", name):
        written |= {FLAGS}
    if re.fullmatch(_COMPARES, name):
        written = frozenset({FLAGS})
    if re.fullmatch(r"(?:adc|sbc)s?", name):
        read |= {FLAGS}
    return Effects(kind, written, read | late | early, early, late - early, latency)


_FORMS: tuple[tuple[str, tuple[str, int, int]], ...] = (
    (f"{_MOVES}|{_ARITHMETIC}|movt", (ALU, 1, 1)),
    (_COMPARES, (ALU, 0, 1)),
    (f"{_EXTENDS}|{_LANES}|bf[ic]", (LANES, 1, 1)),
    (_SATURATES, (LANES, 1, 2)),
    (f"{_MULTIPLIES}|{_ACCUMULATES}", (MULTIPLY, 1, 2)),
    (f"{_LONG_MULTIPLIES}|{_LONG_ACCUMULATES}", (MULTIPLY, 2, 2)),
)
"""Mnemonics, and of each what it needs, how many of the operands are results, and their latency."""
