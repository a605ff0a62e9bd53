"""Generated models on emulated boards: through PlatformIO, over serial, compared with the reference byte for byte."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rp2040 import BOARD, RP2040
from shared import needs_shared_models, shared_models

from tinygen import audio, bench, firmware, manifest, output, pipeline, reference, samples, verify
from tinygen import board as boards
from tinygen.listening.hearing import hear_with
from tinygen.options import Options, Streaming
from tinygen.report import bench_tables
from tinygen.resources import resource
from tinygen.stack_use import UNPAINTED, stack_uses
from tinygen.target import list_boards, load_board

EMULATED = [name for name in list_boards() if load_board(name).emulator is not None and name != BOARD]
BOARDS = ("qemu-mps2-an386", "netduino2plus", "microbit")


def make(tmp_path: Path, model: Path, board: str, name: str) -> tuple[Path, pipeline.Model, manifest.Manifest]:
    read = pipeline.read(model)
    out = tmp_path / name
    output.write(pipeline.build(read, board, name).files, out)
    return out, read, manifest.load(out)


def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinygen", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def emulators(out: Path) -> list[str]:
    """Command lines of running emulators of this folder's firmware."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if line.startswith(("qemu-system", "node")) and str(out) in line]


@needs_shared_models
@pytest.mark.parametrize("board", [board for board in BOARDS if board != "microbit"])  # too large for 16 KB of RAM
def test_keyword_spotting_answers_real_inputs_with_the_references_bytes(tmp_path: Path, board: str) -> None:
    models = shared_models()
    assert models is not None
    out, model, content = make(tmp_path, models / "mlperf" / "kws_ds_cnn.tflite", board, "kws")
    real = samples.from_file(models.parent / "data" / "kws01.npz", content.inputs)[:20]
    (report,) = verify.verify(model, content, real, [boards.flashed(out, content)])
    assert report.samples == 20
    assert report.layers == 12
    assert report.equal, report.differences
    assert emulators(out) == []


@pytest.mark.parametrize("board", BOARDS)
def test_a_difference_on_the_board_is_found_and_named(tmp_path: Path, board: str) -> None:
    out, model, content = make(tmp_path, resource("examples", "digits", "digits.tflite"), board, "digits")
    source = out / "lib" / "digits" / "src" / "digits_constants.inc"
    text = source.read_text()
    layer = next(layer.index for layer in reversed(content.layers) if layer.op == "CONV_2D")
    # The first start value of the assembly; the last filter's factor, before a distance, on a Cortex-M0.
    data = rf"uint32_t layer_{layer:02}_data\[\d+\] = \{{\s+"
    number = rf"({data}[^}}]*?)\d+(,\s+\d+,?\s+\}})" if board == "microbit" else rf"({data})\d+()"
    broken = re.sub(number, r"\g<1>1000000000\g<2>", text)
    assert broken != text
    source.write_text(broken)
    (report,) = verify.verify(
        model, content, samples.generated(content.inputs, 3, 0)[2:], [boards.flashed(out, content)]
    )
    (difference,) = report.differences
    assert difference.place.startswith(f"layer {layer} CONV_2D")
    # The filter whose constants were changed.
    assert difference.element[-1] == (content.layers[layer].output.shape[-1] - 1 if board == "microbit" else 0)


@pytest.fixture(params=["qemu-mps2-an386", "microbit"])
def flashed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    out, _, _ = make(tmp_path, resource("examples", "digits", "digits.tflite"), request.param, "digits")
    try:
        done = cli("flash", out, "--json")
        assert done.returncode == 0, done.stderr
        sizes = json.loads(done.stdout)
        board = load_board(request.param)
        assert 0 < sizes["flash_bytes"] < board.flash_bytes
        assert manifest.load(out).arena_bytes < sizes["ram_bytes"] < board.ram_bytes
        yield out
    finally:
        firmware.stop(out)


