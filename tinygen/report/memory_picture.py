"""A picture of the static memory: bytes up, the network's layers across, every tensor a block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import NamedTuple
from xml.sax.saxutils import escape

from tinygen.emit import render
from tinygen.memory_map import ROLES, Block, MemoryMap, Shared
from tinygen.report.memory_text import holds_text

_MARGIN = 24
_PLOT_TOP = 128
_PLOT_HEIGHT = 420
_PLOT_WIDTH = 1120
_PITCH = (26.0, 110.0)
"""The least and the most pixels from one layer to the next."""
_LETTER = 6.6
"""Pixels that a letter of the small text takes, about."""
_LINE = 14
_LONGEST_LABEL = 34
_LONGEST_NAME = 20

# Tints that are told apart whatever the kind of colour vision; two for activations, so that neighbours differ.
_FILLS = {
    "input": ("#8fd3be",),
    "activation": ("#a7cbf0", "#dbe9f8"),
    "output": ("#f5dc84",),
    "scratch": ("#f4a582",),
    "state": ("#cfbce4",),
}
_WORDS = {
    "input": "input",
    "activation": "activation",
    "output": "output",
    "scratch": "scratch of a layer",
    "state": "state, kept between invocations",
}


class Rectangle(NamedTuple):
    """In pixels, from the picture's top left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Scale:
    """From moments and bytes to pixels."""

    layers: int
    top_bytes: int
    left: float
    pitch: float

    def x(self, moment: int) -> float:
        """Where a moment begins. A layer takes half of the width, the wait before it the other half."""
        return round(self.left + moment * self.pitch / 2, 2)

    def y(self, bytes: int) -> float:
        """Where so many bytes end, counted from the bottom."""
        return round(_PLOT_TOP + _PLOT_HEIGHT * (1 - bytes / self.top_bytes), 2)

    @property
    def right(self) -> float:
        """Where the last moment ends."""
        return self.x(2 * self.layers + 1)

    def rectangle(self, first: int, last: int, start: int, end: int) -> Rectangle:
        """Bytes from `start` to `end`, from the beginning of one moment to the end of another."""
        x, y = self.x(first), self.y(end)
        return Rectangle(x, y, round(self.x(last + 1) - x, 2), round(self.y(start) - y, 2))


def memory_picture(drawn: MemoryMap, name: str, board: str, room: int) -> str:
    """The text of an SVG file.

    `room`: bytes that the board has for static memory; they are drawn where they are near.
    """
    titles = [
        _short(f"{index} {layer.operator} {_shape(layer.output)}".rstrip()) for index, layer in enumerate(drawn.layers)
    ]
    scale = _scale(drawn, titles, room)
    fills = _fills(drawn.blocks)
    width = max(scale.right + _MARGIN, 2 * _MARGIN + len(_subtitle(drawn, board, room)) * 6.6, 900)
    legend = _legend(drawn)
    bottom = _PLOT_TOP + _PLOT_HEIGHT
    return render(
        "report/memory.svg.j2",
        width=round(width),
        height=round(bottom + 34 + 0.72 * _LETTER * max(map(len, titles), default=0)),
        margin=_MARGIN,
        title=_text(f"{name}: {drawn.bytes:,} bytes of static RAM"),
        subtitle=_text(_subtitle(drawn, board, room)),
        description=_text(_peak_text(drawn)),
        plot={
            "left": scale.left,
            "right": scale.right,
            "top": _PLOT_TOP,
            "height": _PLOT_HEIGHT,
            "middle": _PLOT_TOP + _PLOT_HEIGHT / 2,
            "bottom": bottom,
        },
        legend=legend,
        ticks=[{"y": scale.y(tick), "text": f"{tick:,}"} for tick in _ticks(scale.top_bytes)],
        layers=[
            {
                "x": scale.x(2 * index + 1),
                "width": round(scale.pitch / 2, 2),
                "middle": round(scale.x(2 * index + 1) + scale.pitch / 4, 2),
                "text": _text(titles[index]),
                "full": _text(f"layer {index}: {layer.operator} {layer.output}, {layer.kernel} ({layer.node})"),
                "fill": "#fbe3da" if index == drawn.peak else "#f4f6f8",
                "is_peak": index == drawn.peak,
            }
            for index, layer in enumerate(drawn.layers)
        ],
        patterns=sorted(
            {
                _hatch(fills, shared): {
                    "id": _hatch(fills, shared),
                    "older": fills[shared.older],
                    "newer": fills[shared.newer],
                }
                for shared in drawn.shared
            }.values(),
            key=lambda pattern: pattern["id"],
        ),
        blocks=[
            {
                **_area(scale, block)._asdict(),
                "role": block.role,
                "fill": fills[block],
                "full": _text(_full(block)),
            }
            for block in drawn.blocks
        ],
        shared=[
            {
                **scale.rectangle(area.moment, area.moment, area.start, area.end)._asdict(),
                "fill": _hatch(fills, area),
                "full": _text(
                    f"{area.end - area.start:,} bytes of {area.older.name} and {area.newer.name}: "
                    f"layer {area.moment // 2} reads them before it overwrites them"
                ),
            }
            for area in drawn.shared
        ],
        labels=_labels(drawn, scale),
        lines=_lines(drawn, scale, room),
        peak=_peak(drawn, scale),
    )


