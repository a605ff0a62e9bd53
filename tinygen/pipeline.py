"""From a model file to everything that `tinygen build` writes: the stages, in order."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tinygen import manifest, passes
from tinygen.c_text import library_name
from tinygen.check import check
from tinygen.errors import InvalidModel
from tinygen.fit import FitReport, fit, room
from tinygen.goal import Goal
from tinygen.importers import OutlineRow, tflite
from tinygen.ir import Graph
from tinygen.layout import Layout
from tinygen.library import Library, Origin, generate
from tinygen.manifest import Manifest
from tinygen.options import Options
from tinygen.placement import resolved
from tinygen.plan import Plan, plan, sizes_of
from tinygen.project import project_files
from tinygen.target import Board, Core, load_board, load_core
from tinygen.version import VERSION

IMPORTERS: Mapping[str, ModuleType] = {".tflite": tflite}
"""One importer for each file suffix."""

_OPTIMISATION = {"balanced": "-O2", "speed": "-O2", "size": "-Os", "ram": "-O2"}
"""On Cortex-M, -O3 is slower than -O2 for these loops: it spills."""

_LARGEST_FILE = 2**30

_HOST_FOLDER = "host"
"""The same model in portable C, where the board's library is not."""


@dataclass(frozen=True)
class Model:
    """A model file as read: its name, content, and graph after all passes; and before work was taken away by proof."""

    file: str
    data: bytes
    options: Options
    graph: Graph
    whole: Graph

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


def read(path: Path, options: Options | None = None) -> Model:
    """Read a model file and run all passes.

    Raises InvalidModel or UnsupportedModel, with every reason.
    """
    _importer(path)
    return decode(_content(path), os.fsencode(path.name).decode(errors="replace"), options)


def decode(data: bytes, name: str, options: Options | None = None) -> Model:
    """The same for the content of a file of this name."""
    options = options or Options()
    graph = check(_importer(Path(name)).read(data, name, options))
    for graph_pass in passes.wanted(options):
        graph = check(graph_pass(graph))
    whole = graph
    for proof in passes.PROOFS:
        graph = check(proof(graph))
    return Model(name, data, options, graph, whole)


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


def build(model: Model, board_name: str, name: str | None = None, goal: Goal | None = None) -> Build:
    """Generate library and project for a board.

    Raises UsageError for a name that cannot be, BoardError, and DoesNotFit.
    """
    goal = goal or Goal()
    board = load_board(board_name)
    core = load_core(board.core)
    prefix = library_name(name, Path(model.file).stem)
    chosen = plan(model.graph, core, goal, room(board, goal.places))
    goal = dataclasses.replace(goal, places=resolved(goal.places, board, sizes_of(chosen)))
    library = generate(model.graph, chosen, prefix, Origin(model.file, model.sha256, model.options, board.name, goal))
    host = library
    if not all(step.kernel.portable for step in chosen.steps):
        _, host = portable_c(model, prefix, core, Goal(goal.objective), board.name)
    report = fit(library, chosen, board, model.file, goal.places)
    return _assemble(model, prefix, goal, board, core, library, host, chosen, report)


def portable_c(model: Model, prefix: str, core: Core, goal: Goal, target: str) -> tuple[Plan, Library]:
    """The library in C for any core, and the plan behind it. Raises DoesNotFit for a budget that cannot be met."""
    chosen = plan(model.graph, core, goal, portable=True)
    origin = Origin(model.file, model.sha256, model.options, target, goal)
    return chosen, generate(model.graph, chosen, prefix, origin)


def _assemble(
    model: Model,
    name: str,
    goal: Goal,
    board: Board,
    core: Core,
    library: Library,
    host: Library,
    chosen: Plan,
    report: FitReport,
) -> Build:
    folder = f"lib/{name}"
    host_folder = folder if host is library else _HOST_FOLDER
    content = Manifest(
        schema=manifest.SCHEMA,
        tinygen=VERSION,
        name=name,
        model=manifest.Model(model.file, model.sha256, f"model/{name}.tflite"),
        profile=model.options.profile,
        batch=model.options.batch,
        io=model.options.io,
        notes=model.graph.notes,
        optimize=goal.objective,
        board=board.name,
        core=core.name,
        include_dirs=(f"{folder}/src",),
        sources=_sources(folder, library),
        cflags=("-std=c99", _OPTIMISATION[goal.objective], *core.flags),
        host_include_dirs=(f"{host_folder}/src",),
        host_sources=_sources(host_folder, host),
        inputs=library.inputs,
        outputs=library.outputs,
        invoke=f"{name}_invoke",
        reset=f"{name}_reset" if library.state_bytes else None,
        arena_bytes=library.arena_bytes,
        state_bytes=library.state_bytes,
        const_bytes=library.const_bytes,
        macs=library.macs,
        model_macs=sum(model.whole.macs(node) for node in model.whole.nodes),
        layers=library.layers,
        removed=tuple(manifest.RemovedChannels.noted(removed) for removed in model.graph.removed),
        files={},
    )
    project = project_files(
        board,
        core,
        name,
        model.sha256,
        library.inputs,
        library.outputs,
        len(library.layers),
        content.reset,
        content.cflags,
        library.arena_bytes,
    )
    files = {
        **{path: _bytes(text) for path, text in project.items()},
        **{f"{host_folder}/{path}": _bytes(text) for path, text in host.files.items() if path.startswith("src/")},
        **{f"{folder}/{path}": _bytes(text) for path, text in library.files.items()},
        content.model.path: model.data,
    }
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}
    content = dataclasses.replace(content, files=hashes)
    files[manifest.FILE_NAME] = _bytes(content.to_json())
    return Build(dict(sorted(files.items())), content, report, chosen.layout)


def _sources(folder: str, library: Library) -> tuple[str, ...]:
    return tuple(f"{folder}/{path}" for path in library.files if path.endswith((".c", ".S")))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InvalidModel(f"{path} is a folder", "Give the model file.")
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise InvalidModel(f"{path} has {size:,} bytes, the limit is {_LARGEST_FILE:,}", "Is it the right file?")
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidModel(f"there is no file {path}", "Check the path.") from None
    except OSError as error:
        raise InvalidModel(f"cannot read {path}: {error.strerror}") from None
