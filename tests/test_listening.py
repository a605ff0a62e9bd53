"""Libraries that take samples: equal to the front end, the window and the model, however samples are cut."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import BOARD, Built
from commands import Run
from emulated_bench import Bench
from sounds import write_wav
from stream_nets import StreamNet
from tflite_builder import build_case, build_model

from tinygen import audio, elf, output, pipeline, reference, samples, verify
from tinygen.counting.disassembly import disassemble
from tinygen.errors import BoardFault, FrontEndError, UsageError
from tinygen.interface import EXTERNAL, ROWS, Interface
from tinygen.ir import Array, Tensor
from tinygen.listening import verify as listening
from tinygen.listening.detector import DetectorWish
from tinygen.listening.hearing import Hearing, hear_with
from tinygen.listening.peers import host_listener
from tinygen.listening.recordings import cut, recordings
from tinygen.manifest import Manifest
from tinygen.ops import svdf
from tinygen.options import Options, Streaming
from tinygen.stack_use import UNPAINTED, feed_stack_bound, stack_bound
from tinygen.target import load_core

FRAMES, WIDTH, CHANNELS = 9, 2, 3
FEATURES = WIDTH * CHANNELS

DESCRIPTION = """
kind = "mfcc"
title = "small"
sample_rate = {rate}
window_ms = 6
step_ms = 4
[filter_bank]
channels = 16
lower_hz = 100
upper_hz = 3000
[feature]
epsilon = 0.001
coefficients = {features}
scale = {scale}
zero_point = {zero_point}
"""


def window_model(dtype: str = "int8") -> bytes:
    """Over a window of FRAMES frames; it can be streamed."""
    net = StreamNet(np.random.default_rng(5), dtype, "int8")
    first = net.value((1, FRAMES, WIDTH, CHANNELS))
    x = net.windowed(first, "CONV_2D", 4, kernel=(3, 1), padding="VALID")
    x = net.dense(net.flat(net.windowed(x, "CONV_2D", 5, kernel=(2, 2), padding="VALID")))
    return build_model(net.tensors, net.operators, [first.id], [x.id])


def recurrent_model() -> bytes:
    """That remembers; each invoke takes a frame."""
    return build_case(next(case for case in svdf.cases() if case.inputs[0].shape[0] == 1))


def decoded(data: bytes, streaming: int | None = None) -> pipeline.Model:
    options = Options(streaming=None if streaming is None else Streaming(streaming))
    return pipeline.decode(data, "window.tflite", options)


def features_of(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape)) // (tensor.shape[1] if len(tensor.shape) == 4 else 1)


def hearing_for(model: pipeline.Model, folder: Path, hop: int | None = None, **changes: object) -> Hearing:
    """A front end that fits the model's input, but for the changes."""
    tensor = model.graph.tensors[model.graph.inputs[0]]
    assert tensor.quant is not None
    fitting: dict[str, object] = {
        "rate": 8000,
        "features": features_of(tensor),
        "scale": float(tensor.quant.scale[0]),
        "zero_point": int(tensor.quant.zero_point[0]),
    }
    path = folder / "small.toml"
    path.write_text(DESCRIPTION.format(**fitting | changes))
    return hear_with(str(path), hop)


def built(model: pipeline.Model, hearing: Hearing, out: Path, interface: Interface | None = None) -> Manifest:
    build = pipeline.build(model, BOARD, "net", interface=interface, hearing=hearing)
    output.write(build.files, out)
    return build.manifest


def results_of(reference_: listening.Listener, samples: Array, seed: int) -> Array:
    reference_.reset()
    found = [result.outputs[0] for piece in cut(samples, seed) for result in reference_.feed(piece)]
    return np.array([np.frombuffer(data, np.int8) for data in found])


