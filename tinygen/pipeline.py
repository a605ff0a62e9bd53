"""From a model file to everything that `tinygen build` writes: the stages, in order."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tinygen import passes
from tinygen.assemble import Part, assemble
from tinygen.c_text import library_name
from tinygen.check import check
from tinygen.core_limits import check_beside, check_core, check_flash_space
from tinygen.dialect import dialect_of
from tinygen.errors import FloatModel, InvalidModel, UsageError
from tinygen.fit import FitReport, fit, fit_together, room
from tinygen.goal import Goal
from tinygen.importers import OutlineRow, onnx, tflite
from tinygen.interface import Interface, shared_by
from tinygen.ir import Graph
from tinygen.layout import Layout
from tinygen.library.generate import Library, generate
from tinygen.library.origin import Origin
from tinygen.listening.frames import frames_of
from tinygen.listening.hearing import Hearing
from tinygen.listening.joining import beside, detector_of, join, listening_interface, within
from tinygen.manifest import Manifest
from tinygen.memory_map import MemoryMap, memory_map, with_front_end
from tinygen.mlperf.task import TaskWish, task_of
from tinygen.options import Options
from tinygen.part_sizes import NOTHING, PartSizes
from tinygen.passes.note_bounds import note_bounds
from tinygen.passes.stream import Stream, stream
from tinygen.placed import Placed, place
from tinygen.plan import Plan, plan
from tinygen.ports import with_ports
from tinygen.target import Board, Core, load_board, load_core

IMPORTERS: Mapping[str, ModuleType] = {".tflite": tflite, ".onnx": onnx}
"""One importer for each file suffix."""

_LARGEST_FILE = 2**30


@dataclass(frozen=True)
class Model:
    """A model file as read: its name, content, and graph after all passes; and before work was taken away by proof."""

    file: str
    data: bytes
    options: Options
    graph: Graph
    whole: Graph
    stream: Stream | None = None
    """Of a model that is computed frame by frame: how it belongs to the one in the file."""

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Build:
    """All files of an output folder, by path relative to it, and what was decided on the way."""

    files: Mapping[str, bytes]
    manifest: Manifest
    fit: FitReport
    layout: Layout
    memory: MemoryMap
    beside: PartSizes = NOTHING
    """Of the front end and its detector."""


def read(path: Path, options: Options | None = None) -> Model:
    """Read a model file and run all passes.

    Raises InvalidModel or UnsupportedModel, with every reason.
    """
    _importer(path)
    try:
        return decode(_content(path), os.fsencode(path.name).decode(errors="replace"), options)
    except FloatModel as error:
        raise error.at(path) from None


def decode(data: bytes, name: str, options: Options | None = None) -> Model:
    """The same for the content of a file of this name."""
    importer = _importer(Path(name))
    options = (options or Options()).for_format(Path(name).suffix, importer.PROFILES)
    graph = check(importer.read(data, name, options))
    for graph_pass in passes.wanted(options):
        graph = check(graph_pass(graph))
    whole = graph
    for proof in passes.PROOFS:
        graph = check(proof(graph))
    if options.streaming is None:
        return Model(name, data, options, note_bounds(graph), whole)
    graph, found = stream(graph, options.streaming)
    return Model(name, data, options, note_bounds(check(graph)), graph, found)


def outline(path: Path) -> list[OutlineRow]:
    """The operators of a model file, supported or not. Raises InvalidModel."""
    rows: list[OutlineRow] = _importer(path).outline(_content(path), path.name)
    return rows


def _importer(path: Path) -> ModuleType:
    importer = IMPORTERS.get(path.suffix.lower())
    if importer is None:
        known = ", ".join(IMPORTERS)
        raise InvalidModel(f"{path}: a model's file name ends in {known}", "Export the model to that format first.")
    return importer


def build(
    model: Model,
    board_name: str,
    name: str | None = None,
    goal: Goal | None = None,
    interface: Interface | None = None,
    hearing: Hearing | None = None,
    mlperf: TaskWish | None = None,
) -> Build:
    """Generate library and project for a board.

    Raises UsageError for a name or a place that cannot be, BoardError, FrontEndError, and DoesNotFit.
    """
    return build_together([model], board_name, [name], goal, interface, hearing, mlperf)[0]


def build_together(
    models: Sequence[Model],
    board_name: str,
    names: Sequence[str | None] = (),
    goal: Goal | None = None,
    interface: Interface | None = None,
    hearing: Hearing | None = None,
    mlperf: TaskWish | None = None,
) -> tuple[Build, ...]:
    """Libraries of models of which one runs at a time, in one arena, and a project for all of them.

    `names` are for the models in their order, or left out; the goal is each one's. Every build has all files. Raises
    UsageError for names or places that cannot be, BoardError, FrontEndError, and DoesNotFit. `hearing`, and
    `mlperf`, firmware for MLPerf Tiny's runner, are for a single model.
    """
    goal = goal or Goal()
    interface = interface or Interface()
    if mlperf is not None and (len(models) > 1 or hearing is not None):
        raise UsageError(
            "--runner mlperf is for one model that takes what the benchmark sends",
            "Build it by itself, without --frontend.",
        )
    if hearing is not None:
        interface = listening_interface(models, hearing, interface)
    board = load_board(board_name)
    core = load_core(board.core)
    if hearing is not None or mlperf is not None or goal.places:
        check_beside(core)
    prefixes = _prefixes(models, names)
    if len(models) > 1 and not interface.is_external:
        interface = dataclasses.replace(interface, shared=shared_by(prefixes))
    together = tuple((model.file, prefix) for model, prefix in zip(models, prefixes, strict=True))
    sizes = beside(models, hearing, interface, core)
    with within(goal, sizes) as left:
        plans = [board_plan(model, board, core, left, interface, sizes.ram_bytes) for model in models]
        placed = place(plans, board, left, interface)
    parts = [
        _part(model, prefix, each, board, core, goal, interface, together if len(models) > 1 else (), hearing, mlperf)
        for model, prefix, each in zip(models, prefixes, placed, strict=True)
    ]
    fit_together([part.fit for part in parts], board, goal.objective)
    check_flash_space(sum(part.library.const_bytes for part in parts), core)
    files, contents = assemble(parts, board, core, interface.shared)
    return tuple(
        Build(files, content, part.fit, part.placed.chosen.layout, part.memory, sizes)
        for content, part in zip(contents, parts, strict=True)
    )


def _prefixes(models: Sequence[Model], names: Sequence[str | None]) -> tuple[str, ...]:
    """The models' C prefixes. Raises UsageError where there is not one for each, all different."""
    if names and len(names) != len(models):
        raise UsageError(
            f"{len(names)} names for {len(models)} models", "Give each model its --name, in their order, or none."
        )
    wanted = names or [None] * len(models)
    found = [library_name(name, Path(model.file).stem) for model, name in zip(models, wanted, strict=True)]
    for index, name in enumerate(found):
        if name in found[:index]:
            raise UsageError(
                f"{models[found.index(name)].file} and {models[index].file} would both be called {name}",
                "Give each model its --name, in their order.",
            )
    return tuple(found)


