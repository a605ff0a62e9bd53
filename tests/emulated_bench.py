"""Many models on an emulated board, one after the other, without PlatformIO in between.

The firmware is the same one: the runner and the emulated boards' start-up code and drivers, compiled once for a board.
Only the model's library is compiled again, and linked. test_on_board.py goes the whole way through PlatformIO.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from accesses import Expected
from building import Built

from tinygen import elf, stack
from tinygen.bench import watch
from tinygen.board import BoardPeer, connected
from tinygen.counting import record
from tinygen.counting.disassembly import disassemble
from tinygen.counting.plugin import plugin
from tinygen.manifest import Manifest, load_all
from tinygen.peer import Answer
from tinygen.project import linker_files
from tinygen.resources import resource
from tinygen.stack_use import stack_bound
from tinygen.target import AVR, EMULATED_PLATFORM, counts_what_it_runs, load_board, load_core

Expect = Callable[[elf.Image, Built], Expected]

_PLATFORM = ("firmware", "platforms", EMULATED_PLATFORM)


# A program of the platform, in this process: thousands of its own would take minutes to start.
sys.path.append(str(resource(*_PLATFORM, "tools")))
EMULATOR = importlib.import_module("emulator")


class Bench:
    """An emulated board, whose firmware waits for a model."""

    def __init__(self, board: str, folder: Path, flags: Sequence[str] = ()) -> None:
        """With flags that libraries are compiled and linked with, beside those of their manifests."""
        self._flags = flags
        self.board = load_board(board)
        self.expected = Expected(())
        """Of the model that was watched last."""
        self._core = load_core(self.board.core)
        self._folder = folder
        emulator = self.board.emulator
        assert emulator is not None
        self._emulator = emulator
        core = resource(*_PLATFORM, "core")
        drivers = (f"uart_{emulator.uart}.c", f"ticks_{emulator.ticks}.c")
        sources = [
            *sorted(resource("firmware", "runner").glob("*.c")),
            *sorted((core / self._core.architecture).glob("*.c")),
            *(core / name for name in drivers),
        ]
        defines = (
            f"-DBOARD_CLOCK_HZ={self.board.clock_hz}u",
            f"-DBOARD_BAUD={self.board.baud}u",
            f"-DUART_BASE={emulator.uart_address:#x}u",
            f"-DUART_IRQ={emulator.uart_irq}",
            f"-DTICKS_BASE={emulator.ticks_address:#x}u",
            f"-DTICKS_ARE_CYCLES={int(not counts_what_it_runs(emulator.program))}",
        )
        self._gcc("-Os", "-c", *defines, f"-I{resource('firmware')}", *map(str, sources))
        self._objects = sorted(map(str, folder.glob("*.o")))

    @contextlib.contextmanager
    def running(self, built: Built, expect: Expect | None = None) -> Iterator[BoardPeer]:
        """The board, running a model that was built for it; given what is expected of layers, they are watched.

        A single layer that is watched is not run by itself, too: its output is the model's.
        """
        path = self.link(built.out, built.manifest)
        plugged = None
        if expect is not None:
            image = elf.read(path)
            self.expected = expect(image, built)
            watched = watch(image, built.manifest, self.expected.allowed, self.expected.pairs)
            plugged = watched.arguments(plugin(), self._record)
        alone = expect is not None and len(built.manifest.layers) == 1
        with self._emulating(built, path, plugged) as peer:
            yield _Invoked(built.manifest, peer.session) if alone else peer

    def recorded(self) -> record.Record:
        """What layers did in the last invoke of those that were watched."""
        return record.read(self._record)

    def stack(self, built: Built) -> tuple[int, stack.Bound]:
        """Of the last model, if it was watched: what its last invoke used, and what none can exceed."""
        code = disassemble(self.image, self._core.toolchain)
        return record.read(self._record).stack_bytes, stack_bound(elf.read(self.image), code, built.manifest)

    @property
    def image(self) -> Path:
        """The firmware that was linked last."""
        return self._folder / "firmware.elf"

    @property
    def _record(self) -> Path:
        return self._folder / "record"

    @contextlib.contextmanager
    def _emulating(self, built: Built, image: Path, plugin: str | None = None) -> Iterator[BoardPeer]:
        state, emulator, uart = self._folder / "state", self._emulator, EMULATOR.Pty()
        try:
            how = (emulator.program, emulator.machine, emulator.cpu, emulator.icount_shift)
            EMULATOR.start(state, *how, image, uart, plugin)
        finally:
            uart.close()
        try:
            with connected(built.out, built.manifest, uart.name) as peer:
                yield peer
        finally:
            EMULATOR.stop(state)

    def link(self, out: Path, manifest: Manifest) -> Path:
        """The firmware with a model's library, and those of the models that were built together with it."""
        for name, text in linker_files(self.board, str(self._folder)).items():
            Path(name).write_text(text, encoding="utf-8")
        places = [
            f"-Wl,--defsym=board_{region.name}_{key}={value}"
            for region in self.board.regions
            for key, value in (("address", region.address), ("bytes", region.bytes))
        ]
        layout = [
            *("-nostartfiles", f"-L{self._folder}"),
            f"-T{resource(*_PLATFORM, 'core', self._core.architecture, 'link.ld')}",
            f"-Wl,--defsym=stack_bytes={self.board.stack_bytes}",
            *places,
        ]
        self._gcc(
            *(flag for flag in manifest.cflags if flag not in self._core.flags),
            *self._flags,
            f"-I{resource('firmware')}",
            *dict.fromkeys(f"-I{out / path}" for model in load_all(out) for path in model.include_dirs),
            *dict.fromkeys(str(out / path) for model in load_all(out) for path in model.sources),
            str(out / "src/runner_model.c"),
            *self._objects,
            *("-Wl,--gc-sections", "-lm"),
            *([] if self._core.architecture == AVR else layout),
            *("-o", str(self.image)),
        )
        return self.image

    def _gcc(self, *arguments: str) -> None:
        sections = ("-ffunction-sections", "-fdata-sections")
        _run([f"{self._core.toolchain}gcc", *self._core.flags, *self._core.libc, *sections, *arguments], self._folder)


class _Invoked(BoardPeer):
    """A board that is asked for outputs only: what goes over its serial port is most of what a test takes."""

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        if reset:
            self.session.reset()
        outputs, _ = self.invoke(inputs)
        return Answer(outputs, [None], lambda index: outputs[0])


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout
