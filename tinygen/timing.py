"""How long invokes take: what a board's own counter says, over many of them, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from tinygen import board as boards
from tinygen import samples
from tinygen.distribution import Distribution, distribution
from tinygen.errors import BoardError
from tinygen.listening.ticks import result_ticks
from tinygen.manifest import Manifest
from tinygen.session import Session
from tinygen.stack_use import StackUse, stack_uses
from tinygen.target import load_board

_DIFFERENT_INPUTS = 100

OnLine = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with invokes done, and invokes in all."""
Meanwhile = Callable[[], AbstractContextManager[None]]
"""What is to go on while a board is measured."""


@dataclass(frozen=True)
class Conditions:
    """What figures were measured under."""

    board: str
    core: str
    clock_hz: int | None
    """Of the processor, as the board's file has it; nobody measures it. None for a board that tinygen does not ship."""
    tick_hz: int | None
    """As the board says; None where ticks are not time."""
    emulated: bool
    """Ticks are an emulator's, which are no time."""
    cycles: bool
    """Of an emulator's: they are the processor's cycles as it counts them; else they go with instructions."""
    port: str
    optimize: str
    cflags: tuple[str, ...]
    inputs: int
    """So many different random ones, in turn."""


@dataclass(frozen=True)
class Timing:
    """What invokes took on a board, in its ticks; None where there were too many to count, even once."""

    conditions: Conditions
    ticks: Distribution | None
    """Of whole invokes; the first one, with cold caches, is among them."""
    layers: tuple[Distribution | None, ...]
    """Of each layer run by itself."""
    stacks: tuple[StackUse, ...]
    """Of the invoke, and of what takes samples."""
    result_ticks: float | None
    """Of a result from samples: front end and invoke; None without a front end."""


def time(
    out: Path,
    content: Manifest,
    port: str | None = None,
    on_line: OnLine | None = None,
    repeat: int = 1,
    progress: Progress = lambda done, total: None,
    meanwhile: Meanwhile = nullcontext,
) -> Timing:
    """Flash a board, and ask it for the ticks of `repeat` invokes, and of as many runs of each layer by itself.

    `meanwhile` is entered when the board is ready, and left after the last invoke. Raises like flashed().
    """
    with boards.flashed(out, content, port, on_line) as peer:
        different = min(repeat, _DIFFERENT_INPUTS)
        chosen = [sample.bytes for sample in samples.generated(content.inputs, different + 2, 0)[2:]]
        total = 2 * repeat
        with meanwhile():
            invokes = _invokes(peer.session, islice(cycle(chosen), repeat), lambda done: progress(done, total))
        used = peer.session.stack()
        traces = _traces(peer.session, islice(cycle(chosen), repeat), lambda done: progress(repeat + done, total))
        of_result = None
        if content.front_end is not None:
            of_result = result_ticks(peer.session, content)
            peer.listen(np.zeros(content.front_end.first, np.int16), reset=True)
        hello = peer.session.hello()
        conditions = Conditions(
            board=content.board,
            core=content.core,
            clock_hz=_clock_hz(content.board),
            tick_hz=None if hello.emulated_ticks else hello.tick_hz,
            emulated=hello.emulated_ticks,
            cycles=hello.emulated_cycles,
            port=peer.session.port,
            optimize=content.optimize,
            cflags=content.cflags,
            inputs=different,
        )
        return Timing(
            conditions,
            _spread(invokes),
            tuple(map(_spread, zip(*traces, strict=True))),
            stack_uses(out, content, used, peer.feed_stack_bytes),
            of_result,
        )


def _clock_hz(board: str) -> int | None:
    try:
        return load_board(board).clock_hz
    except BoardError:
        return None


def _invokes(session: Session, chosen: Iterator[list[bytes]], progress: Callable[[int], None]) -> list[int | None]:
    """Ticks of invokes, the first from the model's first state."""
    session.reset()
    found = []
    for inputs in chosen:
        session.load_inputs(inputs)
        found.append(session.invoke())
        progress(len(found))
    return found


def _traces(session: Session, chosen: Iterator[list[bytes]], progress: Callable[[int], None]) -> list[list[int | None]]:
    """The same of layers, one by one."""
    session.reset()
    found = []
    for inputs in chosen:
        session.load_inputs(inputs)
        found.append([run.ticks for run in session.trace()])
        progress(len(found))
    return found


def _spread(ticks: Sequence[int | None]) -> Distribution | None:
    counted = [each for each in ticks if each is not None]
    return distribution(counted) if len(counted) == len(ticks) else None