def _part(
    model: Model,
    prefix: str,
    placed: Placed,
    board: Board,
    core: Core,
    goal: Goal,
    interface: Interface,
    together: tuple[tuple[str, str], ...],
    hearing: Hearing | None,
    mlperf: TaskWish | None,
) -> Part:
    chosen = placed.chosen
    check_core(model.file, chosen, core)
    library, origin = board_c(model, prefix, placed, board, goal, interface, together, hearing)
    host = library
    if not all(step.kernel.portable for step in chosen.steps):
        plain = dataclasses.replace(origin, goal=Goal(goal.objective))
        # Of the graph with its groups: layers are compared one by one.
        _, host = portable_c(dataclasses.replace(model, graph=chosen.graph), prefix, core, plain)
    joined = None
    if hearing is not None:
        frames = frames_of(model.graph, model.stream, hearing)
        joined = join(hearing, frames, detector_of(model, hearing, frames), library, host, prefix, origin, core)
        library, host = joined.library, joined.host
    task = None if mlperf is None else task_of(model.file, library.inputs, library.outputs, mlperf)
    besides = {} if joined is None else {"front end": joined.sizes}
    besides |= {} if task is None else {"benchmark": task.sizes}
    report = fit(placed, library.const_bytes, board, model.file, goal.objective, besides)
    drawn = with_front_end(memory_map(chosen.graph, chosen), {} if joined is None else joined.sizes.ram)
    return Part(model, prefix, origin.goal, placed, library, host, report, drawn, joined, task)


def board_plan(model: Model, board: Board, core: Core, goal: Goal, interface: Interface, beside_bytes: int = 0) -> Plan:
    """The kernels and the memory of a library for a board, with so many bytes of RAM taken by what is beside the model.

    Raises UsageError for a kernel that there is not, UnsupportedModel for inputs and outputs that cannot be given so,
    and DoesNotFit for a budget that cannot be met.
    """
    graph = with_ports(model.graph, interface)
    return plan(graph, core, goal, room(board, goal.places) - beside_bytes, rows=interface.by_rows)


def board_c(
    model: Model,
    prefix: str,
    placed: Placed,
    board: Board,
    goal: Goal,
    interface: Interface,
    together: tuple[tuple[str, str], ...] = (),
    hearing: Hearing | None = None,
) -> tuple[Library, Origin]:
    """The library for a board, and where it comes from, with the regions of its parts."""
    goal = dataclasses.replace(goal, places=placed.places)
    origin = Origin(
        model.file,
        model.sha256,
        model.options,
        board.name,
        goal,
        interface,
        together,
        model.stream,
        hearing,
        dialect_of(load_core(board.core)),
    )
    return generate(placed.chosen.graph, placed.chosen, prefix, origin, placed.hot.layers), origin


def portable_c(model: Model, prefix: str, core: Core, origin: Origin) -> tuple[Plan, Library]:
    """The library in C for any core, and the plan behind it. Raises DoesNotFit for a budget that cannot be met."""
    graph = with_ports(model.graph, origin.interface)
    chosen = plan(graph, core, origin.goal, portable=True, rows=origin.interface.by_rows)
    return chosen, generate(chosen.graph, chosen, prefix, origin)


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InvalidModel(f"{path} is a folder", "Give the model file.")
        if path.exists() and not path.is_file():
            raise InvalidModel(f"{path} is a device or a pipe", "Give the model file.")
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise InvalidModel(f"{path} has {size:,} bytes, the limit is {_LARGEST_FILE:,}", "Is it the right file?")
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidModel(f"there is no file {path}", "Check the path.") from None
    except OSError as error:
        raise InvalidModel(f"cannot read {path}: {error.strerror}") from None
