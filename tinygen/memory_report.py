"""Everything about a model's memory on a board, whether it fits or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinygen import pipeline
from tinygen.c_text import library_name
from tinygen.errors import DoesNotFit
from tinygen.fit import FitReport, fit, measure, room
from tinygen.goal import Goal
from tinygen.interface import Interface
from tinygen.listening.hearing import Hearing
from tinygen.listening.joining import beside, listening_interface, within
from tinygen.memory_map import MemoryMap, memory_map, with_front_end
from tinygen.output import sealed
from tinygen.placed import place
from tinygen.report.memory_picture import memory_picture
from tinygen.savings import Figures, Saving, savings
from tinygen.target import load_board, load_core


@dataclass(frozen=True)
class MemoryReport:
    """The memory of a model's library, the board's, and what would save RAM."""

    name: str
    board: str
    memory: MemoryMap
    figures: Figures
    savings: tuple[Saving, ...]
    fit: FitReport
    refusal: DoesNotFit | None
    """Why it does not fit."""
    picture: bytes
    """An SVG file."""


def memory_report(
    model: pipeline.Model, board_name: str, goal: Goal, interface: Interface, hearing: Hearing | None = None
) -> MemoryReport:
    """Plan the model's library for a board, with a front end if there is one.

    Raises BoardError, FrontEndError for one that is not the model's, UsageError for a kernel or a place that cannot be,
    and DoesNotFit for a goal's budget only.
    """
    board = load_board(board_name)
    core = load_core(board.core)
    name = library_name(None, Path(model.file).stem)
    if hearing is not None:
        interface = listening_interface([model], hearing, interface)
    sizes = beside([model], hearing, interface, core)
    with within(goal, sizes) as left:
        wanted = pipeline.board_plan(model, board, core, left, interface, sizes.ram_bytes)
        (placed,) = place([wanted], board, left, interface)
    chosen = placed.chosen
    library, _ = pipeline.board_c(model, name, placed, board, goal, interface)
    drawn = with_front_end(memory_map(chosen.graph, chosen), sizes.ram)
    besides = {} if hearing is None else {"front end": sizes}
    refusal = None
    try:
        fit(placed, library.const_bytes, board, model.file, goal.objective, besides)
    except DoesNotFit as error:
        refusal = error
    return MemoryReport(
        name=name,
        board=board.name,
        memory=drawn,
        figures=Figures.of(chosen),
        savings=savings(
            model,
            core,
            left,
            chosen,
            interface,
            lambda other: place([other], board, left, interface)[0].chosen,
            sizes.ram_bytes,
        ),
        fit=measure(placed, library.const_bytes, board, besides),
        refusal=refusal,
        picture=sealed(memory_picture(drawn, name, board.name, room(board, placed.places))),
    )