def _scale(drawn: MemoryMap, titles: Sequence[str], room: int) -> Scale:
    layers = len(drawn.layers)
    top = max(drawn.bytes, drawn.disjoint_bytes + drawn.state_bytes, 1)
    top = max(top, room) if _is_near(room, drawn) else top
    pitch = min(max(_PLOT_WIDTH / (layers + 0.5), _PITCH[0]), _PITCH[1])
    overhang = max((0.72 * _LETTER * len(title) - index * pitch for index, title in enumerate(titles)), default=0.0)
    left = max(_MARGIN + 62.0, _MARGIN + overhang - 0.75 * pitch)
    return Scale(layers, round(top * 1.04) + 1, round(left, 1), pitch)


def _is_near(room: int, drawn: MemoryMap) -> bool:
    return 0 < room <= 2 * max(drawn.bytes, drawn.disjoint_bytes + drawn.state_bytes)


def _ticks(top: int) -> list[int]:
    """Round numbers of bytes, about eight."""
    round_numbers = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(number for number in round_numbers if number >= top / 9)
    return list(range(0, top + 1, step))


def _fills(blocks: Iterable[Block]) -> dict[Block, str]:
    """A colour for each block; those of one role take turns."""
    seen = dict.fromkeys(ROLES, 0)
    fills = {}
    for block in blocks:
        tints = _FILLS[block.role]
        fills[block] = tints[seen[block.role] % len(tints)]
        seen[block.role] += 1
    return fills


def _hatch(fills: dict[Block, str], shared: Shared) -> str:
    return f"shared-{fills[shared.older][1:]}-{fills[shared.newer][1:]}"


def _legend(drawn: MemoryMap) -> list[dict[str, object]]:
    keys = [(_FILLS[role][0], _WORDS[role]) for role in ROLES if any(block.role == role for block in drawn.blocks)]
    if drawn.shared:
        fills = _fills(drawn.blocks)
        keys.append((f"url(#{_hatch(fills, drawn.shared[0])})", "shared: read before it is overwritten"))
    found: list[dict[str, object]] = []
    x = float(_MARGIN)
    for fill, text in keys:
        found.append({"x": x, "y": 64, "fill": fill, "text": text})
        x += 19 + len(text) * _LETTER + 22
    return found


def _lines(drawn: MemoryMap, scale: Scale, room: int) -> list[dict[str, object]]:
    """What the height is to be compared with."""
    disjoint = drawn.disjoint_bytes + drawn.state_bytes
    found = []
    if disjoint > drawn.bytes:
        found.append(("disjoint", disjoint, "#4a5663", True, f"without sharing bytes: {disjoint:,}"))
    if _is_near(room, drawn):
        found.append(("room", room, "#8a1c00", False, f"room on the board: {room:,}"))
    return [
        {"id": id, "y": scale.y(at), "stroke": stroke, "is_dashed": dashed, "text": text}
        for id, at, stroke, dashed, text in found
    ]


def _peak(drawn: MemoryMap, scale: Scale) -> dict[str, object] | None:
    if drawn.peak is None:
        return None
    moment = 2 * drawn.peak + 1
    top = max((block.end for block in drawn.layers[drawn.peak].blocks), default=0)
    area = scale.rectangle(moment, moment, 0, top)
    middle = round(area.x + area.width / 2, 2)
    half = len(_peak_text(drawn)) * 7.2 / 2
    anchor = "start" if middle - half < _MARGIN else "end" if middle + half > scale.right else "middle"
    return {
        "x": area.x,
        "width": area.width,
        "height": area.height,
        "middle": middle,
        "from": _PLOT_TOP - 14,
        "to": area.y,
        "anchor": anchor,
        "text_x": {"start": max(_MARGIN, area.x), "end": area.x + area.width, "middle": middle}[anchor],
        "text": _text(_peak_text(drawn)),
    }


