"""Boards that work side by side on one library."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygen import bench, firmware
from tinygen import board as boards
from tinygen.board import BoardPeer
from tinygen.manifest import Manifest

_RECONNECT_SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """Where one of the boards is."""

    board: str
    port: str | None
    name: str
    """What it is called, unlike all others."""
    apart: bool
    """It needs a copy of the project: there is another one of this board."""


@dataclass(frozen=True)
class Member:
    """A board that runs the firmware of a project."""

    project: Path
    content: Manifest
    peer: BoardPeer


def places(named: Sequence[tuple[str, str | None]]) -> list[Place]:
    """Of boards with their ports; several may be of one kind."""
    counts: Counter[str] = Counter()
    found = []
    for board, port in named:
        counts[board] += 1
        count = counts[board]
        found.append(Place(board, port, board if count == 1 else f"{board} ({count})", apart=count > 1))
    return found


@contextlib.contextmanager
def flashed(
    out: Path,
    content: Manifest,
    place: Place,
    on_line: Callable[[str], None] | None,
    reconnect_seconds: float | None,
    say: Callable[[str], None],
) -> Iterator[Member]:
    """The board with the library of an output folder. See board.flashed(), and bench.for_board() for other boards.

    Without `reconnect_seconds`, only who can be plugged in again is waited for: no emulator that was started here.
    """
    with bench.for_board(out, content, place.board, place.apart) as (project, moved):
        can_return = boards.is_far(place.port) or not firmware.is_emulated(project)
        default = _RECONNECT_SECONDS if can_return else 0.0
        seconds = default if reconnect_seconds is None else reconnect_seconds
        with boards.flashed(project, moved, place.port, on_line, seconds, say) as peer:
            peer.name = place.name
            yield Member(project, moved, peer)
