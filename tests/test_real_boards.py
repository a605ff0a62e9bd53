"""Boards that are not here: PlatformIO takes their projects' settings, and compilers for their cores the C.

The frameworks are not here either: a stand-in for their headers has what the runner uses of them. On this machine the
same sources run, and are talked to.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import toy_model

from tinygen import output, pipeline
from tinygen.errors import BoardError
from tinygen.link import Link
from tinygen.project import project_files
from tinygen.resources import resource
from tinygen.session import Session
from tinygen.target import ARM, AVR, COMPILED, EMULATED, RISCV, XTENSA, list_boards, load_board, load_core

REAL = [name for name in list_boards() if load_board(name).emulator is None]
STAND_INS = Path(__file__).parent / "stand_ins"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")

# Debian's compilers for the instruction sets. That for Xtensa is for an older core than Espressif's.
COMPILERS = {ARM: "arm-none-eabi-", RISCV: "riscv64-unknown-elf-", XTENSA: "xtensa-lx106-elf-", AVR: "avr-"}
LIBC = {ARM: (), RISCV: ("--specs=picolibc.specs",), XTENSA: ("-isystem", "/usr/lib/xtensa-lx106-elf/include"), AVR: ()}

# Without a version: the board's file says why.
UNPINNED = {"bbcmicrobit"}


def test_what_is_said_of_boards_is_what_was_done() -> None:
    assert {load_board(name).tried for name in REAL} == {COMPILED}  # by the tests below
    assert {load_board(name).tried for name in list_boards() if name not in REAL} == {EMULATED}


@pytest.mark.parametrize("name", REAL)
def test_a_project_is_one_that_platformio_takes(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    assert board.port is not None
    assert name in UNPINNED or re.fullmatch(r"[a-z0-9]+@\d+\.\d+\.\d+", board.platform)
    toy_model.write_project(tmp_path, name)
    environment = {**os.environ, "PLATFORMIO_CORE_DIR": str(tmp_path / "core"), "PLATFORMIO_DISABLE_UPGRADE_CHECK": "1"}
    environment["PLATFORMIO_SETTING_ENABLE_TELEMETRY"] = "no"

    command = [sys.executable, "-m", "platformio", "project", "config", "-d", str(tmp_path), "--lint", "--json-output"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ast.literal_eval(done.stdout) == {"errors": [], "warnings": []}


@cache
def compiled(toolchain: str, flags: tuple[str, ...], sources: tuple[tuple[str, str], ...], folder: Path) -> None:
    """Compile sources, given with their names; those of several boards are the same."""
    for name, text in sources:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for language, standard, program in (("c", "-std=gnu11", "gcc"), ("cpp", "-std=gnu++11", "g++")):
        files = [str(folder / name) for name, _ in sources if name.endswith(f".{language}")]
        command = [f"{toolchain}{program}", *flags, standard, *WARNINGS, "-Os", "-c", f"-I{STAND_INS}", *files]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("name", REAL)
def test_the_runner_compiles_for_the_core(name: str, scratch: Path) -> None:
    board = load_board(name)
    core = load_core(board.core)
    assert board.port is not None
    files = project_files(board, core, [toy_model.manifest(name)])
    sources = [(path, text) for path, text in files.items() if path.startswith("src/") and isinstance(text, str)]
    assert {f"src/port/{file}" for file in ("main.cpp", "port.cpp", "board.h", f"ticks_{board.port.ticks}.cpp")} == {
        path for path, _ in sources if path.startswith("src/port/")
    }
    assert "src/runner/main.c" not in files
    # What differs between boards of a core does not change what is compiled: names, clocks and baud rates.
    facts = re.compile(r"of .*(?=, for the runner)|\b\d{4,}")
    alike = [(path, facts.sub("1", text) if path.endswith("/board.h") else text) for path, text in sources]
    defines = ("-DSTAND_IN_ESP",) if board.port.ticks == "esp" else ()
    defines += ("-DSTAND_IN_TINYUSB",) if board.port.header else ()
    flags = (*core.flags, *LIBC[core.architecture], *defines)
    toy = ("src/toy.h", toy_model.HEADER)
    where = scratch / f"{board.core}-{board.port.ticks}-{'-'.join(defines)}"
    compiled(COMPILERS[core.architecture], flags, (*alike, toy), where)


@pytest.mark.parametrize("name", ["esp32dev", "esp32-c3-devkitm-1", "pico"])
def test_a_library_compiles_for_the_core(name: str, tmp_path: Path) -> None:
    model = pipeline.read(resource("examples", "digits", "digits.tflite"))
    built = pipeline.build(model, name, "digits")
    output.write(built.files, tmp_path)
    core = load_core(load_board(name).core)
    flags = [*built.manifest.cflags, *LIBC[core.architecture], *WARNINGS]
    sources = [str(tmp_path / source) for source in built.manifest.sources]
    assert any(source.endswith(".c") for source in sources)
    command = [f"{COMPILERS[core.architecture]}gcc", *flags, "-c", *sources]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Process:
    """A runner on this machine, as a transport."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._out.fileno(), False)

    def write(self, data: bytes, /) -> None:
        self._in.write(data)
        self._in.flush()

    def read(self, size: int) -> bytes:
        data = self._out.read(size)
        if not data:
            time.sleep(0.001)
        return data or b""

    def close(self) -> None:
        self._in.close()
        self._process.wait(timeout=300)
        self._out.close()


