"""Blocks of outputs of one channel, computed from pairs of rows: the instructions between loads and results.

Registers: r0-r2 weights of taps 0 (below) and 1 (above), one for each column; r3-r5 of taps 1 and 2; r6 pair p of a
column, r7 pair p + 1; r8-r11 accumulators; r12 walks through the pairs, lr through the outputs. See `row_pairs` for the
kinds of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinygen.ops.window import Axis

_ACCUMULATORS = ("r8", "r9", "r10", "r11")
_UPPER, _LOWER = ("r0", "r1", "r2"), ("r3", "r4", "r5")

_PRODUCTS = {
    "lower": (("smlad", "r6", _LOWER),),
    "upper": (("smlad", "r6", _UPPER),),
    "first": (("smlad", "r6", _UPPER), ("smlabt", "r7", _LOWER)),
    "second": (("smlatb", "r6", _UPPER), ("smlad", "r7", _LOWER)),
}
"""What a column of pairs is multiplied by: mnemonic, pair, and weights by column of the window."""

_FARTHEST_PAIRS, _FARTHEST_BYTE = 1020, 4095
"""The greatest offsets of LDRD and STRB."""


@dataclass(frozen=True)
class Product:
    """A multiply-accumulate."""

    mnemonic: str
    accumulator: str
    data: str
    weights: str
    addend: str


@dataclass(frozen=True)
class Column:
    """An input column under a block: where its pairs lie, and what is done with them."""

    offset: int
    moves: bool
    """Whether the pointer to the pairs moves there."""
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Result:
    """An accumulator that becomes an output: its row in the block, and its offset in that row."""

    register: str
    row: int
    offset: int


@dataclass(frozen=True)
class Outputs:
    """A block of neighbouring outputs; before it, the pointers move on by so many bytes."""

    move_x: int
    move_y: int
    columns: tuple[Column, ...]
    results: tuple[Result, ...]

    @property
    def encodable(self) -> bool:
        """Whether the offsets within a row fit into the instructions."""
        return (
            max(column.offset for column in self.columns) <= _FARTHEST_PAIRS
            and max(result.offset for result in self.results) <= _FARTHEST_BYTE
        )


@dataclass(frozen=True)
class Segment:
    """Blocks that are written out, and run so many times; each time, the pointer to the outputs then moves on."""

    enter_x: int
    """Bytes that the pointer to the pairs moves before the first time."""
    blocks: tuple[Outputs, ...]
    times: int
    leave_x: int
    """Bytes that it moves each time, besides where a block's first column does that."""
    move_y: int

    @property
    def length_y(self) -> int:
        """Bytes of the outputs' pointer from the first time to after the last."""
        return self.times * (self.move_y + sum(block.move_y for block in self.blocks))


@dataclass(frozen=True)
class Line:
    """One or two rows of outputs; at its end, the pointers move (back) to where the next such line begins."""

    two_pairs: bool
    segments: tuple[Segment, ...]
    move_x: int
    move_y: int
    farther: bool
    """Whether the second row is out of reach of the pointer to the first."""

    @property
    def encodable(self) -> bool:
        """Whether the offsets fit into the instructions."""
        return all(block.encodable for segment in self.segments for block in segment.blocks)


@dataclass(frozen=True)
class Plane:
    """The columns of a channel's pairs, and those of its outputs."""

    width: int
    channels: int
    out_width: int
    columns: Axis
    column_step: int
    """Bytes from a pair to the same pair of the next column."""

    def taps(self, column: int) -> list[int]:
        """Those of an output column that lie within the image."""
        first = column * self.columns.stride - self.columns.before
        return [tap for tap in range(self.columns.taps) if 0 <= first + tap < self.width]