# --- the reference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hop", [1, 4, FRAMES])
def test_results_are_those_of_windows_that_move_on(hop: int, tmp_path: Path) -> None:
    model = decoded(window_model())
    hearing = hearing_for(model, tmp_path, hop)
    content = built(model, hearing, tmp_path / "out")
    x = model.graph.tensors[model.graph.inputs[0]]
    assert x.quant is not None and content.front_end is not None
    samples = recordings(content.front_end.first + 3 * FRAMES * content.front_end.step // hop, 1)["full-scale noise"]
    frames = audio.features(hearing.front_end, samples)
    before = np.full((FRAMES - hop, FEATURES), x.quant.zero_point[0], np.int8)
    heard = np.concatenate([before, frames])
    expected = [
        reference.outputs(model.graph, [heard[start : start + FRAMES].reshape(x.shape)])[0].reshape(-1)
        for start in range(0, len(heard) - FRAMES + 1, hop)
    ]
    found = results_of(listening.listener(tmp_path / "out", content, model.graph), samples, hop)
    assert len(found) == (len(samples) - content.front_end.first) // content.front_end.step + 1 > 3
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found, axis=0)) > len(found) // 2


def test_streamed_or_in_whole_windows_the_results_are_the_same(tmp_path: Path) -> None:
    whole, streamed = decoded(window_model()), decoded(window_model(), 2)
    samples, found = recordings(40 * 32, 3)["noise in bursts"], []
    for name, model, hop in (("whole", whole, 2), ("streamed", streamed, None)):
        content = built(model, hearing_for(whole, tmp_path, hop), tmp_path / name)
        found.append(results_of(listening.listener(tmp_path / name, content, model.graph), samples, len(name)))
    assert len(found[0]) > FRAMES
    np.testing.assert_array_equal(*found)


# --- the generated C --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "streaming", "hop", "interface"),
    [
        pytest.param(window_model, None, None, None, id="window"),
        pytest.param(window_model, None, 4, None, id="window, several frames"),
        pytest.param(window_model, None, FRAMES, None, id="windows without overlap"),
        pytest.param(window_model, 2, None, Interface(input=EXTERNAL), id="streamed, where the frames are"),
        pytest.param(recurrent_model, None, None, None, id="recurrent"),
    ],
)
def test_generated_c_is_exact_for_samples_cut_anywhere(
    data: Callable[[], bytes], streaming: int | None, hop: int | None, interface: Interface | None, tmp_path: Path
) -> None:
    model = decoded(data(), streaming)
    out = tmp_path / "out"
    content = built(model, hearing_for(model, tmp_path, hop), out, interface)
    sounds = recordings(listening.enough(content, 12), 0)
    peers = [host_listener(out, content, compiler, ("-Werror",)) for compiler in ("gcc", "clang")]
    reports = listening.verify(listening.listener(out, content, model.graph), content, sounds, peers)
    assert [report.differences for report in reports] == [(), ()]
    assert all(report.samples >= 12 * len(sounds) for report in reports)


@pytest.mark.parametrize("name", [BOARD, "microbit"])
def test_boards_hear_the_same(name: str, tmp_path: Path) -> None:
    model = decoded(window_model())
    build = pipeline.build(model, name, "net", hearing=hearing_for(model, tmp_path, 2))
    output.write(build.files, tmp_path / "out")
    content = build.manifest
    sounds = recordings(listening.enough(content, 6), 0)
    folder = tmp_path / "bench"
    folder.mkdir()
    bench = Bench(name, folder)
    with bench.running(Built(model, tmp_path / "out", content)) as peer:
        reference_ = listening.listener(tmp_path / "out", content, model.graph)
        (report,) = listening.verify(reference_, content, sounds, [contextlib.nullcontext(peer)])
        assert (report.differences, report.samples >= 6 * len(sounds)) == ((), True)
        # Layers are looked into as ever, and what was heard is over then.
        given = samples.generated(content.inputs, 2, 0)
        assert verify.verify(model, content, given, [contextlib.nullcontext(peer)])[0].equal
        assert not peer.session.listen(bytes(2)).due
        with pytest.raises(BoardFault, match="order"):
            peer.session.outputs()
    image = bench.link(tmp_path / "out", content)
    code = disassemble(image, load_core(content.core).toolchain)
    invoke, feed = (of(elf.read(image), code, content) for of in (stack_bound, feed_stack_bound))
    assert feed is not None and feed.bytes is not None and invoke.bytes is not None
    assert peer.feed_stack_bytes is not None
    assert invoke.bytes < feed.bytes and feed.path[0] == "net_feed"
    # The runner's function between is among what was used.
    assert UNPAINTED < peer.feed_stack_bytes <= feed.bytes + 16 and feed.bytes <= peer.feed_stack_bytes


