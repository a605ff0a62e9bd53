"""A picture of the static memory: bytes up, the network's layers across, every tensor a block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import NamedTuple

from tinygen.emit import render
from tinygen.memory_map import ROLES, Block, MemoryMap, Shared
from tinygen.report.memory_labels import labels
from tinygen.report.memory_scale import (
    HEIGHT,
    LETTER,
    MARGIN,
    TOP,
    Scale,
    Title,
    scale_for,
    slanted,
    without_sharing,
)
from tinygen.report.memory_text import (
    block_text,
    inner_text,
    layer_text,
    peak_text,
    shape_words,
    short,
    totals_text,
    xml_text,
)

# Tints that are told apart whatever the kind of colour vision; two for activations, so that neighbours differ.
_FILLS = {
    "input": ("#8fd3be",),
    "activation": ("#a7cbf0", "#dbe9f8"),
    "output": ("#f5dc84",),
    "scratch": ("#f4a582",),
    "rows": ("#f1f6e3",),
    "state": ("#cfbce4",),
    "front end": ("#d9c9b4", "#ece3d6"),
}
_WORDS = {
    "input": "input",
    "activation": "activation",
    "output": "output",
    "scratch": "scratch of a layer",
    "rows": "rows between layers that are computed together",
    "state": "state, kept between invocations",
    "front end": "front end and detector",
}
_LINE_FILLS = ("#b9d77f", "#d6e8ae")
_QUIET, _ALARMING = "#4a5663", "#8a1c00"
_LONGEST_TITLE = 34
_LARGE_LETTER = 7.3
"""Pixels that a letter of the peak's text takes, about."""
_LINE_OF_TEXT = 14
_NARROWEST = 640


class _Key(NamedTuple):
    x: float
    fill: str
    text: str


class _Line(NamedTuple):
    name: str
    y: float
    stroke: str
    is_dashed: bool
    text: str
    text_y: float


def memory_picture(drawn: MemoryMap, name: str, board: str, room: int) -> str:
    """The text of an SVG file.

    `room`: bytes that the board has for static memory; they are drawn where they are near.
    """
    titles = _titles(drawn)
    is_near = 0 < room <= 1.5 * max(drawn.bytes, without_sharing(drawn))
    scale = scale_for(drawn, titles, room if is_near else None)
    fills = _fills(drawn.blocks)
    hatches = {_hatch(fills, shared): shared for shared in drawn.shared}
    keys = _legend(drawn, next(iter(hatches), None))
    totals = totals_text(drawn, board, room)
    widest = max(len(totals) * LETTER, len(peak_text(drawn)) * _LARGE_LETTER, keys[-1].x if keys else 0.0, _NARROWEST)
    width = round(max(scale.right, MARGIN + widest) + MARGIN)
    return render(
        "report/memory.svg.j2",
        width=width,
        height=round(TOP + HEIGHT + 34 + max((slanted(title.text) for title in titles), default=0.0)),
        margin=MARGIN,
        title=xml_text(f"{name}: {drawn.bytes:,} bytes of static RAM"),
        subtitle=xml_text(totals),
        description=xml_text(peak_text(drawn)),
        plot={
            "left": scale.left,
            "right": scale.right,
            "top": TOP,
            "height": HEIGHT,
            "middle": TOP + HEIGHT / 2,
            "bottom": TOP + HEIGHT,
        },
        legend=keys[:-1],
        ticks=[{"y": scale.y(tick), "text": f"{tick:,}"} for tick in scale.ticks],
        layers=[
            {
                "x": scale.x(2 * index + 1),
                "width": round(scale.x(2 * index + 2) - scale.x(2 * index + 1), 2),
                "full": xml_text(layer_text(layer, index)),
                "fill": "#fbe3da" if index == drawn.peak else "#f4f6f8",
            }
            for index, layer in enumerate(drawn.layers)
        ],
        titles=[
            {"x": scale.middle(title), "text": xml_text(title.text), "is_peak": title.layer == drawn.peak}
            for title in titles
        ],
        patterns=[
            {"id": hatch, "older": fills[shared.older], "newer": fills[shared.newer]}
            for hatch, shared in hatches.items()
        ],
        blocks=[
            {
                **scale.area(block)._asdict(),
                "role": block.role,
                "fill": fills[block],
                "full": xml_text(block_text(block)),
            }
            for block in drawn.blocks
        ],
        inner=[
            {
                **scale.inner(inner)._asdict(),
                "role": inner.block.role,
                "fill": _LINE_FILLS[index % 2] if inner.rows else _FILLS["scratch"][0],
                "full": xml_text(inner_text(inner)),
            }
            for index, inner in enumerate(drawn.inner)
        ],
        shared=[
            {
                **scale.rectangle(area.moment, area.moment, area.start, area.end)._asdict(),
                "fill": _hatch(fills, area),
                "full": xml_text(
                    f"{area.end - area.start:,} bytes of {area.older.name} and {area.newer.name}: "
                    f"layer {area.moment // 2} reads them before it overwrites them"
                ),
            }
            for area in drawn.shared
        ],
        labels=labels(drawn, scale),
        lines=_lines(drawn, scale, room if is_near else None),
        peak=_peak(drawn, scale, width),
    )


