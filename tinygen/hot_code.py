"""Which layers are hot: their code is to lie where it is fetched fastest, because they execute most for its bytes."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import UsageError
from tinygen.layers import coded_steps
from tinygen.plan import Plan
from tinygen.select import Candidate

_CALL = 36
"""About the bytes of a layer's function that calls one in assembly."""


@dataclass(frozen=True)
class HotCode:
    """Layers, by their ids, the bytes of code that are expected of them, and the instructions that they execute."""

    layers: frozenset[str] = frozenset()
    bytes: int = 0
    instructions: int = 0


def layers_named(text: str) -> tuple[str, ...]:
    """The layers that a text names; none, where it is a number of bytes. Raises UsageError for what is neither."""
    names = tuple(text.split(","))
    if all(re.fullmatch(r"layer_\d+", name) for name in names):
        return names
    if not re.fullmatch(r"[1-9]\d*", text):
        raise UsageError(
            f"--hot {text}: neither bytes nor layers",
            "Give a number of bytes, 8000, or layers by their names in the C, layer_02,layer_05.",
        )
    return ()


def hot_code(chosen: Plan, wanted: str, room: int) -> HotCode:
    """The layers that execute most for their bytes of code, as many as find room; or those that are wanted by name.

    `wanted`: words as `layers_named` takes them, or none. Raises UsageError for layers that there are not.
    """
    candidates = {layer_id: chosen.steps[index].chosen for layer_id, index in coded_steps(chosen.steps, chosen.layout)}
    code = {layer_id: _pieces(candidate) for layer_id, candidate in candidates.items()}
    names = layers_named(wanted) if wanted else ()
    for name in names:
        if name not in candidates:
            raise UsageError(f"--hot {name}: there is no such layer", f"There are {', '.join(candidates) or 'none'}.")
    most = min(room, int(wanted)) if wanted and not names else room
    layers = names or _densest(code, {layer_id: _executed(each) for layer_id, each in candidates.items()}, most)
    return HotCode(
        frozenset(layers),
        _bytes(code, layers),
        sum(_executed(candidates[layer_id]) for layer_id in layers),
    )


_Pieces = Mapping[Hashable, int]
"""Bytes of pieces of code; layers that share a function have the same one."""


def _densest(code: Mapping[str, _Pieces], executed: Mapping[str, int], room: int) -> Sequence[str]:
    """Takes again and again what executes most for the bytes that come on top, as long as there is room."""
    taken: list[str] = []
    while True:
        best: tuple[float, list[str]] = 0.0, []
        before = _bytes(code, taken)
        for layer_id in code:
            for layers in ([layer_id], _with_the_same(code, [*taken, layer_id])):
                more = [each for each in layers if each not in taken]
                after = _bytes(code, [*taken, *more])
                gain = sum(executed[each] for each in more) / max(after - before, 1)
                if after <= room and gain > best[0]:
                    best = gain, more
        if not best[1]:
            return taken
        taken += best[1]


def _with_the_same(code: Mapping[str, _Pieces], layers: Iterable[str]) -> list[str]:
    """The layers all of whose functions these have; each has a call of its own."""
    shared = {piece for layer_id in layers for piece in code[layer_id] if not isinstance(piece, _Call)}
    return [
        layer_id
        for layer_id, pieces in code.items()
        if all(piece in shared for piece in pieces if not isinstance(piece, _Call))
    ]


@dataclass(frozen=True)
class _Call:
    """A piece that is one layer's alone: the function that calls one in assembly."""

    candidate: int


def _pieces(candidate: Candidate) -> _Pieces:
    parts: dict[Hashable, int] = {}
    for part in candidate.parts:
        parts.update(_pieces(part.step.chosen))
    functions = sum(size for piece, size in parts.items() if not isinstance(piece, _Call))
    own: Hashable = (candidate.kernel.name, candidate.text or id(candidate))
    pieces = {**parts, own: candidate.estimate.code - functions}
    return pieces | {_Call(id(candidate)): _CALL} if candidate.kernel.assembly else pieces


def _bytes(code: Mapping[str, _Pieces], layers: Iterable[str]) -> int:
    pieces: dict[Hashable, int] = {}
    for layer_id in layers:
        pieces.update(code[layer_id])
    return sum(pieces.values())


def _executed(candidate: Candidate) -> int:
    return candidate.estimate.instructions or 0
