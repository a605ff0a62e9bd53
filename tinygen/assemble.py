"""From libraries to an output folder: all of its files, and the manifest of each model in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinygen import manifest
from tinygen.fit import FitReport, room
from tinygen.goal import Goal
from tinygen.interface import SharedArena
from tinygen.library.generate import Library
from tinygen.listening.joining import Joined
from tinygen.manifest import Manifest
from tinygen.memory_map import MemoryMap
from tinygen.mlperf.task import Task
from tinygen.output import sealed
from tinygen.placed import Placed
from tinygen.placement import sections
from tinygen.project import project_files
from tinygen.report.memory_picture import memory_picture
from tinygen.shared_arena import shared_arena_files
from tinygen.target import FLASH_SPACE, Board, Core
from tinygen.version import VERSION

if TYPE_CHECKING:  # the pipeline imports this module
    from tinygen.pipeline import Model

_OPTIMISATION = {"balanced": "-O2", "speed": "-O2", "size": "-Os", "ram": "-O2"}
"""On Cortex-M, -O3 is slower than -O2 for these loops: it spills."""

PICTURE = "memory.svg"
"""The memory, drawn."""

_HOST_FOLDER = "host"
"""The same models in portable C, where the board's libraries are not."""


@dataclass(frozen=True)
class Part:
    """One model of a build, and what became of it."""

    model: Model
    name: str
    goal: Goal
    placed: Placed
    library: Library
    host: Library
    """The same in portable C, or `library` itself."""
    fit: FitReport
    memory: MemoryMap
    joined: Joined | None = None
    """Of a library that takes samples: with its front end."""
    task: Task | None = None
    """Of a model whose firmware is for MLPerf Tiny's runner."""


def assemble(
    parts: Sequence[Part], board: Board, core: Core, shared: SharedArena | None
) -> tuple[Mapping[str, bytes], tuple[Manifest, ...]]:
    """All files of the folder, sorted by their paths in it, and the manifests of the models."""
    host_folders = [_host_folder(part, alone=len(parts) == 1) for part in parts]
    libraries = {f"lib/{part.name}": part.library.files for part in parts}
    libraries |= {
        folder: {path: text for path, text in part.host.files.items() if path.startswith("src/")}
        for folder, part in zip(host_folders, parts, strict=True)
        if part.host is not part.library
    }
    arena = None
    if shared:
        sizes = [part.library.arena_bytes for part in parts]
        arena = manifest.SharedArena(shared.name, max(sizes), shared.models)
        section = sections(parts[0].placed.places).get("arena")
        libraries[f"lib/{shared.name}"] = shared_arena_files(shared, sizes, section)
        # Portable kernels may want more memory, or less.
        host_arena = shared_arena_files(shared, [part.host.arena_bytes for part in parts])
        libraries[f"{_HOST_FOLDER}/{shared.name}"] = host_arena
    contents = [
        _content(part, board, core, arena, folder, libraries) for folder, part in zip(host_folders, parts, strict=True)
    ]
    files = {
        **_pictures(parts, board),
        **{path: _bytes(text) for path, text in project_files(board, core, contents, parts[0].task).items()},
        **{f"{folder}/{path}": _bytes(text) for folder, texts in libraries.items() for path, text in texts.items()},
        **{content.model.path: part.model.data for content, part in zip(contents, parts, strict=True)},
        **{part.joined.manifest.path: part.joined.hearing.text for part in parts if part.joined is not None},
    }
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}
    contents = [dataclasses.replace(content, files=hashes) for content in contents]
    files[manifest.FILE_NAME] = _bytes(manifest.to_json(contents))
    return dict(sorted(files.items())), tuple(contents)


def _pictures(parts: Sequence[Part], board: Board) -> Mapping[str, bytes]:
    """What each model's memory holds, drawn."""
    stem, suffix = PICTURE.split(".")
    return {
        PICTURE if len(parts) == 1 else f"{stem}_{part.name}.{suffix}": sealed(
            memory_picture(part.memory, part.name, board.name, room(board, part.goal.places))
        )
        for part in parts
    }


def _host_folder(part: Part, alone: bool) -> str:
    if part.host is part.library:
        return f"lib/{part.name}"
    return _HOST_FOLDER if alone else f"{_HOST_FOLDER}/{part.name}"


def _content(
    part: Part,
    board: Board,
    core: Core,
    arena: manifest.SharedArena | None,
    host_folder: str,
    libraries: Mapping[str, Mapping[str, str]],
) -> Manifest:
    """The manifest of a model, without files; `libraries` are those of the folder, and their files."""
    model, name, library = part.model, part.name, part.library
    folders = [f"lib/{name}", *([f"lib/{arena.name}"] if arena else [])]
    host_folders = [host_folder, *([f"{_HOST_FOLDER}/{arena.name}"] if arena else [])]
    return Manifest(
        schema=manifest.SCHEMA,
        tinygen=VERSION,
        name=name,
        model=manifest.Model(model.file, model.sha256, f"model/{name}{Path(model.file).suffix.lower()}"),
        profile=model.options.profile,
        batch=model.options.batch,
        streaming=_streaming(model),
        front_end=part.joined.manifest if part.joined is not None else None,
        io=model.options.io,
        layout=model.options.layout,
        notes=model.graph.notes,
        optimize=part.goal.objective,
        board=board.name,
        core=core.name,
        include_dirs=tuple(f"{folder}/src" for folder in folders),
        sources=_sources(folders, libraries),
        cflags=(
            "-std=gnu99" if FLASH_SPACE in core.features else "-std=c99",
            _OPTIMISATION[part.goal.objective],
            *core.flags,
        ),
        host_include_dirs=tuple(f"{folder}/src" for folder in host_folders),
        host_sources=_sources(host_folders, libraries),
        inputs=library.inputs,
        outputs=library.outputs,
        begin=library.begin,
        invoke=f"{name}_invoke",
        reset=f"{name}_reset" if library.state_bytes else None,
        arena_bytes=library.arena_bytes,
        arena_lower_bound=part.placed.chosen.layout.plan.lower_bound,
        set_arena=library.set_arena,
        shared_arena=arena,
        scratch_bytes=part.placed.chosen.layout.scratch_bytes,
        state_bytes=library.state_bytes,
        const_bytes=library.const_bytes,
        places=dict(part.placed.places),
        hot_layers=tuple(sorted(part.placed.hot.layers)),
        macs=library.macs,
        model_macs=sum(model.whole.macs(node) for node in model.whole.nodes),
        layers=library.layers,
        removed=tuple(manifest.RemovedChannels.noted(removed) for removed in model.graph.removed),
        files={},
    )


def _streaming(model: Model) -> manifest.Streaming | None:
    found = model.stream
    if found is None:
        return None
    return manifest.Streaming(found.axis, found.frames, found.hop, found.full_after, found.window_macs)


def _sources(folders: Sequence[str], libraries: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(f"{folder}/{path}" for folder in folders for path in libraries[folder] if path.endswith((".c", ".S")))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
