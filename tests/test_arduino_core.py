"""Arduino's own core for AVR: firmware and exported libraries are linked with it, and run on an Uno's processor.

The processors are simavr's; core and builder are Debian's packages arduino-core-avr and arduino-builder. A missing tool
is a failure here, not a skip.
"""

from __future__ import annotations

import configparser
import io
import subprocess
import time
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from building import DIGITS, Built, build_file, differences, varied
from emulated_bench import EMULATOR

from tinygen import elf
from tinygen.board import connected
from tinygen.counting.disassembly import disassemble
from tinygen.export.archive import zipped
from tinygen.export.facts import Facts
from tinygen.export.package import package_files
from tinygen.project import runner_footprint
from tinygen.stack_use import stack_bound
from tinygen.target import load_board, load_core

CORE = Path("/usr/share/arduino/hardware/arduino/avr")
BOARDS = {"uno": ("atmega328p", "standard"), "mega2560": ("atmega2560", "mega")}
ARDUINO = ("-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_ARCH_AVR")
SECTIONS = ("-ffunction-sections", "-fdata-sections", "-flto")
OLDER = ("-DDECIMAL_DIG=9",)
"""The core wants it of <float.h>; Debian's compiler is older."""
LANGUAGES = {
    ".c": ("avr-gcc", "-std=gnu11"),
    ".S": ("avr-gcc", "-x", "assembler-with-cpp"),
    ".cpp": ("avr-g++", "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics", *OLDER),
}
INTERRUPT = 80
"""Bytes of stack, more than any interrupt of the core takes; they do not interrupt each other."""


class Compiler:
    """Arduino's way to compile for a board: the core's sources beside the sketch's and the libraries'."""

    def __init__(self, board: str, folder: Path) -> None:
        self.machine, variant = BOARDS[board]
        self._folder = folder
        folders = (CORE / "cores/arduino", CORE / "variants" / variant)
        self._flags = [f"-mmcu={self.machine}", *ARDUINO, *SECTIONS, *(f"-I{path}" for path in folders)]

    def compiled(self, sources: Sequence[Path], *flags: str) -> list[str]:
        """Object files."""
        found = []
        for source in sources:
            target = self._folder / f"{abs(hash(source))}-{source.name}.o"
            self._run([*LANGUAGES[source.suffix], *self._flags, *flags, "-c", str(source), "-o", str(target)])
            found.append(str(target))
        return found

    def linked(self, objects: Sequence[str]) -> Path:
        """The firmware with the core."""
        sources = [path for path in sorted((CORE / "cores/arduino").iterdir()) if path.suffix in LANGUAGES]
        assert sources, "apt install arduino-core-avr"
        image = self._folder / "firmware.elf"
        core = self._folder / "core.a"  # of which what nobody calls is left out, as further serial ports
        self._run(["avr-gcc-ar", "rcs", str(core), *self.compiled(sources, "-Os", "-w")])
        link = ("avr-gcc", *self._flags, "-Os", "-fuse-linker-plugin", "-Wl,--gc-sections")
        self._run([*link, *objects, str(core), "-o", str(image), "-lm"])
        return image

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr}"


def firmware_of(built: Built, board: str, folder: Path) -> tuple[Path, str]:
    """The project that was built for a board, linked as PlatformIO would, and the processor that it is for."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(built.out / "platformio.ini")
    section = settings[f"env:{board}"]
    compiler = Compiler(board, folder)
    include = f"-I{built.board_library}"
    library = compiler.compiled(sorted(built.board_library.glob("*.c")), *section["build_flags"].split(), include)
    sources = [path for path in sorted((built.out / "src").rglob("*")) if path.suffix in LANGUAGES]
    runner = compiler.compiled(sources, *section["build_src_flags"].split(), include)
    return compiler.linked([*library, *runner]), compiler.machine


@pytest.mark.parametrize("board", BOARDS)
def test_the_firmware_of_a_board_answers_with_arduinos_core(board: str, tmp_path: Path) -> None:
    built = build_file(DIGITS / "digits.tflite", tmp_path / "out", "digits", board=board)
    path, machine = firmware_of(built, board, tmp_path)
    uart = EMULATOR.Pty()
    try:
        EMULATOR.start(tmp_path / "state", EMULATOR.SIMAVR, machine, "", 0, path, uart, None)
    finally:
        uart.close()
    try:
        with connected(built.out, built.manifest, uart.name) as peer:
            hello = peer.session.hello()
            assert (hello.tick_hz, hello.emulated_ticks) == (1_000_000, False)
            assert differences(built, varied(built, 2), nullcontext(peer)) == []
    finally:
        EMULATOR.stop(tmp_path / "state")

    # What a build says that fits, does: the runner and the core take no more than is counted, and the stack has room.
    image, described = elf.read(path), load_board(board)
    taken = image.ram_bytes - built.manifest.arena_bytes
    footprint = runner_footprint(described)
    assert 0.8 * footprint.ram_bytes < taken <= footprint.ram_bytes
    code = disassemble(path, load_core(described.core).toolchain)
    bound = stack_bound(image, code, built.manifest).bytes
    assert bound is not None and bound + INTERRUPT <= described.stack_bytes


def test_arduinos_builder_takes_the_zip_and_its_sketch_runs_on_an_uno(tmp_path: Path) -> None:
    built = build_file(DIGITS / "digits.tflite", tmp_path / "out", "digits", board="uno")
    facts = Facts("digits", "1.0.0", "me", "https://example.org")
    package = zipped(package_files(built.out, [built.manifest], "arduino", facts), facts.name)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        archive.extractall(tmp_path / "libraries")
    (ino,) = tmp_path.glob("libraries/digits/examples/*/*.ino")
    (tmp_path / "build").mkdir()
    folders = ("-hardware", CORE.parents[1], "-hardware", "/usr/share/arduino-builder", "-tools", "/usr/bin")
    folders += ("-libraries", tmp_path / "libraries", "-build-path", tmp_path / "build")
    options = ("-fqbn", "arduino:avr:uno", "-ide-version", "10819", "-warnings", "all")
    older = f"-prefs=compiler.cpp.extra_flags=-fpermissive {OLDER[0]}"
    command = ["arduino-builder", "-compile", *map(str, folders), *options, older, str(ino)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "digits" not in done.stderr, done.stderr  # whose warnings are those of the core

    uart = EMULATOR.Pty()
    (tmp_path / "state").mkdir()
    image = tmp_path / "build" / f"{ino.name}.elf"
    with subprocess.Popen(
        EMULATOR.simavr(tmp_path / "state", "atmega328p", image, uart), pass_fds=uart.inherited
    ) as process:
        try:
            said, deadline = b"", time.monotonic() + 300
            while b"\n" not in said.partition(b"xpected")[2] and time.monotonic() < deadline:
                said += uart.ask(b"")
        finally:
            process.kill()
            uart.close()
    assert said.decode().splitlines()[-1] == "As expected, in every bit."
