"""The generated C of audio front ends: equal to numpy in every bit, on this machine and on boards, and strict."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from sounds import FRONT_ENDS, MICRO, sounds

from tinygen import audio
from tinygen.audio import FrontEnd
from tinygen.c_text import array_lines
from tinygen.errors import UsageError
from tinygen.ir import Array
from tinygen.project import linker_files
from tinygen.resources import resource
from tinygen.target import HOST, Core, load_board, load_core

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
SANITIZED = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")

# Reads a number of samples and the samples, over and over; 0 samples are a reset.
HARNESS = """\
#include <stdio.h>
#include "mic.h"
int main(void)
{
    static int16_t buffer[1 << 16];
    uint32_t count;
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        if (count == 0) mic_reset();
        if (fread(buffer, sizeof *buffer, count, stdin) != count) return 1;
        const int16_t *samples = buffer;
        const void *features;
        while ((features = mic_feed(&samples, &count)) != 0)
            if (fwrite(features, sizeof *mic_feed(&samples, &count), MIC_CHANNELS, stdout) != MIC_CHANNELS) return 1;
        if (count != 0) return 2;
    }
    return 0;
}
"""

BOARD = "qemu-mps2-an386"
FIRMWARE = """\
#include "mic.h"
#include "runner/port.h"
#include "runner/protocol.h"
void protocol_fault(const protocol_fault_t *fault) { (void)fault; for (;;) port_putc(0x55); }
static const int16_t recording[] = {
%s
};
int main(void)
{
    const int16_t *samples = recording;
    uint32_t count = sizeof recording / sizeof *recording;
    const void *features;
    port_init();
    while ((features = mic_feed(&samples, &count)) != 0)
        for (uint32_t i = 0; i < MIC_CHANNELS * sizeof *mic_feed(&samples, &count); i++)
            port_putc(((const uint8_t *)features)[i]);
    for (;;) port_idle();
}
"""


def run(*command: str | Path, data: bytes = b"") -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, input=data)
    assert done.returncode == 0, f"{command}:\n{done.stderr.decode()}"
    return done.stdout


def write(front_end: FrontEnd, folder: Path, core: Core = HOST) -> Path:
    for path, text in audio.generate(front_end, "mic", core).items():
        (folder / path).write_text(text)
    return folder / "mic.c"


def cut(samples: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Pieces of 1 to some thousands of samples: the short ones as frequent as the long ones."""
    while len(samples):
        length = int(np.exp(rng.uniform(0, 8)))
        yield samples[:length]
        samples = samples[length:]


def expected(front_end: FrontEnd, recordings: Mapping[str, Array]) -> Array:
    return np.concatenate([audio.features(front_end, samples) for samples in recordings.values()])


# --- exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_sanitized_c_is_exact_for_samples_cut_anywhere(name: str, compiler: str, tmp_path: Path) -> None:
    front_end = FRONT_ENDS[name]
    source = write(front_end, tmp_path)
    (tmp_path / "harness.c").write_text(HARNESS)
    program = tmp_path / "harness"
    run(compiler, "-std=c99", *STRICT, *SANITIZED, source, tmp_path / "harness.c", "-o", program)
    recordings = sounds(front_end.window + 30 * front_end.step + 7)
    rng = np.random.default_rng(1)
    calls = [piece for samples in recordings.values() for piece in (*cut(samples, rng), samples[:0])]
    data = b"".join(np.uint32(len(piece)).tobytes() + piece.tobytes() for piece in calls)
    found = np.frombuffer(run(program, data=data), front_end.dtype).reshape(-1, front_end.filter_bank.channels)
    assert len(found) == 31 * len(recordings)
    assert np.array_equal(found, expected(front_end, recordings))


@pytest.mark.parametrize("name", ["micro", "raw", "44.1 kHz, odd step", "odd window, no overlap"])
def test_c_with_packed_instructions_is_exact_on_an_emulated_board(name: str, tmp_path: Path) -> None:
    front_end = FRONT_ENDS[name]
    board = load_board(BOARD)
    core = load_core(board.core)
    source = write(front_end, tmp_path, core)
    assert "pkhtb" in source.read_text()
    samples = np.concatenate(list(sounds(front_end.window + 6 * front_end.step).values()))
    (tmp_path / "main.c").write_text(FIRMWARE % "\n".join(array_lines(samples)))
    features = audio.features(front_end, samples)
    found = answer(link(tmp_path, core), features.nbytes)
    assert np.array_equal(np.frombuffer(found, front_end.dtype).reshape(features.shape), features)


