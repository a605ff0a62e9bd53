"""Counts what audio front ends cost on emulated boards: instructions of a frame, RAM, flash.

    python benchmarks/front_ends.py                     # micro on the boards that ship
    python benchmarks/front_ends.py mine.toml --portable

Their answers are compared with numpy's: the exit code is 1 when a bit differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from tinygen import audio
from tinygen.audio import FrontEnd
from tinygen.c_text import array_lines
from tinygen.ir import Array
from tinygen.project import linker_files
from tinygen.report.tables import plain_table
from tinygen.resources import resource
from tinygen.target import HOST, Board, Core, load_board, load_core

BOARDS = ("qemu-mps2-an385-m0", "qemu-mps2-an385", "qemu-mps2-an386", "qemu-mps2-an500", "qemu-mps2-an505")
FRAMES = 50
OPTIMISATION = "-O2"

# Sends the ticks that the recording takes, and then, from the start again, its features.
FIRMWARE = """\
#include "mic.h"
#include "runner/port.h"
#include "runner/protocol.h"
static const int16_t recording[] = {
%s
};
void protocol_fault(const protocol_fault_t *fault)
{
    (void)fault;
    for (;;) port_idle();
}
static void send(const void *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) port_putc(((const uint8_t *)data)[i]);
}
int main(void)
{
    const int16_t *samples = recording;
    uint32_t count = sizeof recording / sizeof *recording;
    const void *features;
    port_init();
    port_ticks_start();
    while (mic_feed(&samples, &count) != 0) {}
    const uint32_t ticks = port_ticks();
    send(&ticks, sizeof ticks);
    mic_reset();
    samples = recording;
    count = sizeof recording / sizeof *recording;
    const uint32_t bytes = MIC_FEATURES * sizeof *mic_feed(&samples, &count);
    while ((features = mic_feed(&samples, &count)) != 0) send(features, bytes);
    for (;;) port_idle();
}
"""


@dataclass(frozen=True)
class Answer:
    """What a board did with a recording."""

    features: Array
    instructions: float
    """In all, to within a tick of the board's timer."""
    ram_bytes: int
    flash_bytes: int
    """Code and tables of the front end alone."""


def answer(front_end: FrontEnd, samples: Array, board: Board, portable: bool = False) -> Answer:
    """Build the firmware around a front end and a recording, run it on an emulated board, and read what it sends."""
    core = load_core(board.core)
    emulator = board.emulator
    assert emulator is not None
    with tempfile.TemporaryDirectory(prefix="tinygen-") as path:
        folder = Path(path)
        for name, text in audio.generate(front_end, "mic", HOST if portable else core).items():
            (folder / name).write_text(text)
        (folder / "main.c").write_text(FIRMWARE % "\n".join(array_lines(samples)))
        image = link(folder, board, core)
        size = _run(f"{core.toolchain}size", folder / "mic.o").decode().splitlines()[1].split()
        expected = audio.features(front_end, samples)
        command = [emulator.program, "-M", emulator.machine, "-display", "none", "-monitor", "none", "-serial", "stdio"]
        command += ["-icount", f"shift={emulator.icount_shift},sleep=off", "-kernel", str(image)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **streams) as process:
            assert process.stdout is not None
            try:
                sent = process.stdout.read(4 + expected.nbytes)
            finally:
                process.terminate()
    ticks = int(np.frombuffer(sent[:4], "<u4")[0])
    found = np.frombuffer(sent[4:], expected.dtype).reshape(expected.shape)
    instructions = ticks * 1e9 / board.clock_hz / 2**emulator.icount_shift
    return Answer(found, instructions, int(size[2]), int(size[0]) + int(size[1]))


def link(folder: Path, board: Board, core: Core) -> Path:
    """The firmware: an emulated board's start-up code and drivers around main.c and mic.c."""
    emulator = board.emulator
    assert emulator is not None
    platform = resource("firmware", "platforms", "tinygen_qemu", "core")
    for path, text in linker_files(board, str(folder)).items():
        Path(path).write_text(text)
    places = [
        f"-Wl,--defsym=board_{region.name}_{key}={value}"
        for region in board.regions
        for key, value in (("address", region.address), ("bytes", region.bytes))
    ]
    compiler = [f"{core.toolchain}gcc", *core.flags, "-std=c99", OPTIMISATION]
    _run(*compiler, "-c", folder / "mic.c", "-o", folder / "mic.o")
    image = folder / "firmware.elf"
    _run(
        *compiler,
        f"-I{resource('firmware')}",
        *(f"-DBOARD_CLOCK_HZ={board.clock_hz}u", f"-DBOARD_BAUD={board.baud}u"),
        *(f"-DUART_BASE={emulator.uart_address:#x}u", f"-DUART_IRQ={emulator.uart_irq}"),
        *(f"-DTICKS_BASE={emulator.ticks_address:#x}u", "-DTICKS_ARE_CYCLES=0"),
        *(platform / core.architecture / name for name in ("startup.c", "port.c")),
        *(platform / name for name in (f"uart_{emulator.uart}.c", f"ticks_{emulator.ticks}.c")),
        *(folder / "main.c", folder / "mic.o", *core.libc, "-nostartfiles", f"-L{folder}"),
        *(
            f"-T{platform / core.architecture / 'link.ld'}",
            f"-Wl,--defsym=stack_bytes={board.stack_bytes}",
            *places,
            "-o",
            image,
        ),
    )
    return image


def _run(*command: str | Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{command}:\n{done.stderr.decode()}")
    return done.stdout


def recording(front_end: FrontEnd) -> Array:
    """A voice, of sorts: harmonics that rise and fall, and breath."""
    rng = np.random.default_rng(0)
    count = front_end.window + (FRAMES - 1) * front_end.step
    time = np.arange(count) / front_end.sample_rate
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(5 * time)) / front_end.sample_rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 30)) * (1 + np.sin(20 * time))
    return np.asarray(np.rint(4000 * voice + 100 * rng.normal(size=count)), np.int16)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("front_ends", nargs="*", default=["micro"], help="names or files")
    parser.add_argument("--board", nargs="*", default=BOARDS)
    parser.add_argument("--portable", action="store_true", help="the portable C only")
    options = parser.parse_args()
    rows = []
    for name in options.front_ends:
        front_end = audio.load(name)
        samples = recording(front_end)
        for board in map(load_board, options.board):
            kinds = [True, False] if "dsp" in load_core(board.core).features and not options.portable else [True]
            for portable in kinds:
                found = answer(front_end, samples, board, portable)
                if not np.array_equal(found.features, audio.features(front_end, samples)):
                    sys.exit(f"{name} on {board.name}: the board's features are not numpy's")
                figures = (round(found.instructions / FRAMES), found.ram_bytes, found.flash_bytes)
                rows.append([name, board.core, "portable" if portable else "dsp", *(f"{x:,}" for x in figures)])
    figures_of = ("instructions of a frame", "RAM", "flash")
    table = plain_table("front end", "core", "C", *figures_of, right=figures_of)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