def test_other_results_are_found(tmp_path: Path) -> None:
    model = decoded(window_model())
    out = tmp_path / "out"
    content = built(model, hearing_for(model, tmp_path), out)
    for file, right, wrong, expected in (
        ("audio", "i + 6]", "i + 5]", "of result 1, element"),
        ("audio", "window.features[i] = ", "window.features[i] = 1 + ", "of result 0, element"),
        ("front_end", "recent_count = 16;", "recent_count = 15;", "number of results behind"),
    ):
        source = out / "host" / "src" / f"net_{file}.c"
        text = source.read_text()
        assert right in text
        source.write_text(text.replace(right, wrong))
        reference_ = listening.listener(out, content, model.graph)
        sounds = recordings(listening.enough(content, 12), 0)
        (report,) = listening.verify(reference_, content, sounds, [host_listener(out, content)])
        source.write_text(text)
        assert any(expected in str(difference) for difference in report.differences)


@pytest.mark.parametrize("hop", [1, 4])
def test_memory_is_what_the_header_says(hop: int, tmp_path: Path) -> None:
    model = decoded(window_model())
    fitting = hearing_for(model, tmp_path)
    wish = DetectorWish("", ("low", "high"), (0.5, 0.25))
    content = built(model, Hearing(fitting.source, fitting.text, fitting.front_end, hop, wish), tmp_path / "out")
    core = load_core(content.core)
    sizes = {"bss": 0, "rodata": 0, "data": 0}
    folder = tmp_path / "out" / content.include_dirs[0]
    for part in ("audio", "front_end", "detector"):
        compiler = (f"{core.toolchain}gcc", *core.flags, "-std=c99", "-Os", "-Werror", "-Wall", "-Wconversion", "-c")
        subprocess.run([*compiler, folder / f"net_{part}.c", "-o", tmp_path / "part.o"], check=True)
        said = subprocess.check_output([f"{core.toolchain}size", "-A", tmp_path / "part.o"], text=True)
        for name, size in re.findall(r"^\.(bss|rodata|data)\S*\s+(\d+)", said, re.MULTILINE):
            sizes[name] += int(size)
    header = (folder / "net_audio.h").read_text()
    found = {name: int(value) for name, value in re.findall(r"#define NET_AUDIO_(\w+)_BYTES (\d+)", header)}
    assert 0 <= sizes["bss"] - found["RAM"] < 16  # alignment
    assert abs(sizes["rodata"] - found["CONST"]) < 24  # alignment; compilers may have thresholds in code
    assert sizes["data"] == 0
    front_end = content.front_end
    assert front_end is not None
    assert (front_end.ram_bytes, front_end.const_bytes) == (found["RAM"], found["CONST"])


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "hop", "expected"),
    [
        ({"scale": 0.2}, None, r"takes features of scale 0.05, zero point .* yields scale 0.2, zero point"),
        ({"zero_point": 7}, None, r"zero point -?\d+, the front end .* yields scale 0.05, zero point 7"),
        ({"features": 5}, None, r"has 5 features in a frame, the input's shape is \[1, 9, 2, 3\]"),
        ({}, 10, "a hop of 10 frames would leave frames out: its window has 9"),
        ({}, 0, "a hop of 0 frames is no hop"),
    ],
)
def test_front_ends_that_are_not_the_models(
    changes: dict[str, object], hop: int | None, expected: str, tmp_path: Path
) -> None:
    model = decoded(window_model())
    with pytest.raises((FrontEndError, UsageError), match=expected):
        built(model, hearing_for(model, tmp_path, hop, **changes), tmp_path / "out")


