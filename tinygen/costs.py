"""What instructions are, and what they cost: classes of Arm Thumb instructions, and cycles from a core's table.

A cycle figure from here is modelled: `tinygen.target.CostTable` says from which source and under which assumptions.
The rules look at one instruction and the one before it, as assembly text or a disassembler has them; what needs more
than that (wait states, caches, alignment, a stall on an address) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache


@dataclass(frozen=True)
class InstructionClass:
    """A class of instructions that cost the same; `feature` is what a core needs to have any, None: all do."""

    meaning: str
    feature: str | None = None


CLASSES: Mapping[str, InstructionClass] = {
    "alu": InstructionClass("data processing, moves, shifts, saturation, packing, and all that has no class"),
    "multiply": InstructionClass("MUL, and SMULBB, SMUAD, SMMUL with their like"),
    "multiply_accumulate": InstructionClass("MLA and MLS, and SMLABB, SMLAD, SMMLA with their like", "mla"),
    "multiply_long": InstructionClass("UMULL, SMULL", "umull"),
    "multiply_accumulate_long": InstructionClass("UMLAL, SMLAL, and SMLALD, UMAAL with their like", "umull"),
    "divide": InstructionClass("SDIV, UDIV", "divide"),
    "load": InstructionClass("LDR, LDRB, LDRSH, ..."),
    "load_next": InstructionClass("the same, right after another load whose result is not in the address"),
    "store": InstructionClass("STR, STRB, STRH to a register offset, or that change their base"),
    "store_immediate": InstructionClass("STR, STRB, STRH to [Rn, #immediate]"),
    "store_next": InstructionClass("any store right after a load whose result is not in the address"),
    "load_pair": InstructionClass("LDRD", "thumb2"),
    "store_pair": InstructionClass("STRD", "thumb2"),
    "load_multiple": InstructionClass("LDM, POP, VLDM, VPOP: the first cycle; each register adds `register`"),
    "load_multiple_return": InstructionClass("POP and LDM with PC among the registers, likewise"),
    "store_multiple": InstructionClass("STM, PUSH, VSTM, VPUSH, likewise"),
    "register": InstructionClass("each register that a load_multiple or store_multiple moves; of 64 bits: as two"),
    "branch": InstructionClass("B, BX, BLX, CBZ, CBNZ, taken or not"),
    "call": InstructionClass("BL"),
    "table_branch": InstructionClass("TBB, TBH", "thumb2"),
    "taken": InstructionClass("added to any instruction after which another than the next one is executed"),
    "loop": InstructionClass("DLS, WLS, LE with their like", "loops"),
    "float": InstructionClass("floating point: add, multiply, compare, convert", "fpu"),
    "float_multiply_accumulate": InstructionClass("VMLA, VFMA with their like", "fpu"),
    "float_divide": InstructionClass("VDIV, VSQRT", "fpu"),
    "float_move": InstructionClass("VMOV of one register, VMRS, VMSR", "fpu"),
    "float_move_pair": InstructionClass("VMOV between two core registers and the FPU", "fpu"),
    "float_load": InstructionClass("VLDR of 32 bits", "fpu"),
    "float_load_pair": InstructionClass("VLDR of 64 bits", "fpu"),
    "float_store": InstructionClass("VSTR of 32 bits", "fpu"),
    "float_store_pair": InstructionClass("VSTR of 64 bits", "fpu"),
    "vector_load": InstructionClass("VLDRB, VLDRH, VLDRW, VLD2, VLD4 of vectors", "mve"),
    "vector_store": InstructionClass("VSTRB, VSTRH, VSTRW, VST2, VST4 of vectors", "mve"),
    "vector_gather": InstructionClass("each lane of a VLDRB, VLDRH, VLDRW from the addresses in a vector", "mve"),
    "vector_scatter": InstructionClass("each lane of a VSTRB, VSTRH, VSTRW to the addresses in a vector", "mve"),
    "vector_multiply": InstructionClass("vector multiplications, accumulating or not", "mve"),
    "vector_compare": InstructionClass("VCMP, VPT, VADDV, VADDLV: in the multiplications' pipeline", "mve"),
    "vector": InstructionClass("other vector instructions", "mve"),
    "vector_control": InstructionClass("VPST, VCTP, VPNOT", "mve"),
    "vector_overlapped": InstructionClass("a vector instruction right after one in another of the pipelines", "mve"),
}
"""The classes that a core's table [cost.cycles] gives cycles for."""

_CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)"

# The first that matches the whole mnemonic, without width and condition suffix. A few are decided by operands.
_MNEMONICS: tuple[tuple[str, str], ...] = (
    (r"bl", "call"),
    (r"b|bx|blx|cbn?z|bxns|blxns", "branch"),
    (r"tb[bh]", "table_branch"),
    (r"(?:le|dls|wls)(?:tp)?|lctp", "loop"),
    (r"[su]div", "divide"),
    (r"[su]mulls?", "multiply_long"),
    (r"[su]mlals?|smlald?x?|smlal[bt][bt]|smlsldx?|umaal", "multiply_accumulate_long"),
    (r"mlas?|mls|smla[bt][bt]|smlaw[bt]|sml[as]dx?|smml[as]r?", "multiply_accumulate"),
    (r"muls?|smul[bt][bt]|smulw[bt]|smu[as]dx?|smmulr?", "multiply"),
    (r"ldrd", "load_pair"),
    (r"strd", "store_pair"),
    (r"ldm(?:ia|db|fd|ea)?|pop|v(?:ldm(?:ia|db)?|pop)", "load_multiple"),
    (r"stm(?:ia|db|fd|ea)?|push|v(?:stm(?:ia|db)?|push)", "store_multiple"),
    (r"(?:ldr|lda)\w*", "load"),
    (r"(?:str|stl)\w*", "store"),
    (r"vldr", "float_load"),
    (r"vstr", "float_store"),
    (r"v(?:f?n?m[al][as]|fn?m[as]|nml[as]|ml[as])", "float_multiply_accumulate"),
    (r"vdiv|vsqrt", "float_divide"),
    (r"vmov|vmrs|vmsr", "float_move"),
    (r"v\w+", "float"),
)
_VECTOR_MNEMONICS: tuple[tuple[str, str], ...] = (
    (r"vld\w*", "vector_load"),
    (r"vst\w*", "vector_store"),
    (r"v(?:r|q|qr)?(?:d|rd)?(?:mla|mls|mul|fma|fms|cmla|cmul)\w*", "vector_multiply"),
    (r"vcmp|vpt[te]*|vaddl?va?", "vector_compare"),
    (r"vpst[te]*|vctp|vpnot", "vector_control"),
    (r"v\w+", "vector"),
)
_PIPELINES: Mapping[str, str] = {
    "vector_load": "memory",
    "vector_store": "memory",
    "vector_gather": "memory",
    "vector_scatter": "memory",
    "vector_multiply": "multiplier",
    "vector_compare": "multiplier",
}
"""Of vector instructions; those of other classes have a pipeline for each."""
_BY_LANE = {"vector_load": "vector_gather", "vector_store": "vector_scatter"}
"""What vectors of addresses make of loads and stores."""
_VECTOR_BITS = 128
_LOADS = frozenset({"load", "load_next"})
_STORES = frozenset({"store", "store_immediate", "store_next"})
_REGISTERS = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12", "sp": "r13", "lr": "r14", "pc": "r15"}


@lru_cache(maxsize=1 << 14)
def classify(mnemonic: str, operands: str, previous: str = "") -> str:
    """The class, of CLASSES, of an instruction such as ("ldrb.w", "r0, [r1, #4]").

    `previous` is the instruction before it as text, "ldr r0, [r1]"; empty where nothing is known about it. Only
    loads, stores and vector instructions depend on it.
    """
    own = _class_alone(mnemonic, operands)
    before = _split(previous)
    if own in _LOADS | _STORES and _follows_load(operands, before):
        return "load_next" if own in _LOADS else "store_next"
    if own.startswith("vector") and own not in _BY_LANE.values() and before is not None:
        other = _class_alone(*before)
        apart = _PIPELINES.get(other, other) != _PIPELINES.get(own, own)
        return "vector_overlapped" if other.startswith("vector") and apart else own
    return own