def test_flash_run_and_stop(flashed: Path, tmp_path: Path) -> None:
    images = resource("examples", "digits", "digits_test.npz")
    with np.load(images) as loaded:
        np.savez(tmp_path / "some.npz", inputs=loaded["inputs"][:5], labels=loaded["labels"][:5])
    done = cli("run", flashed, "--input", tmp_path / "some.npz", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    model = pipeline.read(resource("examples", "digits", "digits.tflite"))
    content = manifest.load(flashed)
    for result, sample in zip(answer["results"], samples.from_file(tmp_path / "some.npz", content.inputs), strict=True):
        (expected,) = reference.outputs(model.graph, sample.arrays)
        assert result["outputs"][content.outputs[0].name] == expected.reshape(-1).tolist()
    assert 0 < answer["stack_bytes"] < 700
    shown = cli("run", flashed, "--input", tmp_path / "some.npz")
    assert "not time" in shown.stdout
    assert len(emulators(flashed)) == 1
    verified = cli("verify", flashed, "--on", manifest.load(flashed).board)
    assert verified.returncode == 0, verified.stderr
    assert re.search(r"Stack of digits_invoke\(\): [\w ]*\d+ bytes used, for no input more than \d+ ", verified.stdout)
    assert cli("flash", flashed, "--stop").returncode == 0
    assert emulators(flashed) == []
    gone = cli("run", flashed, "--input", tmp_path / "some.npz")
    assert gone.returncode == 1
    assert "tinygen flash" in gone.stderr


def test_another_model_on_the_board_is_noticed(flashed: Path, tmp_path: Path) -> None:
    port = firmware.serial_port(flashed)
    read = pipeline.read(resource("examples", "digits", "digits.tflite"))
    other = pipeline.Model(read.file, read.data + b"\0\0\0\0", read.options, read.graph, read.whole)
    output.write(pipeline.build(other, manifest.load(flashed).board, "digits").files, tmp_path / "other")
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8, 1), np.int8))
    done = cli("run", tmp_path / "other", "--input", tmp_path / "x.npy", "--port", port)
    assert done.returncode == 1
    assert "another model is on the board" in done.stderr


@pytest.mark.parametrize("board", [*EMULATED, RP2040])
def test_demo(tmp_path: Path, board: str) -> None:
    out = tmp_path / "with space" / "demo"
    done = cli("demo", "-o", out, "--board", board, "--images", 4, "--example", "digits")
    assert done.returncode == 0, done.stderr
    assert f"SUCCESS: {board} answered 4 of 4 images" in done.stdout
    assert emulators(out) == []


@pytest.mark.parametrize("board", ["qemu-mps2-an386", "microbit"])
def test_demo_of_keywords(tmp_path: Path, board: str) -> None:
    spoken = json.loads(resource("examples", "keywords", "recordings", "spoken.json").read_text())["conversation.wav"]
    words = resource("examples", "keywords", "labels.txt").read_text().split()
    first = next(each for each in spoken if each["said"] in words)
    seconds = round(first["end"] + 0.8, 1)  # it is heard by then
    out, picture = tmp_path / "demo", tmp_path / "heard.png"
    arguments = ("demo", "-o", out, "--board", board, "--example", "keywords", "--seconds", seconds, "--play", picture)
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"SUCCESS: {board} answered {seconds} s of samples with exactly the reference's bytes" in done.stdout
    word = first["said"]
    assert re.search(rf"{word} +{first['start']:.2f} .* {word} at [\d.]+ s +{word} at", done.stdout)
    content = manifest.load(out / "keywords")
    assert picture.is_file()
    assert emulators(out) == []
    # What was used by taking samples, but for the runner's own function, is within what the linked code can use.
    used = re.search(r"Stack used by keywords_feed: (\d+) bytes", done.stdout)
    assert used is not None
    invoke, feed = stack_uses(out / "keywords", content, None, int(used[1]))
    assert (invoke.invoke, feed.invoke) == ("keywords_invoke", "keywords_feed")
    assert invoke.bound.bytes and feed.bound.bytes and feed.used and invoke.bound.bytes < feed.bound.bytes
    assert UNPAINTED < feed.used <= feed.bound.bytes and not feed.exceeds


def test_a_result_from_samples_costs_what_its_parts_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    front_ends = importlib.import_module("front_ends")
    hearing = hear_with("micro-20ms")
    model = pipeline.read(resource("examples", "keywords", "keywords.tflite"), Options(streaming=Streaming()))
    output.write(pipeline.build(model, BOARDS[0], "keywords", hearing=hearing).files, tmp_path / "out")
    content = manifest.load(tmp_path / "out")
    count = bench.count(tmp_path / "out", content)
    samples = np.random.default_rng(0).integers(-3000, 3001, 640 + 7 * 320).astype(np.int16)
    frames = audio.features(hearing.front_end, samples)
    answer = front_ends.answer(hearing.front_end, samples, load_board(BOARDS[0]))
    expected = count.total.instructions + answer.instructions / len(frames)
    assert count.result_instructions == pytest.approx(expected, rel=0.03)
    assert count.result_instructions > count.total.instructions
    assert f"{count.result_instructions:,} instructions" in bench_tables.count_notes(count)


def test_a_board_file_of_the_users_own(tmp_path: Path) -> None:
    mine = tmp_path / "my-board.toml"
    mine.write_text(resource("boards", "netduino2plus.toml").read_text().replace("115_200", "57_600"))
    out = tmp_path / "demo"
    done = cli("demo", "-o", out, "--board", mine, "--images", 2, "--example", "digits")
    assert done.returncode == 0, done.stderr
    assert "SUCCESS: my-board answered 2 of 2 images" in done.stdout
    assert firmware.baud(out) == 57_600