@pytest.mark.parametrize(("board", "hertz"), [("pico", 1_000_000), ("esp32dev", 160_000_000)])
def test_the_runner_of_a_framework_answers_on_this_machine(board: str, hertz: int, tmp_path: Path) -> None:
    described = toy_model.write_project(tmp_path, board)
    pins = tmp_path / "pins"
    if board == "pico":
        with (tmp_path / "src/port/board.h").open("a") as header:
            header.write("#define BOARD_MARKER 7\n")
    sources = [*(tmp_path / "src").rglob("*.c*"), *(tmp_path / "lib").rglob("*.c"), STAND_INS / "arduino_on_host.cpp"]
    objects = []
    for source in sources:
        objects.append(tmp_path / f"{source.name}.o")
        compiler = ["g++", "-std=gnu++17"] if source.suffix == ".cpp" else ["gcc", "-std=gnu11", "-w"]
        include = [f"-I{STAND_INS}", f"-I{tmp_path / 'lib/toy/src'}", "-DSTAND_IN_ESP", f'-DSTAND_IN_PINS="{pins}"']
        subprocess.run(
            [*compiler, *include, "-g", "-fsanitize=address,undefined", "-c", source, "-o", objects[-1]], check=True
        )
    program = tmp_path / "runner"
    subprocess.run(["g++", "-fsanitize=address,undefined", *objects, "-o", program], check=True)
    with Link(Process(program), "this machine") as link:
        talk = Session(link)
        hello = talk.check_model(described)
        assert (hello.emulated_ticks, hello.tick_hz) == (False, hertz)
        for calls in range(2):
            talk.load_inputs([toy_model.example(3)])
            ticks = talk.invoke()
            assert ticks is not None and 0 <= ticks < 10 * hertz
            assert talk.outputs() == [toy_model.layers(toy_model.example(3), calls)[1]]
        assert talk.stack() is None
        talk.load_inputs([toy_model.example(3)])
        talk.trace()  # layers by themselves are no inference
    if board == "pico":
        assert pins.read_text().split() == ["m7=1", "w7=0", *["w7=1", "w7=0"] * 2]
    else:
        assert not pins.exists()


def test_a_board_without_a_port_is_refused() -> None:
    board = replace(load_board("nucleo_f446re"), port=None)
    with pytest.raises(BoardError, match=r"no \[port\] table"):
        project_files(board, load_core(board.core), [toy_model.manifest(board.name)])