def test_scales_may_differ_by_what_trainings_calibrate(tmp_path: Path) -> None:
    model = decoded(window_model())
    assert built(model, hearing_for(model, tmp_path, scale=0.0504), tmp_path / "out").front_end is not None


def test_models_that_take_new_frames_choose_the_hop(tmp_path: Path) -> None:
    for model in (decoded(window_model(), 2), decoded(recurrent_model())):
        with pytest.raises(UsageError, match="new frames at a time, not 7"):
            built(model, hearing_for(model, tmp_path, 7), tmp_path / "out")


def test_other_types_of_features(tmp_path: Path) -> None:
    with pytest.raises(FrontEndError, match="takes int16, the front end micro yields int8"):
        built(decoded(window_model("int16")), hear_with("micro"), tmp_path / "out")


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        (Interface(EXTERNAL), "--frontend and --arena"),
        (Interface(output=EXTERNAL), "--frontend and --output"),
        (Interface(input=ROWS), "--frontend and --input-rows"),
    ],
)
def test_interfaces_without_a_place_for_frames(interface: Interface, expected: str, tmp_path: Path) -> None:
    model = decoded(window_model())
    with pytest.raises(UsageError, match=expected):
        built(model, hearing_for(model, tmp_path), tmp_path / "out", interface)


def test_several_models_take_no_front_end(tmp_path: Path) -> None:
    model = decoded(window_model())
    with pytest.raises(UsageError, match="for one model, not for 2"):
        pipeline.build_together([model, model], BOARD, ["a", "b"], hearing=hearing_for(model, tmp_path))


# --- what is said of it -----------------------------------------------------------------------------------------------


def test_command_line_builds_and_verifies(tmp_path: Path, run: Run) -> None:
    model, out = tmp_path / "net.tflite", tmp_path / "out"
    model.write_bytes(window_model())
    hearing = hearing_for(decoded(window_model()), tmp_path)
    code, said, _ = run("build", model, "-o", out, "--frontend", hearing.source, "--hop", 3)
    assert code == 0
    assert "net_feed() takes samples of 8,000 Hz" in " ".join(said.split())
    header = (out / "lib" / "net" / "src" / "net_audio.h").read_text()
    found = {name: int(value) for name, value in re.findall(r"#define NET_AUDIO_(\w+) (\d+)", header)}
    front_end = json.loads((out / "manifest.json").read_text())["front_end"]
    assert found["STEP"] == front_end["step"] == 3 * 32
    assert found["FIRST"] == front_end["first"] == 48 + 2 * 32
    assert f"--frontend {hearing.source} --hop 3" in header
    assert (out / front_end["path"]).read_bytes() == hearing.text
    code, said, _ = run("verify", out, "--samples", 6, "--json")
    assert code == 0
    (heard,) = (peer for peer in json.loads(said)["peers"] if "from samples" in peer["peer"])
    assert heard["samples"] >= 4 * 6
    silent = write_wav(tmp_path / "silent.wav", np.zeros(100, np.int16))
    run("build", model, "-o", tmp_path / "deaf")
    code, _, said = run("run", tmp_path / "deaf", "--input", silent)
    assert (code, "was built without a front end" in said) == (2, True)
    code, _, said = run("build", model, "-o", out, "--hop", 3)
    assert (code, "--hop is for --frontend" in said) == (2, True)
    code, _, said = run("build", model, "-o", out, "--frontend", "micr")
    assert (code, "Did you mean micro?" in said) == (1, True)