def _peak_text(drawn: MemoryMap) -> str:
    if drawn.peak is None:
        return "no layers"
    layer = drawn.layers[drawn.peak]
    what = f"peak: layer {drawn.peak}, {layer.operator} {_shape(layer.output)}"
    of = f" of {drawn.arena_bytes:,}" if layer.used < drawn.arena_bytes else ""
    return f"{what}: {holds_text(drawn, drawn.peak)} = {layer.used:,}{of} bytes"


def _subtitle(drawn: MemoryMap, board: str, room: int) -> str:
    parts = [f"arena {drawn.arena_bytes:,}"]
    if drawn.arena_bytes - drawn.lower_bound < 4:
        parts[0] += " (the least possible with these kernels)"
    else:
        parts[0] += f" (no plan with these kernels is below {drawn.lower_bound:,})"
    if drawn.state_bytes:
        parts.append(f"state {drawn.state_bytes:,}")
    if drawn.disjoint_bytes > drawn.arena_bytes:
        parts.append(f"without sharing bytes {drawn.disjoint_bytes:,}")
    parts.append(f"{board} has room for {room:,}")
    return " · ".join(parts)


class _Label(NamedTuple):
    x: float
    y: float
    is_upright: bool
    lines: list[dict[str, object]]


def _labels(drawn: MemoryMap, scale: Scale) -> list[_Label]:
    """Name, shape and size of each block, as much of it as there is room for."""
    stems = _stems([block.name for block in drawn.blocks if block.role != "scratch"])
    found = [_label(_clear(drawn, scale, block), block, stems.get(block.name, "")) for block in drawn.blocks]
    return [label for label in found if label is not None]


def _label(area: Rectangle, block: Block, name: str) -> _Label | None:
    size, shape = f"{block.bytes:,}", _shape(block.shape)
    texts: list[tuple[bool, tuple[str, ...]]] = [(False, (size,)), (True, (size,))]
    if block.role == "scratch":
        texts = [(False, ("scratch", size)), (True, (f"scratch {size}",)), *texts]
    elif shape:
        texts = [
            (False, (name, shape, f"{size} bytes")),
            (False, (shape, size)),
            (True, (name, f"{shape} · {size}")),
            (True, (f"{shape} · {size}",)),
            (False, (shape,)),
            *texts,
        ]
    for is_upright, lines in texts:
        across, up = (area.height, area.width) if is_upright else (area.width, area.height)
        if max(map(len, lines)) * _LETTER + 4 <= across and len(lines) * _LINE - 2 <= up:
            rows = [
                {"y": round((row - (len(lines) - 1) / 2) * _LINE + 4, 1), "text": _text(line)}
                for row, line in enumerate(lines)
            ]
            middle = round(area.x + area.width / 2, 2), round(area.y + area.height / 2, 2)
            return _Label(*middle, is_upright, rows)
    return None


def _clear(drawn: MemoryMap, scale: Scale, block: Block) -> Rectangle:
    """Where nothing is drawn over a block: the longest time in which it shares no bytes, and is not at the peak."""
    taken = {area.moment for area in drawn.shared if block in (area.older, area.newer)}
    if drawn.peak is not None:
        taken.add(2 * drawn.peak + 1)
    moments = range(block.alive.first, block.alive.last + 1)
    runs = [list(run) for is_taken, run in groupby(moments, taken.__contains__) if not is_taken]
    longest = max(runs, key=len, default=list(moments))
    return scale.rectangle(longest[0], longest[-1], block.offset, block.end)


def _area(scale: Scale, block: Block) -> Rectangle:
    return scale.rectangle(block.alive.first, block.alive.last, block.offset, block.end)


def _full(block: Block) -> str:
    kind = f"{block.dtype} {block.shape}, " if block.shape else ""
    return f"{block.role} {block.name}: {kind}{block.bytes:,} bytes at {block.offset:,}"


def _stems(names: Iterable[str]) -> dict[str, str]:
    """For each tensor's name its last part that no other name has in that place; the last one where there is none.

    Converters join the names of what they fused by semicolons: the first is enough.
    """
    parts = {name: list(filter(None, name.split(";")[0].split("/")))[::-1] or [name] for name in names}
    uses = Counter((depth, part) for of_name in parts.values() for depth, part in enumerate(of_name))
    return {
        name: _short(next((part for depth, part in enumerate(of) if uses[depth, part] == 1), of[0]), _LONGEST_NAME)
        for name, of in parts.items()
    }


def _shape(shape: str) -> str:
    return "" if shape == "scalar" else shape.replace("x", "×")


def _short(text: str, longest: int = _LONGEST_LABEL) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _text(text: str) -> str:
    """Text from a model, harmless in XML."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))
