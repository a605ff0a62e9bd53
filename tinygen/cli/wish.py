"""What a library is to be like: the options that build and inspect have in common, in one value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinygen.cli import options
from tinygen.goal import Goal
from tinygen.interface import Interface
from tinygen.options import Options

if TYPE_CHECKING:
    from tinygen.listening.hearing import Hearing

_OPTIONS = (
    options.BOARD,
    options.OPTIMIZE,
    options.FLASH_BUDGET,
    options.RAM_BUDGET,
    options.PLACE,
    options.HOT,
    options.KERNEL,
    options.PROFILE,
    options.IO,
    options.LAYOUT,
    options.BATCH,
    options.STREAMING,
    options.TIME_AXIS,
    options.ARENA,
    options.INPUT,
    options.OUTPUT,
    options.INPUT_ROWS,
    options.FRONT_END,
    options.HOP,
    options.DETECTOR,
    options.LABELS,
)
"""In the order of the help."""


@dataclass(frozen=True)
class Wish:
    """How a model is read, for which board, what its library is best at, and what its application gives it."""

    board: str
    reading: Options
    goal: Goal
    interface: Interface
    hearing: Hearing | None


def wish_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options; it takes what they mean as its argument `wish`, and its own ones as they are."""

    @functools.wraps(command)
    def with_wish(
        *,
        board: str,
        optimize: str,
        flash_budget: int | None,
        ram_budget: int | None,
        places: tuple[str, ...],
        hot: str,
        kernels: tuple[str, ...],
        profile: str,
        io: str,
        layout: str,
        batch: int | None,
        streaming: int | None,
        time_axis: int | None,
        arena: str,
        input_memory: str,
        output_memory: str,
        input_rows: bool,
        frontend: str | None,
        hop: int | None,
        detector: str | None,
        labels: str | None,
        **own: Any,
    ) -> None:
        from tinygen.placement import parsed

        wish = Wish(
            board=board,
            reading=Options(profile, batch, io, layout, options.streaming_of(streaming, time_axis)),
            goal=Goal(optimize, flash_budget, ram_budget, parsed(places), frozenset(kernels), hot=hot),
            interface=options.interface_of(arena, input_memory, output_memory, input_rows),
            hearing=options.hearing_of(frontend, hop, detector, labels),
        )
        command(wish=wish, **own)

    for option in reversed(_OPTIONS):
        with_wish = option(with_wish)
    return with_wish
