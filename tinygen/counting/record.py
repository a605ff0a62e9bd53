"""What the counting plugin is asked, and what it answers: firmware/counter/counter.c documents both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygen.access import Spacing
from tinygen.errors import ToolFailed
from tinygen.target import ARM

OUTSIDE_OF_PARTS = -1
ALL_SPANS = None


@dataclass(frozen=True)
class Allowance:
    """A range of addresses that may be touched in a span, by its index, or in all of them."""

    span: int | None
    low: int
    high: int  # behind the last
    access: str  # "r", "w" or "rw"


@dataclass(frozen=True)
class Pair:
    """An input and the output of a span, by the addresses of their bytes: ranges without a byte in common."""

    span: int
    input: range
    output: range


@dataclass(frozen=True)
class Watch:
    """Which function is watched, and which functions that it calls are told apart, by address."""

    root: int
    parts: tuple[int, ...]
    stack: tuple[int, int]
    architecture: str = ARM
    allowed: tuple[Allowance, ...] = ()
    pairs: tuple[Pair, ...] = ()
    """Whose reads and writes are followed: see `Record.spacings`."""
    feed: int | None = None
    """What is called before the root, and calls the first of the parts; all of its calls count."""
    begin: int | None = None
    """What makes those calls start over."""

    def arguments(self, plugin: Path, out: Path) -> str:
        """For the emulator's option -plugin."""
        words = [_escaped(plugin), f"out={_escaped(out)}", f"isa={self.architecture}", f"root={self.root:x}"]
        words += [f"{word}={at:x}" for word, at in (("feed", self.feed), ("begin", self.begin)) if at is not None]
        words += [f"part={part:x}" for part in sorted(set(self.parts))]
        words.append(f"stack={self.stack[0]:x}-{self.stack[1]:x}")
        words += [
            f"allow={'all' if allowed.span is None else allowed.span}:{allowed.low:x}-{allowed.high:x}:{allowed.access}"
            for allowed in self.allowed
        ]
        words += [f"pair={pair.span}:{_range(pair.input)}:{_range(pair.output)}" for pair in self.pairs]
        return ",".join(words)


@dataclass(frozen=True)
class Execution:
    """How often an instruction was executed, and how often another than the next one followed."""

    count: int
    taken: int


@dataclass(frozen=True)
class Span:
    """What was executed in one call of a part, callees included, or, with index -1, in the root between its parts.

    Of a part that is fed, in all of its calls.
    """

    index: int
    function: int
    executions: Mapping[int, Execution]  # by address

    @property
    def instructions(self) -> int:
        """All executed instructions."""
        return sum(execution.count for execution in self.executions.values())


@dataclass(frozen=True)
class Outside:
    """Accesses outside of what is allowed, and the first of them."""

    count: int
    span: int
    pc: int
    address: int
    access: str


@dataclass(frozen=True)
class Record:
    """One call of the root."""

    spans: tuple[Span, ...]  # in the order of the calls; the root's own is the first
    stack_bytes: int
    outside: Outside
    spacings: tuple[Spacing, ...] = ()
    """For each pair that was followed, the least at which no byte is written before it was read for the last time."""


def read(path: Path) -> Record:
    """The plugin's file. Raises ToolFailed when it is not there or not whole: the root did not return."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ToolFailed(f"the emulator counted nothing: {error}", "Did the firmware run?") from None
    if not lines or lines[-1] != "end":
        raise ToolFailed(f"the emulator's record {path} breaks off", "Did the firmware stop on a fault?")
    return _record(lines[:-1])


def _record(lines: Sequence[str]) -> Record:
    found: dict[int, tuple[int, dict[int, Execution]]] = {}
    current: dict[int, Execution] = {}
    stack = 0
    outside = Outside(0, 0, 0, 0, "r")
    spacings = []
    for line in lines:
        word, *rest = line.split(" ")
        if word == "span":
            current = found.setdefault(int(rest[0]), (int(rest[1], 16), {}))[1]
        elif word == "stack":
            stack = int(rest[0])
        elif word == "outside":
            count, span, pc, address, access = rest
            outside = Outside(int(count), int(span), int(pc, 16), int(address, 16), access)
        elif word == "pair":
            spacings.append(Spacing(int(rest[0]), int(rest[1]), in_place=rest[2] == "1"))
        else:
            before = current.get(int(word, 16), Execution(0, 0))
            current[int(word, 16)] = Execution(before.count + int(rest[0]), before.taken + int(rest[1]))
    spans = [Span(index, function, executions) for index, (function, executions) in sorted(found.items())]
    return Record(tuple(spans), stack, outside, tuple(spacings))


def _range(addresses: range) -> str:
    return f"{addresses.start:x}-{addresses.stop:x}"


def _escaped(path: Path) -> str:
    """A path within an option: a comma ends a value unless it is doubled."""
    return str(path).replace(",", ",,")
