"""The PlatformIO project around a generated library: runner, settings, and the platform of emulated boards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tinygen import emit
from tinygen.board_port import tick_sources
from tinygen.errors import BoardError, Problem, UnsupportedModel, UsageError
from tinygen.interface import EXTERNAL
from tinygen.manifest import Manifest
from tinygen.mlperf.firmware import RUNNER as MLPERF
from tinygen.mlperf.firmware import mlperf_files
from tinygen.mlperf.task import Task
from tinygen.resources import resource
from tinygen.target import AVR, EMULATED_PLATFORM, FLASH, RAM, Board, Core, load_core

_MOST_PORTS = 255  # the protocol counts inputs and outputs, and the runner models, in a byte


@dataclass(frozen=True)
class Footprint:
    """Memory in bytes, on top of what the model's library needs."""

    flash_bytes: int
    ram_bytes: int


# Runner, start-up code and drivers of an emulated board: what to count before anything is compiled. Upper bounds that
# the tests hold against the linked firmware; the stack is not in here (Board.stack_bytes).
RUNNER_FOOTPRINT = Footprint(flash_bytes=4864, ram_bytes=768)

# The same with shorter frames, of 8-bit code.
_SMALL_RUNNER_FOOTPRINT = Footprint(flash_bytes=7168, ram_bytes=608)

# What the Arduino framework adds on AVR: its serial port and its clock, most of all.
_SMALL_FRAMEWORK = Footprint(flash_bytes=1024, ram_bytes=144)

_SMALL_FRAMES = 128
"""Bytes of payload, for boards with little RAM."""


def runner_footprint(board: Board) -> Footprint:
    """What the runner takes on a board, with the framework where that is known: on AVR.

    Raises BoardError for a core that is not known.
    """
    if load_core(board.core).architecture != AVR:
        return RUNNER_FOOTPRINT
    runner, framework = _SMALL_RUNNER_FOOTPRINT, _SMALL_FRAMEWORK
    if board.framework is None:
        return runner
    return Footprint(runner.flash_bytes + framework.flash_bytes, runner.ram_bytes + framework.ram_bytes)


def project_files(
    board: Board, core: Core, models: Sequence[Manifest], task: Task | None = None
) -> dict[str, str | bytes]:
    """All files of the project outside of lib/, model/ and manifest.json, by path relative to its folder, sorted.

    `models` say what libraries it is for; they are compiled with the same flags. `task`: the only model's, where the
    firmware is for MLPerf Tiny's runner. Raises BoardError for a board that tinygen has no port for, UnsupportedModel
    for too many inputs or outputs, UsageError for too many models.
    """
    if len(models) > _MOST_PORTS:
        raise UsageError(f"the runner serves up to {_MOST_PORTS} models, not {len(models)}", "Build fewer at a time.")
    for model in models:
        inputs, outputs = len(model.inputs), len(model.outputs)
        if max(inputs, outputs) > _MOST_PORTS:
            reason = f"{inputs} inputs and {outputs} outputs; the runner serves up to {_MOST_PORTS} of each"
            raise UnsupportedModel(model.name, [Problem("the model", "", reason, "")])
    names = " and ".join(model.name for model in models)
    files: dict[str, str | bytes] = {
        "platformio.ini": _settings(board, core, names, models[0].cflags, task),
        "src/runner_model.c": emit.render(
            "project/runner_model.c.j2",
            names=names,
            models=[_runner_model(model) for model in models],
            given_bytes=max(model.arena_bytes if model.set_arena else 0 for model in models),
        ),
    }
    files |= _tree(resource("firmware", "runner"), "src/runner") if task is None else mlperf_files(names, task)
    if board.emulator is not None:
        files |= linker_files(board, f"platforms/{EMULATED_PLATFORM}/core")
        files[f"boards/{board.platformio_board}.json"] = _board_json(board, core)
        files |= _tree(resource("firmware", "platforms", EMULATED_PLATFORM), f"platforms/{EMULATED_PLATFORM}")
    else:
        # A framework has its own main().
        files = {path: text for path, text in files.items() if path not in ("src/runner/main.c", "src/mlperf/main.c")}
        files |= _framework_port(board, task)
        files["src/port/main.cpp"] = emit.render("project/sketch.cpp.j2", names=names, mlperf=task is not None)
    return dict(sorted(files.items()))


