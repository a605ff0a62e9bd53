"""Planes of single channels, cut into strips so narrow that a window lies within one load, and outputs in blocks.

A plane has strips one after the other, and each strip all rows, of the columns that the windows of a few outputs of a
row reach: columns at the border between strips are in both. A plane of a single strip has a border on one side of each
row only, that of the next row being the other.

Outputs are computed in blocks of eight. In strips whose number of outputs in a row divides eight, a block has several
rows. In a single strip the outputs are numbered row by row, and a block goes on where the one before ended; after a few
rows, blocks repeat. Where there is no whole block left, the last one begins within the one before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tinygen.ir import Shape
from tinygen.kernels.armv81m.values import LANES
from tinygen.kernels.armv81m.window_loads import Load, Scheme, Taps, schemes
from tinygen.ops.window import Window

OUTPUTS = 8
"""Of a block."""
_NEAR = 127
"""How far loads of bytes reach from a pointer."""
_FARTHEST_RESULT = 0xFFFF
_MOST_BLOCKS = 8
"""That are written out for one loop."""
_FEW = 2
"""Blocks of a strip that take no loop."""


@dataclass(frozen=True)
class Block:
    """Up to eight outputs of a channel: what is loaded, and how far the pointers move on in plane and output."""

    loads: tuple[Load, ...]
    x_step: int
    y_step: int


@dataclass(frozen=True)
class Turns:
    """Blocks that are written out, and how often all of them run; before that, pointers move once."""

    blocks: tuple[Block, ...]
    times: int
    x_before: int
    y_before: int


@dataclass(frozen=True)
class Part:
    """Neighbouring strips that are filled alike: how many, and of each the columns of the image in it."""

    strips: int
    first: int
    """The first column of the first strip."""
    columns: int
    place: int
    """Bytes from the plane's beginning to the first row of the image in the first strip."""


@dataclass(frozen=True)
class Strips:
    """All that follows from shapes; the output's distances are for one channel of so many bytes."""

    scheme: Scheme
    height: int
    """Rows of the image that are put into planes."""
    out_width: int
    row: int
    """Bytes of a row of a strip."""
    strip_bytes: int
    column_step: int
    """Columns of the image from a strip to the next one."""
    parts: tuple[Part, ...]
    bordered: bool
    turns: tuple[Turns, ...]
    """Of each strip."""
    results: tuple[int, ...]
    """Bytes from the first output of a block to each of the eight; where there are fewer, the last one counts again."""
    outputs: int
    """Of a block."""
    x_next: int
    """From where a strip's blocks leave the pointers to the next strip."""
    y_next: int
    y_short: int
    """How much nearer to the others the last strip begins."""
    reach: int
    """Bytes from a strip's beginning to where loads end: some are beyond the strip, with weights of zero."""

    @property
    def strips(self) -> int:
        """Of a plane."""
        return sum(part.strips for part in self.parts)

    @property
    def plane_bytes(self) -> int:
        """Of all strips."""
        return self.strips * self.strip_bytes

    def bytes(self, planes: int) -> int:
        """Of so many planes, and what the last load reaches beyond; in whole vectors."""
        needed = planes * self.plane_bytes + max(self.reach - self.strip_bytes, 0)
        return -(-needed // LANES) * LANES

    @property
    def instructions(self) -> int:
        """About, of a channel."""
        blocks = [(block, turn.times) for turn in self.turns for block in turn.blocks]
        computed = sum(times * _work(block, self.scheme) for block, times in blocks)
        filled = sum(part.strips * part.columns for part in self.parts) * self.height // 3
        return self.strips * (computed + 4) + filled

    @property
    def loops(self) -> bool:
        """Whether there are any within a strip."""
        return any(turn.times > 1 for turn in self.turns)

    @property
    def encodable(self) -> bool:
        """Whether distances fit into instructions."""
        loads = [load for turn in self.turns for block in turn.blocks for load in block.loads]
        return max(load.offset for load in loads) <= _NEAR and max(self.results) <= _FARTHEST_RESULT


def _work(block: Block, scheme: Scheme) -> int:
    products = sum(len(load.products) for load in block.loads)
    return len(block.loads) + products + 14 + (0 if scheme.stays else scheme.vectors)


@lru_cache(maxsize=256)
def strips_of(x: Shape, y: Shape, window: Window) -> tuple[Strips, ...]:
    """The possible ones for images (1, h, w, c) and as many channels of output, those of the least work first."""
    found = [strips for strips in _candidates(x, y, window) if strips.encodable]
    return tuple(sorted(found, key=lambda strips: (strips.instructions, strips.plane_bytes)))


def _candidates(x: Shape, y: Shape, window: Window) -> Iterator[Strips]:
    columns = window.columns
    for outputs in (1, 2, 4, 8):
        if outputs <= y[2]:
            row = (outputs - 1) * columns.stride + columns.extent
            for scheme in _schemes(window, row):
                yield _narrow(x, y, window, outputs, row, scheme)
    row = x[2] + max(columns.before, columns.after)
    if y[2] // math.gcd(OUTPUTS, y[2]) <= _MOST_BLOCKS:
        for scheme in _schemes(window, row):
            yield _whole(x, y, window, row, scheme)


def _schemes(window: Window, row: int) -> Iterator[Scheme]:
    rows, columns = window.rows, window.columns
    taps = Taps.of(rows.taps, rows.dilation * row, columns.taps, columns.dilation)
    if taps.ascend:
        yield from schemes(taps, (columns.stride, rows.stride * row))


def _narrow(x: Shape, y: Shape, window: Window, outputs: int, row: int, scheme: Scheme) -> Strips:
    """Strips with so many outputs in a row, a power of two."""
    rows = min(OUTPUTS // outputs, y[1])
    down = window.rows.stride * row
    firsts = [min(at, y[2] - outputs) for at in range(0, y[2], outputs)]
    places = [(place // outputs, place % outputs) for place in range(rows * outputs)]
    whole = y[1] // rows
    turns = [_Turn([0], whole, rows)] if whole > _FEW else [_Turn([block * rows for block in range(whole)], 1, 0)]
    if y[1] % rows:
        turns.append(_Turn([y[1] - rows], 1, 0))
    return _strips(
        x,
        y,
        window,
        scheme,
        row,
        firsts,
        outputs,
        turns,
        x_of=lambda first: first * down,
        y_of=lambda first: first * y[2] * y[3],
        begins=lambda first: [(first + r) * down + c * window.columns.stride for r, c in places],
        results=[(r * y[2] + c) * y[3] for r, c in places],
    )


def _whole(x: Shape, y: Shape, window: Window, row: int, scheme: Scheme) -> Strips:
    """A single strip."""
    count = y[1] * y[2]
    size = min(OUTPUTS, count)
    period = math.lcm(OUTPUTS, y[2])
    turns = []
    if count // period:
        turns.append(_Turn(list(range(0, period, OUTPUTS)), count // period, period))
    if count % period:
        begin = count - count % period
        turns.append(_Turn([min(at, count - size) for at in range(begin, count, OUTPUTS)], 1, 0))

    def begin_of(output: int) -> int:
        return output // y[2] * window.rows.stride * row + output % y[2] * window.columns.stride

    return _strips(
        x,
        y,
        window,
        scheme,
        row,
        [0],
        y[2],
        turns,
        x_of=begin_of,
        y_of=lambda first: first * y[3],
        begins=lambda first: [begin_of(first + place) for place in range(size)],
        results=[place * y[3] for place in range(size)],
    )


@dataclass(frozen=True)
class _Turn:
    """Numbers of the first outputs (or rows) of blocks, how often they come, and by how many more each time."""

    firsts: Sequence[int]
    times: int
    period: int


def _strips(
    x: Shape,
    y: Shape,
    window: Window,
    scheme: Scheme,
    row: int,
    firsts: Sequence[int],
    outputs: int,
    plan: Sequence[_Turn],
    x_of: Callable[[int], int],
    y_of: Callable[[int], int],
    begins: Callable[[int], Sequence[int]],
    results: Sequence[int],
) -> Strips:
    """`firsts`: the first column of outputs of each strip. The functions take the number of a block's first output."""
    turns = []
    x_at = y_at = reach = 0
    for turn in plan:
        start = turn.firsts[0]
        last = turn.firsts[-1] if turn.times == 1 else start + turn.period
        moved_on = (turn.times - 1) * (x_of(last) - x_of(start))
        reach = max(reach, moved_on + max(scheme.reach(begins(first)) for first in turn.firsts))
        # Where all loads of a turn are near, one pointer is enough.
        near = max(map(max, map(begins, turn.firsts))) - x_of(start) + max(scheme.taps.offsets) <= _NEAR
        bases = [start if near else first for first in turn.firsts] + [last]
        moved = [*turn.firsts, last]
        blocks = tuple(
            Block(
                scheme.loads([begin - x_of(bases[at]) for begin in begins(first)]),
                x_of(bases[at + 1]) - x_of(bases[at]),
                y_of(moved[at + 1]) - y_of(first),
            )
            for at, first in enumerate(turn.firsts)
        )
        turns.append(Turns(blocks, turn.times, x_of(start) - x_at, y_of(start) - y_at))
        x_at = x_of(start) + turn.times * (x_of(last) - x_of(start))
        y_at = y_of(start) + turn.times * (y_of(last) - y_of(start))
    rows = (y[1] - 1) * window.rows.stride + window.rows.extent
    strip_bytes = rows * row
    height = min(x[1], rows - window.rows.before)
    reached = (y[2] - 1) * window.columns.stride + window.columns.extent
    return Strips(
        scheme=scheme,
        height=height,
        out_width=y[2],
        row=row,
        strip_bytes=strip_bytes,
        column_step=outputs * window.columns.stride,
        parts=_parts(x[2], window, row, strip_bytes, firsts, outputs * window.columns.stride),
        bordered=window.rows.before + height < rows
        or window.rows.before > 0
        or window.columns.before > 0
        or reached > x[2],
        turns=tuple(turns),
        results=(*results, *[results[-1]] * (OUTPUTS - len(results))),
        outputs=len(results),
        x_next=strip_bytes - x_at,
        y_next=outputs * y[3] - y_at,
        y_short=(len(firsts) * outputs - y[2]) * y[3],
        reach=reach,
    )


def _parts(
    width: int, window: Window, row: int, strip_bytes: int, firsts: Sequence[int], step: int
) -> tuple[Part, ...]:
    """`step`: columns from a strip to the next one, but the last."""
    found: list[Part] = []
    for number, first in enumerate(firsts):
        begin = first * window.columns.stride - window.columns.before
        left, right = max(begin, 0), min(begin + row, width)
        place = number * strip_bytes + window.rows.before * row + left - begin
        if found:
            last = found[-1]
            alike = (last.columns, last.first + last.strips * step, last.place + last.strips * strip_bytes)
            if alike == (right - left, left, place):
                found[-1] = Part(last.strips + 1, last.first, last.columns, last.place)
                continue
        found.append(Part(1, left, right - left, place))
    return tuple(found)