def cycles(table: Mapping[str, float], mnemonic: str, operands: str, previous: str = "") -> float:
    """Modelled cycles of one execution, after which the next instruction follows; else `table["taken"]` comes on top.

    `table` has cycles for each class (`tinygen.target.CostTable.cycles`); one that is not in it costs as "alu" does.
    """
    found = classify(mnemonic, operands, previous)
    cost = table.get(found, table["alu"])
    if found in ("load_multiple", "load_multiple_return", "store_multiple"):
        cost += table["register"] * moved_registers(operands)
    if found in _BY_LANE.values():
        cost *= _lanes(mnemonic)
    return cost


def _lanes(mnemonic: str) -> int:
    """Of a vector load or store: "vstrb.16" has 8."""
    bits = re.search(r"\.[usif]?(\d+)$", mnemonic.lower())
    return _VECTOR_BITS // int(bits[1]) if bits else 4


def moved_registers(operands: str) -> int:
    """Words in a register list: "sp!, {r4-r7, lr}" has 5, "{d8-d9}" has 4."""
    listed = re.search(r"\{(.*?)\}", operands)
    count = 0
    for part in listed.group(1).split(",") if listed else ():
        first, _, last = part.strip().partition("-")
        span = _number(last) - _number(first) + 1 if last else 1
        count += span * (2 if first.startswith("d") else 1)
    return count


def _number(register: str) -> int:
    name = _REGISTERS.get(register.strip(), register.strip())
    return int(name[1:])


def _split(text: str) -> tuple[str, str] | None:
    """Mnemonic and operands of an instruction as text; None for a text without one."""
    words = re.split(r"[@;]|//", text, maxsplit=1)[0].split(None, 1)
    if not words or words[0].startswith(".") or words[0].endswith(":"):
        return None
    return words[0], words[1].strip() if len(words) > 1 else ""


def _class_alone(mnemonic: str, operands: str) -> str:
    """The class as far as the instruction itself decides."""
    name = mnemonic.lower()
    for width in (".w", ".n"):
        name = name.removesuffix(width)
    name = name.partition(".")[0]
    vector = name.startswith("v") and bool(re.search(r"\bq\d", operands) or re.match(r"vp(st|t|not|sel)|vctp", name))
    found = _first_match(name, vector)
    if found in _BY_LANE and re.search(r"\[[^\]]*q\d", operands):
        return _BY_LANE[found]
    if found == "load_multiple" and re.search(r"\bpc\b", operands):
        return "load_multiple_return"
    if found == "store" and re.search(r"\[\w+(?:,\s*#-?\w+)?\]$", operands.strip()):
        return "store_immediate"
    if found in ("float_load", "float_store") and operands.lstrip().startswith("d"):
        return f"{found}_pair"
    if found == "float_move" and operands.count(",") >= 2:
        return "float_move_pair"
    if found == "float_move" and "d" in operands and re.search(r"\br\d", operands):
        return "float_move_pair"
    return found


@cache
def _first_match(name: str, vector: bool) -> str:
    for pattern, found in _VECTOR_MNEMONICS if vector else _MNEMONICS:
        if re.fullmatch(f"(?:{pattern}){_CONDITION}?", name):
            return found
    return "alu"


def _follows_load(operands: str, before: tuple[str, str] | None) -> bool:
    """Whether the instruction before is a single load, whose result this one's address does not need."""
    if before is None or _class_alone(*before) != "load":
        return False
    result = before[1].partition(",")[0].strip()
    address = operands[operands.find("[") :] if "[" in operands else ""
    return not re.search(rf"\b{re.escape(result)}\b", address)