def _titles(drawn: MemoryMap) -> list[Title]:
    """What stands below the layers: their numbers, operators and shapes; of a group, those of its parts."""
    titles = []
    for index, layer in enumerate(drawn.layers):
        for part, text in enumerate(layer.parts or (f"{layer.operator} {layer.output}",)):
            number = f"{index}{ascii_lowercase[part]}" if layer.parts else f"{index}"
            operator, _, output = text.rpartition(" ")
            whole = f"{number} {operator} {shape_words(output)}".rstrip()
            titles.append(Title(short(whole, _LONGEST_TITLE), index, part))
    return titles


def _fills(blocks: Iterable[Block]) -> Mapping[Block, str]:
    """A colour for each block; those of one role take turns."""
    seen = dict.fromkeys(ROLES, 0)
    fills = {}
    for block in blocks:
        tints = _FILLS[block.role]
        fills[block] = tints[seen[block.role] % len(tints)]
        seen[block.role] += 1
    return fills


def _hatch(fills: Mapping[Block, str], shared: Shared) -> str:
    return f"shared-{fills[shared.older][1:]}-{fills[shared.newer][1:]}"


def _legend(drawn: MemoryMap, hatch: str | None) -> list[_Key]:
    """What colours mean, side by side; and at last where the next one would be."""
    shown = {block.role for block in drawn.blocks} | {inner.block.role for inner in drawn.inner}
    fills = {role: tints[0] for role, tints in _FILLS.items()} | {"rows": _LINE_FILLS[0]}
    keys = [(fills[role], _WORDS[role]) for role in ROLES if role in shown]
    if hatch is not None:
        keys.append((f"url(#{hatch})", "shared: read before it is overwritten"))
    found = []
    x = float(MARGIN)
    for fill, text in [*keys, ("", "")]:
        found.append(_Key(round(x, 1), fill, text))
        x += 19 + len(text) * LETTER + 22
    return found


def _lines(drawn: MemoryMap, scale: Scale, room: int | None) -> list[_Line]:
    """What the height is to be compared with, the highest first."""
    disjoint = without_sharing(drawn)
    wanted = []
    if disjoint > drawn.bytes:
        wanted.append((disjoint, "disjoint", _QUIET, True, f"without sharing bytes: {disjoint:,}"))
    if room is not None:
        wanted.append((room, "room", _ALARMING, False, f"room on the board: {room:,}"))
    found: list[_Line] = []
    for at, name, stroke, is_dashed, text in sorted(wanted, reverse=True):
        y = scale.y(at)
        is_crowded = bool(found) and y - found[-1].y < _LINE_OF_TEXT
        found.append(_Line(name, y, stroke, is_dashed, text, y + _LINE_OF_TEXT if is_crowded else y - 5))
    return found


def _peak(drawn: MemoryMap, scale: Scale, width: int) -> Mapping[str, object] | None:
    """A frame around the layer that sets the arena's size, and a text above it."""
    if drawn.peak is None:
        return None
    moment = 2 * drawn.peak + 1
    top = max((block.end for block in drawn.layers[drawn.peak].blocks), default=0)
    area = scale.rectangle(moment, moment, 0, top)
    middle = area.x + area.width / 2
    text_width = len(peak_text(drawn)) * _LARGE_LETTER
    return {
        **area._asdict(),
        "middle": round(middle, 2),
        "from": TOP - 14,
        "text_x": round(max(min(middle - text_width / 4, width - MARGIN - text_width), MARGIN), 2),
        "text": xml_text(peak_text(drawn)),
    }
