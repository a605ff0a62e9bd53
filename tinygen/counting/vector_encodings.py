"""Which vector instruction an encoding is that disassemblers take for a coprocessor's.

objdump of binutils 2.40 prints instructions of MVE as LDC, STC, CDP with their like, even for cores without
coprocessors. What is known from here is as much of the text as decides what the instruction costs (`tinygen.costs`).
Source: Armv8-M Architecture Reference Manual (DDI 0553), C2.4, the encodings of each instruction.
"""

from __future__ import annotations

import re

_COPROCESSOR = re.compile(r"(ldc|stc|cdp|mcr|mrc|mcrr|mrrc)2?l?")

_MOVES = (0xFFE0, 0xEC00)
"""(mask, value) of the first halfword: VMOV between two core registers and two lanes."""

_ADDRESSES = (0xEFE0, 0xEC80), (0x1E00, 0x0E00)
"""(mask, value) of both halfwords: loads and stores at a register and a vector of distances."""
_VECTOR_BASE = (0xFF40, 0xFD00), (0x1E00, 0x1E00)
"""The same at a vector of addresses."""

# (mask, value) of both halfwords; the first that matches.
_NAMES: tuple[tuple[tuple[int, int], tuple[int, int], str], ...] = (
    ((0xFFBF, 0xFE31), (0x1FFF, 0x0F4D), "vpst"),
    ((0xFFB1, 0xFE31), (0x1F00, 0x0F00), "vpsel"),
    ((0xFFB1, 0xFE31), (0x0F00, 0x0F00), "vpst"),
    ((0xFF81, 0xFE01), (0x0F00, 0x0F00), "vpt"),
    ((0xEFF3, 0xEEF1), (0x0F00, 0x0F00), "vaddv"),
    ((0xEFF0, 0xEEF0), (0x0E00, 0x0E00), "vmladav"),
    ((0xEF80, 0xEE80), (0x0F00, 0x0E00), "vmlaldav"),
    ((0xEFB1, 0xEE31), (0x0F50, 0x0E40), "vfma"),
    ((0xEFB1, 0xEE31), (0x0F00, 0x0E00), "vmovn"),
    ((0xEF80, 0xEE00), (0x0F00, 0x0E00), "vmul"),
    ((0, 0), (0, 0), "vadd"),
)


def vector_text(mnemonic: str, first: int, second: int) -> str | None:
    """What costs the same as the instruction, name and operands; None for what is no misread vector instruction.

    `mnemonic` is what the disassembler says, `first` and `second` are the halfwords of the encoding.
    """
    if first & 0xFFC0 == 0xF000 and second == 0xE801:
        return "vctp q0"
    match = _COPROCESSOR.fullmatch(mnemonic)
    coprocessor = second >> 8 & 0xF
    if match is None or coprocessor not in (14, 15):
        return None
    if match[1] in ("ldc", "stc", "mcrr", "mrrc"):
        if first & _MOVES[0] == _MOVES[1]:
            return "vmov q0"
        name = "vldr" if match[1] in ("ldc", "mrrc") else "vstr"
        if _is(first, second, _ADDRESSES):
            return f"{name}.{8 << (second >> 7 & 3)} q0, [r0, q0]"
        if _is(first, second, _VECTOR_BASE):
            return f"{name}.{32 if coprocessor == 14 else 64} q0, [q0]"
        return f"{name} q0"
    name = next(name for *form, name in _NAMES if _is(first, second, (form[0], form[1])))
    return f"{name} q0"


def _is(first: int, second: int, form: tuple[tuple[int, int], tuple[int, int]]) -> bool:
    (mask, value), (other_mask, other_value) = form
    return first & mask == value and second & other_mask == other_value
