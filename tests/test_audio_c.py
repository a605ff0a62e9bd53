"""The generated C of audio front ends: equal to numpy in every bit, on this machine and on boards, and strict."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sounds import FRONT_ENDS, MICRO, sounds

from tinygen import audio
from tinygen.audio import FrontEnd
from tinygen.errors import UsageError
from tinygen.ir import Array
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
            if (fwrite(features, sizeof *mic_feed(&samples, &count), MIC_FEATURES, stdout) != MIC_FEATURES) return 1;
        if (count != 0) return 2;
    }
    return 0;
}
"""

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def run(*command: str | Path, data: bytes = b"") -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=300, input=data)
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


@pytest.mark.parametrize(
    ("name", "compiler"), [*((name, "gcc") for name in FRONT_ENDS), *((name, "clang") for name in audio.names())]
)
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
    found = np.frombuffer(run(program, data=data), front_end.dtype).reshape(-1, front_end.features)
    assert len(found) == 31 * len(recordings)
    assert np.array_equal(found, expected(front_end, recordings))


@pytest.fixture
def front_ends(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/front_ends.py, which runs front ends on emulated boards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("front_ends")


@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("micro", "qemu-mps2-an385-m0"),
        ("micro", "qemu-mps2-an505"),
        ("raw", "qemu-mps2-an386"),
        ("44.1 kHz, odd step", "qemu-mps2-an386"),
        ("odd window, no overlap", "qemu-mps2-an386"),
        ("logmel-mlperf-sww", "qemu-mps2-an385-m0"),
        ("logmel-mlperf-sww", "qemu-mps2-an386"),
        ("mfcc-mlperf-kws", "qemu-mps2-an386"),
    ],
)
def test_c_is_exact_on_emulated_boards_also_after_a_reset(name: str, board: str, front_ends: ModuleType) -> None:
    front_end = FRONT_ENDS[name]
    samples = np.concatenate(list(sounds(front_end.window + 6 * front_end.step).values()))
    found = front_ends.answer(front_end, samples, load_board(board))
    assert np.array_equal(found.features, audio.features(front_end, samples))


def test_a_frame_costs_what_was_wanted(front_ends: ModuleType) -> None:
    found = front_ends.answer(MICRO, front_ends.recording(MICRO), load_board("qemu-mps2-an386"))
    assert 0 < found.instructions / front_ends.FRAMES < 30_000
    assert found.ram_bytes < 2_500 and found.flash_bytes < 6_000


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
