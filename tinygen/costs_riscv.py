"""What RISC-V's instructions are: classes, as in tinygen.costs, of RV32IMC."""

from __future__ import annotations

import re
from functools import lru_cache

CLASSES = frozenset({"alu", "multiply", "divide", "load", "store", "branch", "taken"})
"""Those of tinygen.costs.CLASSES that a core's table has cycles for."""

_MNEMONICS: tuple[tuple[str, str], ...] = (
    (r"mul(h|hu|hsu)?", "multiply"),
    (r"(div|rem)u?", "divide"),
    (r"l[bhw]u?", "load"),
    (r"s[bhw]", "store"),
    (r"b(eq|ne|lt|ge|gt|le)u?z?|j|jr|jal|jalr|ret|call|tail", "branch"),
)


@lru_cache(maxsize=1 << 10)
def classify(mnemonic: str) -> str:
    """The class of an instruction such as "lbu", as disassemblers write it, compressed or not."""
    return next((found for pattern, found in _MNEMONICS if re.fullmatch(pattern, mnemonic)), "alu")
