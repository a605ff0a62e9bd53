"""What straight-line assembly does, in symbols: two texts that do the same leave equal registers, flags and stores.

It knows instructions by itself, and nothing of what moves them: registers hold expressions, an address is an expression
and an offset, a load depends on all stores before it, and each store comes after those before it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable

_THUMB = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14}
_RESULTS = {"smull": 2, "umull": 2}
_BOTH = {"smlal": 2, "umlal": 2, "smlalbb": 2, "smlalbt": 2, "smlaltb": 2, "smlaltt": 2, "smlald": 2, "smlaldx": 2}
"""Results that are read, too."""
_NO_RESULT = {"cmp", "cmn", "tst", "teq"}
_KEEPS = {"bfi", "bfc", "movt"}
_SETS = {"adds", "subs", "rsbs", "adcs", "sbcs", "ands", "orrs", "eors", "bics", "orns", "muls", "movs", "mvns"}
_SETS |= {"lsls", "lsrs", "asrs", "rors"}
_ONE_SOURCE = {"mov", "movs", "mvn", "mvns", "movw", "sxtb", "sxth", "uxtb", "uxth", "sxtb16", "uxtb16", "rev", "rev16"}
_ONE_SOURCE |= {"revsh", "clz", "rbit"}
_OTHERS = {"add", "sub", "rsb", "adc", "sbc", "and", "orr", "eor", "bic", "orn", "lsl", "lsr", "asr", "ror", "addw"}
_OTHERS |= {"subw", "mul", "mla", "mls", "ssat", "usat", "ssat16", "usat16", "pkhbt", "pkhtb", "ubfx", "sbfx"}
_WORDS = re.compile(r"(?:smul|smla|smlad|smlsd|smuad|smusd|smm|[su]xta|[su]h?(?:add|sub)(?:8|16)|u?q(?:add|sub))\w*")


def is_known(line: str) -> bool:
    """Whether a line is an instruction that the machine can take."""
    name = _name(line)
    if name == "vmov":
        return "#" not in line
    known = _ONE_SOURCE | _OTHERS | _SETS | _NO_RESULT | _KEEPS | _RESULTS.keys() | _BOTH.keys()
    access = re.fullmatch(r"(?:ldr|str)(?:d|b|h|sb|sh)?|(?:ldm|stm)(?:ia)?", name)
    return bool(name in known or access or _WORDS.fullmatch(name))


class Machine:
    """Registers that hold what they held before, at first, and the stores."""

    def __init__(self) -> None:
        self.registers: dict[str, Hashable] = {}
        self.flags: Hashable = "flags"
        self.stores: list[Hashable] = []

    def run(self, lines: Iterable[str]) -> tuple[dict[str, Hashable], Hashable, list[Hashable]]:
        for line in lines:
            self._step(_name(line), line.partition("@")[0].split(None, 1)[1].strip())
        return self.registers, self.flags, self.stores

    def _step(self, name: str, text: str) -> None:
        if name.startswith(("ldr", "str")):
            self._access(name, text)
        elif name.startswith(("ldm", "stm")):
            base, _, listed = text.partition("{")
            numbers = sorted(_number(word) for word in _listed(listed))
            pointer = _register(base.strip().rstrip("!,").rstrip().rstrip("!"))
            self._words(name[:3] == "ldm", [f"r{n}" for n in numbers], self.get(pointer), 0)
            if "!" in base:
                self.registers[pointer] = moved(self.get(pointer), 4 * len(numbers))
        else:
            self._compute(name, [word.strip() for word in text.split(",")])

    def _access(self, name: str, text: str) -> None:
        inside = re.search(r"\[(.*?)\](.*)", text)
        assert inside is not None
        values = [_register(word.strip()) for word in text[: text.index("[")].split(",") if word.strip()]
        pointer, *more = [word.strip() for word in inside[1].split(",")]
        base, behind = _register(pointer), inside[2].strip()
        old = self.get(base)
        address = self._moved(old, more)
        if behind == "!":
            self.registers[base] = address
        elif behind:
            self.registers[base] = self._moved(old, [word.strip() for word in behind.lstrip(",").split(",")])
        if name in ("ldr", "str", "ldrd", "strd"):
            values_before = {value: self.get(value) if value != base else old for value in values}
            self._words(name[0] == "l", values, address, 0, values_before)
        elif name[0] == "l":
            self.registers[values[0]] = (name, address, len(self.stores))
        else:
            self.stores.append((name, address, old if values[0] == base else self.get(values[0])))

    def _words(
        self,
        loads: bool,
        values: list[str],
        address: Hashable,
        offset: int,
        before: dict[str, Hashable] | None = None,
    ) -> None:
        for index, value in enumerate(values):
            place = moved(address, offset + 4 * index)
            if loads:
                self.registers[value] = ("word", place, len(self.stores))
            else:
                self.stores.append(("word", place, (before or {}).get(value) or self.get(value)))

    def _moved(self, base: Hashable, more: list[str]) -> Hashable:
        if not more:
            return moved(base, 0)
        if more[0].startswith("#"):
            return moved(base, int(more[0][1:], 0))
        return ("sum", moved(base, 0), tuple(self._value(word) for word in more))

    def _compute(self, name: str, words: list[str]) -> None:
        if name == "vmov" and len(words) == 3:
            results = 1 if words[0].startswith("d") else 2
        else:
            results = 0 if name in _NO_RESULT else _RESULTS.get(name) or _BOTH.get(name) or 1
        shift = words[-1].split()[0] in ("lsl", "asr", "lsr", "ror")
        keeps = name in _KEEPS or name in _BOTH or (len(words) - shift == 2 and name not in _ONE_SOURCE | {"vmov"})
        targets = [part for word in words[:results] for part in _halves(word)]
        read = [self.get(target) for target in targets] if keeps and results else []
        values = (*read, *(self._value(part) for word in words[results:] for part in _halves(word)))
        old = self.flags
        if name in ("adc", "adcs", "sbc", "sbcs"):
            values = (*values, old)
        # A flag that an instruction leaves as it is, is as good as another result of its.
        if name in _SETS | _NO_RESULT:
            self.flags = ("flags", name, values, old)
        for index, target in enumerate(targets):
            root = values[0] if len(values) == 2 and name in ("add", "sub", "adds", "subs") else None
            if root is not None and isinstance(values[1], int):
                self.registers[target] = moved(root, values[1] if name[:3] == "add" else -values[1])
            else:
                self.registers[target] = values[0] if name == "vmov" and len(values) == 1 else (name, index, values)

    def _value(self, word: str) -> Hashable:
        if word.startswith("#"):
            return int(word[1:], 0)
        kind, _, rest = word.partition(" ")
        if kind in ("lsl", "asr", "lsr", "ror"):
            return (kind, self._value(rest))
        return self.get(_register(word))

    def get(self, register: str) -> Hashable:
        return self.registers.get(register, register)


def moved(base: Hashable, offset: int) -> Hashable:
    """An address so many bytes behind another."""
    if isinstance(base, tuple) and base and base[0] == "at":
        return moved(base[1], base[2] + offset)
    return ("at", base, offset) if offset else base


def _name(line: str) -> str:
    words = line.partition("@")[0].split()
    return words[0].removesuffix(".w").removesuffix(".n") if words else ""


def _register(word: str) -> str:
    return f"r{_THUMB[word]}" if word in _THUMB else word


def _number(word: str) -> int:
    return int(_register(word)[1:])


def _listed(text: str) -> list[str]:
    found = []
    for part in text.strip(" {}").split(","):
        first, _, last = part.strip().partition("-")
        found += [f"r{n}" for n in range(_number(first), _number(last or first) + 1)]
    return found


def _halves(word: str) -> list[str]:
    """A register of 64 bits as the two that it is of."""
    if re.fullmatch(r"d\d+", word):
        return [f"s{2 * int(word[1:])}", f"s{2 * int(word[1:]) + 1}"]
    return [_register(word)]
