"""What belongs to which layer: executed instructions by the record's spans, flash by functions and constants."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinygen.counting.disassembly import Instruction
from tinygen.counting.link_map import Piece
from tinygen.counting.record import Execution, Record, Span
from tinygen.elf import Image, Symbol

LOADS = frozenset(
    {
        "load",
        "load_pair",
        "load_multiple",
        "load_multiple_return",
        "float_load",
        "float_load_pair",
        "vector_load",
        "vector_gather",
    }
)
STORES = frozenset(
    {
        "store",
        "store_immediate",
        "store_pair",
        "store_multiple",
        "float_store",
        "float_store_pair",
        "vector_store",
        "vector_scatter",
    }
)
MULTIPLIES = frozenset(
    {"multiply", "multiply_accumulate", "multiply_long", "multiply_accumulate_long", "vector_multiply"}
)


@dataclass(frozen=True)
class Figures:
    """Executed instructions, those of some classes among them, and what they would take."""

    instructions: int
    loads: int
    stores: int
    multiplies: int
    taken_branches: int
    cycles: float  # modelled

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.instructions + other.instructions,
            self.loads + other.loads,
            self.stores + other.stores,
            self.multiplies + other.multiplies,
            self.taken_branches + other.taken_branches,
            self.cycles + other.cycles,
        )


def figures(span: Span, code: Mapping[int, Instruction], modelled: Mapping[int, float], per_taken: float) -> Figures:
    """The figures of what was executed in a span.

    `modelled`: the cycles of each instruction, by address, and `per_taken` what a taken branch adds.
    """
    kinds: Counter[str] = Counter()
    cycles = 0.0
    taken = 0
    for address, execution in span.executions.items():
        instruction = code[address]
        kinds[instruction.kind] += execution.count
        cycles += execution.count * modelled[address] + execution.taken * per_taken
        taken += execution.taken

    def among(wanted: frozenset[str]) -> int:
        return sum(count for kind, count in kinds.items() if kind in wanted)

    return Figures(span.instructions, among(LOADS), among(STORES), among(MULTIPLIES), taken, cycles)


@dataclass(frozen=True)
class Shared:
    """A function or constant that more than one layer uses, or that none can be told to own; sizes in bytes."""

    name: str
    bytes: int
    layers: tuple[int, ...]  # that executed it; none for a constant


@dataclass(frozen=True)
class Flash:
    """Where a library's flash goes, in bytes."""

    code: tuple[int, ...]  # of each layer's own functions
    constants: tuple[int, ...]  # of each layer's own constants
    shared: tuple[Shared, ...]  # of the library
    borrowed: tuple[Shared, ...]  # functions of the compiler's libraries that layers executed
    rest: int  # of the library: interface, padding, constants without a layer's name

    @property
    def bytes(self) -> int:
        """The whole library, without what it borrows."""
        return sum(self.code) + sum(self.constants) + sum(item.bytes for item in self.shared) + self.rest


def flash(image: Image, pieces: Sequence[Piece], record: Record, count: int, total: int) -> Flash:
    """Attribute `total` bytes of flash, those of a library with `count` layers.

    A function belongs to the layer in whose spans it was executed; one that was not executed, and a constant, to the
    layer whose number is in its name. Functions that layers share are listed apart.
    """
    functions = _Functions(image)
    users = {function: _users(function, record) for function in functions.executed(record)}
    code, constants = [0] * count, [0] * count
    shared, borrowed = [], []
    for symbol in dict.fromkeys([*functions.all, *(s for s in image.symbols if s.kind == "object")]):
        layers = users.get(symbol, ())
        named = _layer_of(symbol.name, count)
        ours = any(symbol.address in piece for piece in pieces)
        if not ours:
            borrowed += [Shared(symbol.name, symbol.bytes, layers)] if layers else []
        elif symbol.kind == "object":
            if not _in_flash(image, symbol):
                continue
            if named is not None:
                constants[named] += symbol.bytes
            else:
                shared.append(Shared(symbol.name, symbol.bytes, ()))
        elif len(layers) > 1:
            shared.append(Shared(symbol.name, symbol.bytes, layers))
        elif layers or named is not None:
            owner = layers[0] if layers else named
            assert owner is not None
            code[owner] += symbol.bytes
    told = sum(code) + sum(constants) + sum(item.bytes for item in shared)
    return Flash(tuple(code), tuple(constants), tuple(shared), tuple(borrowed), total - told)


def library_flash(image: Image, pieces: Iterable[Piece]) -> int:
    """Bytes of the pieces that occupy flash: code, constants, initial values."""
    return _bytes_in(pieces, [(s.address, s.address + s.bytes) for s in image.sections if s.in_flash])


def library_ram(image: Image, pieces: Iterable[Piece]) -> int:
    """Bytes of the pieces that occupy RAM."""
    return _bytes_in(pieces, [(s.address, s.address + s.bytes) for s in image.sections if s.in_ram])


def _bytes_in(pieces: Iterable[Piece], ranges: Sequence[tuple[int, int]]) -> int:
    return sum(piece.bytes for piece in pieces if any(low <= piece.address < high for low, high in ranges))


def _in_flash(image: Image, symbol: Symbol) -> bool:
    return any(
        section.in_flash and not section.in_ram and 0 <= symbol.address - section.address < section.bytes
        for section in image.sections
    )


class _Functions:
    """The functions of an image, by address; assembly that gives no size has one up to the next."""

    def __init__(self, image: Image) -> None:
        found = {symbol.address: symbol for symbol in image.symbols if symbol.kind == "function"}
        self._starts = sorted(found)
        ends = [*self._starts[1:], 2**32]
        self.all = [
            symbol if symbol.bytes else Symbol(symbol.name, start, end - start, symbol.kind)
            for start, end in zip(self._starts, ends, strict=True)
            for symbol in (found[start],)
        ]

    def at(self, address: int) -> Symbol:
        return self.all[bisect.bisect_right(self._starts, address) - 1]

    def executed(self, record: Record) -> set[Symbol]:
        return {self.at(address) for span in record.spans for address in span.executions}


def _users(function: Symbol, record: Record) -> tuple[int, ...]:
    def executed(span: Mapping[int, Execution]) -> bool:
        return any(function.address <= address < function.address + function.bytes for address in span)

    return tuple(span.index for span in record.spans if span.index >= 0 and executed(span.executions))


def _layer_of(name: str, count: int) -> int | None:
    """The layer whose number a symbol's name has: "layer_05_edge.constprop.0", "kws_layer_05_conv_2d"."""
    match = re.search(r"(?:^|_)layer_(\d+)_", name)
    index = int(match.group(1)) if match else -1
    return index if 0 <= index < count else None