def line(plane: Plane, kind: str, most: int, on: int) -> Line:
    """All outputs of one step, in loops of at most so many columns; then r12 is `on` bytes beyond where it was."""
    rows = ("first", "second") if kind == "both" else (kind,)
    two_pairs = any(data == "r7" for row in rows for _, data, _ in _PRODUCTS[row])
    across = len(_ACCUMULATORS) // len(rows)
    x = y = 0
    segments = []
    for start, times, count in _runs(plane, across, max(1, most // across)):
        parts = [range(first, min(first + across, start + count)) for first in range(start, start + count, across)]
        length = count * plane.columns.stride * plane.column_step
        if times > 1 and two_pairs and length <= _FARTHEST_PAIRS:
            segment = _walking(plane, rows, parts, times, x, y, length)
            x += segment.enter_x + times * length
        else:
            segment, moved = _written_out(plane, rows, parts, times, x, y)
            x += moved * times
        segments.append(segment)
        y += segment.length_y
    out_row = plane.out_width * plane.channels
    farthest = max(result.offset for segment in segments for block in segment.blocks for result in block.results)
    farther = len(rows) == 2 and out_row + farthest > _FARTHEST_BYTE
    return Line(two_pairs, tuple(segments), on - x, len(rows) * out_row - y, farther)


def _walking(
    plane: Plane, rows: tuple[str, ...], parts: list[range], times: int, x: int, y: int, length: int
) -> Segment:
    """A loop, whose first load moves the pointer to the pairs on; so it begins `length` bytes before them."""
    first = _block(plane, rows, parts[0], 0, 0).columns[0].offset
    blocks = [_block(plane, rows, part, first, y) for part in parts]
    moving = replace(blocks[0].columns[0], offset=length, moves=True)
    blocks[0] = replace(blocks[0], columns=(moving, *blocks[0].columns[1:]))
    return Segment(first - length - x, tuple(blocks), times, 0, _columns(parts) * plane.channels)


def _written_out(
    plane: Plane, rows: tuple[str, ...], parts: list[range], times: int, x: int, y: int
) -> tuple[Segment, int]:
    """Blocks whose offsets count from the beginning, or from where the pointers are moved on; and how far that is."""
    blocks = []
    moved_x = moved_y = 0
    for part in parts:
        block = _block(plane, rows, part, x + moved_x, y + moved_y)
        if not block.encodable:
            near = block.columns[0].offset, block.results[0].offset
            moved_x, moved_y = moved_x + near[0], moved_y + near[1]
            block = _block(plane, rows, part, x + moved_x, y + moved_y, near)
        blocks.append(block)
    if times == 1:
        return Segment(0, tuple(blocks), times, 0, 0), moved_x
    length = _columns(parts) * plane.columns.stride * plane.column_step
    move_y = _columns(parts) * plane.channels - moved_y
    return Segment(0, tuple(blocks), times, length - moved_x, move_y), length


def _columns(parts: list[range]) -> int:
    return sum(len(part) for part in parts)


def _runs(plane: Plane, across: int, body: int) -> list[tuple[int, int, int]]:
    """(first column, times, columns): what is written out, a loop over what has all taps, what is written out."""
    whole = [len(plane.taps(column)) == plane.columns.taps for column in range(plane.out_width)]
    count = across * body
    left = 0 if whole[0] else across
    right = next((index for index, is_whole in enumerate(reversed(whole)) if is_whole), 0)
    times = max(0, plane.out_width - left - right) // count
    if times < 2:
        return [(0, 1, plane.out_width)]
    runs = [(0, 1, left), (left, times, count), (left + times * count, 1, plane.out_width - left - times * count)]
    return [run for run in runs if run[2]]


def _block(
    plane: Plane, rows: tuple[str, ...], columns: range, x: int, y: int, moves: tuple[int, int] = (0, 0)
) -> Outputs:
    """Offsets are those from pointers that have moved on by x and y bytes since the line began."""
    registers = {
        (column, row): _ACCUMULATORS[index * len(rows) + place]
        for index, column in enumerate(columns)
        for place, row in enumerate(rows)
    }
    last = list(registers.values())[-1]
    started: set[str] = set()
    found: dict[int, list[Product]] = {}
    under = sorted(
        (column * plane.columns.stride - plane.columns.before + tap, column, tap)
        for column in columns
        for tap in plane.taps(column)
    )
    for input_column, column, tap in under:
        for row in rows:
            register = registers[column, row]
            for mnemonic, data, weights in _PRODUCTS[row]:
                addend = register if register in started else last
                found.setdefault(input_column, []).append(Product(mnemonic, register, data, weights[tap], addend))
                started.add(register)
    return Outputs(
        *moves,
        tuple(Column(index * plane.column_step - x, False, tuple(products)) for index, products in found.items()),
        tuple(
            Result(register, rows.index(row), column * plane.channels - y)
            for (column, row), register in registers.items()
        ),
    )
