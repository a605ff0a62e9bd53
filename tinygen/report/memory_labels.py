"""What is written into the blocks of the memory's picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from tinygen.memory_map import KEPT, Block, MemoryMap
from tinygen.report.memory_scale import LETTER, Rectangle, Scale
from tinygen.report.memory_text import shape_words, xml_text
from tinygen.report.names import readable

_LINE = 14
"""Pixels from one line of text to the next."""


class Label(NamedTuple):
    """Lines of text around a point; upright: turned to the left."""

    x: float
    y: float
    is_upright: bool
    lines: list[dict[str, object]]


def labels(drawn: MemoryMap, scale: Scale) -> list[Label]:
    """Name, shape and size of each block, as much of it as there is room for; of line buffers the rows."""
    names = readable(dict.fromkeys(block.name for block in drawn.blocks if block.role not in ("scratch", "rows")))
    stems = _stems(names.values())
    found = [
        _label(list(_clear(drawn, scale, block)), _texts(block, stems.get(names.get(block.name, ""), "")))
        for block in drawn.blocks
        if block.role != "rows"
    ]
    found += [_label([scale.inner(inner)], _inner_texts(inner.block, inner.rows)) for inner in drawn.inner]
    return [label for label in found if label is not None]


_Texts = list[tuple[bool, tuple[str, ...]]]
"""Whether the lines of a text are upright, and the lines; what says most comes first."""


def _texts(block: Block, name: str) -> _Texts:
    size, shape = f"{block.bytes:,} B", shape_words(block.shape)
    texts: _Texts = [(False, (size,)), (True, (size,))]
    if block.role == "scratch":
        return [(False, ("scratch", size)), (True, (f"scratch {size}",)), *texts]
    if "×" not in shape:
        return [(False, (name, size)), (True, (f"{name} · {size}",)), *texts]
    return [
        (False, (name, shape, size)),
        (False, (shape, size)),
        (True, (name, f"{shape} · {size}")),
        (True, (f"{shape} · {size}",)),
        *texts,
    ]


def _inner_texts(block: Block, rows: int) -> _Texts:
    size, shape = f"{block.bytes:,} B", shape_words(block.shape)
    if not rows:
        return _texts(block, "")
    count = "1 row" if rows == 1 else f"{rows} rows"
    return [
        (False, (f"{count} of {shape} · {size}",)),
        (False, (f"{count} of {shape}", size)),
        (True, (f"{count} of {shape}", size)),
        (False, (count, size)),
        (True, (f"{count} · {size}",)),
        (False, (count,)),
        (True, (count,)),
    ]


def _label(areas: Sequence[Rectangle], texts: _Texts) -> Label | None:
    """The text that says most, in the first of the areas that it fits in."""
    for is_upright, lines in texts:
        for area in areas:
            across, up = (area.height, area.width) if is_upright else (area.width, area.height)
            if max(map(len, lines)) * LETTER + 4 <= across and _height(lines) <= up:
                rows = [
                    {"y": round((row - (len(lines) - 1) / 2) * _LINE + 4, 1), "text": xml_text(line)}
                    for row, line in enumerate(lines)
                ]
                middle = round(area.x + area.width / 2, 2), round(area.y + area.height / 2, 2)
                return Label(*middle, is_upright, rows)
    return None


def _height(lines: Sequence[str]) -> int:
    """Pixels that a text needs, with a border where it has more than a line."""
    return _LINE * len(lines) + 2 if len(lines) > 1 else _LINE - 3


def _clear(drawn: MemoryMap, scale: Scale, block: Block) -> Iterator[Rectangle]:
    """Where nothing else is drawn upon a block: in the times when it shares no bytes, and is not at the peak.

    The longest of them comes first. Bytes of parts of the block are left to their own names; where it shares some all
    the time, those are left to the hatching.
    """
    hatched = [area for area in drawn.shared if block in (area.older, area.newer)]
    taken = {area.moment for area in hatched}
    if drawn.peak is not None and block.role not in KEPT:
        taken.add(2 * drawn.peak + 1)
    moments = range(block.alive.first, block.alive.last + 1)
    runs = [list(run) for is_taken, run in groupby(moments, taken.__contains__) if not is_taken] or [list(moments)]
    for run in sorted(runs, key=len, reverse=True):
        others = [
            *((area.start, area.end) for area in hatched if area.moment in run),
            *((other.offset, other.end) for other in drawn.blocks if _lies_upon(other, block, run[0], run[-1])),
        ]
        start, end = max(_gaps(block, others), key=lambda gap: gap[1] - gap[0])
        whole = scale.area(block)
        x, right = scale.x(run[0]), scale.x(run[-1] + 1)
        per_byte = whole.height / max(block.bytes, 1)
        yield Rectangle(x, whole.y + (block.end - end) * per_byte, right - x, (end - start) * per_byte)


def _lies_upon(other: Block, block: Block, first: int, last: int) -> bool:
    """Whether another block is drawn upon this one, or in the same place, and is not larger."""
    if (other.role in KEPT) != (block.role in KEPT) or other is block:
        return False
    is_smaller = (other.bytes, other.alive, other.name) < (block.bytes, block.alive, block.name)
    meets = other.alive.first <= last and first <= other.alive.last
    return is_smaller and meets and other.offset < block.end and block.offset < other.end


def _gaps(block: Block, others: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Runs of the block's bytes that are in none of the others, first byte and the one after the last."""
    at = block.offset
    for start, end in sorted(others):
        yield at, max(at, start)
        at = max(at, end)
    yield at, max(at, block.end)


def _stems(names: Iterable[str]) -> dict[str, str]:
    """For each tensor's name its last part that no other name has in that place; the last one where there is none.

    Converters join the names of what they fused by semicolons: the first is enough.
    """
    parts = {name: list(filter(None, name.split(";")[0].split("/")))[::-1] or [name] for name in names}
    uses = Counter((depth, part) for of_name in parts.values() for depth, part in enumerate(of_name))
    return {
        name: next((part for depth, part in enumerate(of) if uses[depth, part] == 1), of[0])
        for name, of in parts.items()
    }
