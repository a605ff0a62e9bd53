"""What is written into the blocks of the memory's picture."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from tinygen.memory_map import Block, MemoryMap, Moments
from tinygen.report.memory_scale import LETTER, Rectangle, Scale
from tinygen.report.memory_text import shape_words, short, xml_text

_LINE = 14
"""Pixels from one line of text to the next."""
_LONGEST_NAME = 20


class Label(NamedTuple):
    """Lines of text around a point; upright: turned to the left."""

    x: float
    y: float
    is_upright: bool
    lines: list[dict[str, object]]


def labels(drawn: MemoryMap, scale: Scale) -> list[Label]:
    """Name, shape and size of each block, as much of it as there is room for."""
    stems = _stems([block.name for block in drawn.blocks if block.role != "scratch"])
    found = [_label(_clear(drawn, scale, block), block, stems.get(block.name, "")) for block in drawn.blocks]
    return [label for label in found if label is not None]


def _label(area: Rectangle, block: Block, name: str) -> Label | None:
    size, shape = f"{block.bytes:,} B", shape_words(block.shape)
    texts: list[tuple[bool, tuple[str, ...]]] = [(False, (size,)), (True, (size,))]
    if block.role == "scratch":
        texts = [(False, ("scratch", size)), (True, (f"scratch {size}",)), *texts]
    elif shape:
        texts = [
            (False, (name, shape, size)),
            (False, (shape, size)),
            (True, (name, f"{shape} · {size}")),
            (True, (f"{shape} · {size}",)),
            (False, (shape,)),
            *texts,
        ]
    for is_upright, lines in texts:
        across, up = (area.height, area.width) if is_upright else (area.width, area.height)
        if max(map(len, lines)) * LETTER + 4 <= across and len(lines) * _LINE - 2 <= up:
            rows = [
                {"y": round((row - (len(lines) - 1) / 2) * _LINE + 4, 1), "text": xml_text(line)}
                for row, line in enumerate(lines)
            ]
            middle = round(area.x + area.width / 2, 2), round(area.y + area.height / 2, 2)
            return Label(*middle, is_upright, rows)
    return None


def _clear(drawn: MemoryMap, scale: Scale, block: Block) -> Rectangle:
    """Where nothing is drawn over a block: the longest time in which it shares no bytes, and is not at the peak."""
    taken = {area.moment for area in drawn.shared if block in (area.older, area.newer)}
    if drawn.peak is not None and block.role != "state":
        taken.add(2 * drawn.peak + 1)
    moments = range(block.alive.first, block.alive.last + 1)
    runs = [list(run) for is_taken, run in groupby(moments, taken.__contains__) if not is_taken]
    longest = max(runs, key=len, default=list(moments))
    return scale.area(dataclasses.replace(block, alive=Moments(longest[0], longest[-1])))


def _stems(names: Iterable[str]) -> dict[str, str]:
    """For each tensor's name its last part that no other name has in that place; the last one where there is none.

    Converters join the names of what they fused by semicolons: the first is enough.
    """
    parts = {name: list(filter(None, name.split(";")[0].split("/")))[::-1] or [name] for name in names}
    uses = Counter((depth, part) for of_name in parts.values() for depth, part in enumerate(of_name))
    return {
        name: short(next((part for depth, part in enumerate(of) if uses[depth, part] == 1), of[0]), _LONGEST_NAME)
        for name, of in parts.items()
    }