def _runner_model(model: Manifest) -> dict[str, object]:
    """What the runner's template needs of a model."""
    return {
        "name": model.name,
        "layers_macro": f"{model.name.upper()}_LAYERS",
        "layer_count": len(model.layers),
        "inputs": model.inputs,
        "outputs": model.outputs,
        "sha256_rows": _byte_rows(bytes.fromhex(model.model.sha256)),
        "arena_bytes": model.arena_bytes,
        "set_arena": model.set_arena,
        "prepared": model.set_arena or any(port.memory == EXTERNAL for port in (*model.inputs, *model.outputs)),
        "begin": model.begin,
        "reset": model.reset,
        "front_end": model.front_end,
    }


def _settings(board: Board, core: Core, name: str, cflags: Sequence[str], task: Task | None) -> str:
    emulated = board.emulator is not None
    return emit.render(
        "project/platformio.ini.j2",
        name=name,
        board=board,
        runner=None if task is None else MLPERF,
        emulated=emulated,
        frame_payload=_SMALL_FRAMES if core.architecture == AVR and task is None else None,
        # An absolute link: PlatformIO takes a relative one for the same platform in every project.
        platform=f"symlink://${{PROJECT_DIR}}/platforms/{board.platform}" if emulated else board.platform,
        # The core's own flags come from the board: here they would be added a second time. A framework's sources,
        # which get these flags, too, need the C that it chose.
        library_flags=[flag for flag in cflags if flag not in core.flags and (emulated or not flag.startswith("-std="))]
        or ["-O2"],
    )


def _board_json(board: Board, core: Core) -> str:
    """PlatformIO's board manifest."""
    assert board.emulator is not None
    manifest = {
        "name": board.title,
        "vendor": "tinygen",
        "url": "https://www.qemu.org/docs/master/system/targets.html",
        "build": {
            "mcu": core.name,
            "architecture": core.architecture,
            "f_cpu": f"{board.clock_hz}L",
            "clock_hz": board.clock_hz,
            "baud": board.baud,
            "toolchain": core.toolchain,
            "flags": list(core.flags),
            "libc": list(core.libc),
            "regions": {region.name: {"address": region.address, "bytes": region.bytes} for region in board.regions},
            "stack_bytes": board.stack_bytes,
            "emulator": asdict(board.emulator),
        },
        "upload": {
            "maximum_size": board.flash_bytes,
            "maximum_ram_size": board.ram_bytes - board.stack_bytes,
            "protocol": "qemu",
            "protocols": ["qemu"],
        },
        "frameworks": [],
    }
    return json.dumps(manifest, indent=2) + "\n"


def linker_files(board: Board, folder: str) -> dict[str, str]:
    """What the linker script of emulated boards includes: the board's regions besides flash and ram."""
    regions = [region for region in board.regions if region.name not in (FLASH, RAM)]
    return {
        f"{folder}/{name}": emit.render(f"project/{name}.j2", regions=regions)
        for name in ("regions_memory.ld", "regions_sections.ld", "regions_copies.ld")
    }


def _framework_port(board: Board, task: Task | None) -> dict[str, str | bytes]:
    """The runner's port to a framework: ``firmware/ports/<framework>``, one source for all of its boards."""
    folder = resource("firmware", "ports", board.framework or "")
    if board.framework is None or not folder.is_dir():
        raise BoardError(
            f"board {board.name}: tinygen has no port of its serial runner to the framework {board.framework!r}",
            f"Write one (firmware/runner/port.h says what it is) into {folder}.",
        )
    if board.port is None:
        raise BoardError(
            f"board {board.name}: its file has no [port] table, which says how its serial port is reached",
            "`tinygen boards --add` writes one; boards/nucleo_f446re.toml is an example.",
        )
    others = {f"ticks_{name}.cpp" for name in tick_sources(board.framework)} - {f"ticks_{board.port.ticks}.cpp"}
    files = {path: text for path, text in _tree(folder, "src/port").items() if path.rpartition("/")[2] not in others}
    last_byte = "0" if task is None else r"'\n'"
    return files | {"src/port/board.h": emit.render("project/port_board.h.j2", board=board, last_byte=last_byte)}


def _tree(folder: Path, prefix: str) -> dict[str, str | bytes]:
    """The files of a folder, verbatim."""
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _byte_rows(data: bytes) -> list[str]:
    """C initialisers, eight bytes to a row."""
    rows = (data[start : start + 8] for start in range(0, len(data), 8))
    return [", ".join(f"0x{byte:02x}" for byte in row) for row in rows]