def link(folder: Path, core: Core) -> Path:
    """The firmware of an emulated board: its start-up code and drivers around main.c and mic.c."""
    board = load_board(BOARD)
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
    image = folder / "firmware.elf"
    run(
        *(f"{core.toolchain}gcc", *core.flags, "-std=c99", "-O2", f"-I{resource('firmware')}"),
        *(f"-DBOARD_CLOCK_HZ={board.clock_hz}u", f"-DBOARD_BAUD={board.baud}u"),
        *(f"-DUART_BASE={emulator.uart_address:#x}u", f"-DUART_IRQ={emulator.uart_irq}"),
        f"-DTICKS_BASE={emulator.ticks_address:#x}u",
        *(platform / name for name in ("startup.c", "port.c", f"uart_{emulator.uart}.c", f"ticks_{emulator.ticks}.c")),
        *(folder / "mic.c", folder / "main.c", "--specs=nano.specs", "-nostartfiles", f"-L{folder}"),
        *(f"-T{platform / 'link.ld'}", f"-Wl,--defsym=stack_bytes={board.stack_bytes}", *places, "-o", image),
    )
    return image


def answer(image: Path, count: int) -> bytes:
    """The first bytes that a firmware sends."""
    emulator = load_board(BOARD).emulator
    assert emulator is not None
    command = [emulator.program, "-M", emulator.machine, "-display", "none", "-monitor", "none", "-serial", "stdio"]
    with subprocess.Popen(
        [*command, "-kernel", str(image)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            return process.stdout.read(count)
        finally:
            process.terminate()


# --- as a product ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", CORES)
def test_compilers_of_boards_have_nothing_to_say(core: str, tmp_path: Path) -> None:
    found = load_core(core)
    source = write(MICRO, tmp_path, found)
    assert ("arm_acle.h" in source.read_text()) == ("dsp" in found.features)
    for standard in ("c99", "c11"):
        compiler = [f"{found.toolchain}gcc", *found.flags, f"-std={standard}", "-O2", *STRICT]
        run(*compiler, "-c", source, "-o", tmp_path / "mic.o")


@pytest.mark.parametrize("command", [("gcc", "-x", "c", "-std=c99"), ("g++", "-x", "c++"), ("clang", "-x", "c")])
def test_the_header_stands_alone(command: Sequence[str], tmp_path: Path) -> None:
    write(MICRO, tmp_path)
    run(*command, *STRICT, "-fsyntax-only", tmp_path / "mic.h")


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_memory_is_what_the_header_says(name: str, tmp_path: Path) -> None:
    core = load_core("cortex-m4")
    source = write(FRONT_ENDS[name], tmp_path, core)
    run(f"{core.toolchain}gcc", *core.flags, "-std=c99", "-Os", "-c", source, "-o", tmp_path / "mic.o")
    sizes: dict[str, int] = {}
    for line in run(f"{core.toolchain}size", "-A", tmp_path / "mic.o").decode().splitlines():
        if line.startswith("."):
            section, size = line.split()[:2]
            sizes[section.split(".")[1]] = sizes.get(section.split(".")[1], 0) + int(size)
    constants = dict(line.split()[1:3] for line in (tmp_path / "mic.h").read_text().splitlines() if "_BYTES " in line)
    assert sizes["data"] == 0
    assert 0 <= sizes["bss"] - int(constants["MIC_RAM_BYTES"]) < 8  # alignment
    assert 0 <= sizes["rodata"] - int(constants["MIC_CONST_BYTES"]) < 16


def test_two_front_ends_link_together_and_see_nothing_of_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for path, text in audio.generate(MICRO, name).items():
            (tmp_path / path).write_text(text)
    main = '#include "one.h"\n#include "two.h"\nint main(void) { one_reset(); two_reset(); return 0; }\n'
    (tmp_path / "main.c").write_text(main)
    run("gcc", *(tmp_path / f"{name}.c" for name in ("main", "one", "two")), "-o", tmp_path / "main")


def test_names_that_c_cannot_have_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be the model's name"):
        audio.generate(MICRO, "int")


def test_the_same_description_gives_the_same_text() -> None:
    assert audio.generate(MICRO, "mic") == audio.generate(audio.load("micro"), "mic")
