"""Models that take frames: each output is that of the model in the file for the window that ends with them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import BOARD, Built, build_read, differences, host, tflm
from emulated_bench import Bench
from random_nets import Value
from stream_nets import StreamNet, random_frames, random_stream, stream_of, windows_of
from tflite_builder import build_model

from tinygen import cli, pipeline, reference
from tinygen.errors import UnsupportedModel, UsageError
from tinygen.ir import Graph
from tinygen.options import Options, Streaming
from tinygen.streaming.window_peer import WindowPeer

SEEDS = range(20)
COMPILED = (3, 4, 9)  # int16, a dense layer over all frames, the last frame only


def read(
    data: bytes, hop: int | None = None, axis: int | None = None, options: Options | None = None
) -> pipeline.Model:
    streaming = Streaming(hop, axis)
    return pipeline.decode(data, "window.tflite", options or Options(streaming=streaming))


def with_some_hop(data: bytes, rng: np.random.Generator) -> pipeline.Model:
    stream = read(data).stream
    assert stream is not None
    return read(data, stream.hop * int(rng.integers(1, 1 + min(4, (stream.frames - 1) // stream.hop))))


def assert_frames_are_windows(
    data: bytes, model: pipeline.Model, rng: np.random.Generator, file: str = "window.tflite"
) -> Graph:
    """For three windows of frames, against the model as the file has it, which is the answer."""
    whole = pipeline.decode(data, file, dataclasses.replace(model.options, streaming=None)).graph
    stream, (name,) = model.stream, whole.inputs
    assert stream is not None
    new, x = model.graph.tensors[name], whole.tensors[name]
    frames = [random_frames(rng, new.shape, str(x.dtype)) for _ in range(3 * stream.frames // stream.hop + 1)]
    assert x.quant is not None
    windows = windows_of(frames, x.shape, stream.axis, int(x.quant.zero_point[0]))
    states = reference.initial_states(model.graph)
    for given, window in zip(frames, windows, strict=True):
        values = reference.evaluate(model.graph, [given], states)
        states = reference.next_states(model.graph, values)
        found, (expected, *_) = values[model.graph.outputs[0]], reference.outputs(whole, [window])
        last = tuple(slice(have - want, have) for have, want in zip(expected.shape, found.shape, strict=True))
        np.testing.assert_array_equal(found, expected[last])
    return whole


def macs(graph: Graph) -> int:
    return sum(graph.macs(node) for node in graph.nodes)


# --- equal, and less work ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_frame_by_frame_is_window_by_window(seed: int) -> None:
    data, rng = random_stream(seed), np.random.default_rng(seed)
    model = with_some_hop(data, rng)
    whole = assert_frames_are_windows(data, model, rng)
    assert macs(model.graph) < macs(whole)


@pytest.mark.parametrize("seed", COMPILED)
def test_generated_c_computes_frame_by_frame(tmp_path: Path, seed: int) -> None:
    built = build_read(with_some_hop(random_stream(seed), np.random.default_rng(seed)), tmp_path / "out")
    assert built.model.stream is not None
    windows = WindowPeer(built.model.graph, built.model.stream, built.manifest)
    assert differences(built, stream_of(built.manifest, 3), host(built), contextlib.nullcontext(windows)) == []


def test_runtime_is_asked_about_whole_windows(tmp_path: Path) -> None:
    built = build_read(read(random_stream(4)), tmp_path / "out")
    assert differences(built, stream_of(built.manifest, 2), tflm(built)) == []


def test_board_computes_frame_by_frame(tmp_path: Path) -> None:
    built = build_read(read(random_stream(9)), tmp_path / "out")
    folder = tmp_path / "bench"
    folder.mkdir()
    with Bench(BOARD, folder).running(built) as peer:
        assert differences(built, stream_of(built.manifest, 3), contextlib.nullcontext(peer)) == []


def test_a_wrong_ring_is_found(tmp_path: Path) -> None:
    model = read(random_stream(4))
    assert model.stream is not None
    built = build_read(model, tmp_path / "out")
    late = Options(streaming=Streaming(model.stream.hop))
    other = pipeline.decode(random_stream(4), "window.tflite", late)
    state = other.graph.states[-1]
    state.initial.flags.writeable = True
    state.initial.reshape(-1)[0] ^= 64
    wrong = Built(other, built.out, built.manifest)
    peer = contextlib.nullcontext(WindowPeer(other.graph, model.stream, built.manifest))
    assert differences(wrong, stream_of(built.manifest, 1), peer) != []


# --- one net at a time ------------------------------------------------------------------------------------------------


def net(*layers: Callable[[StreamNet, Value], Value], frames: int = 16, width: int = 2, dtype: str = "int8") -> bytes:
    building = StreamNet(np.random.default_rng(5), dtype, "int8")
    first = x = building.value((1, frames, width, 3))
    for layer in layers:
        x = layer(building, x)
    return build_model(building.tensors, building.operators, [first.id], [x.id])


def convolution(taps: int, padding: str = "VALID", **size: object) -> Callable[[StreamNet, Value], Value]:
    return lambda net, x: net.windowed(x, "CONV_2D", 4, kernel=(taps, 1), padding=padding, **size)


def test_every_layer_keeps_what_its_window_reads() -> None:
    model = read(net(convolution(3), convolution(2, dilation=(3, 1)), convolution(1)))
    assert [state.initial.shape[1] for state in model.graph.states] == [2, 3]


def test_stride_beyond_the_kernel_skips_frames() -> None:
    data = net(convolution(3), convolution(1, stride=(3, 1)), convolution(2))
    model = read(data)
    assert model.stream is not None and model.stream.hop == 3
    assert_frames_are_windows(data, model, np.random.default_rng(0))


def test_hops_as_long_as_what_is_left_of_the_window() -> None:
    data = net(convolution(9), convolution(3))
    for hop in (1, 6, 7):
        assert_frames_are_windows(data, read(data, hop), np.random.default_rng(0))


def test_time_can_be_another_dimension() -> None:
    def sideways(net: StreamNet, x: Value) -> Value:
        return net.windowed(x, "CONV_2D", 4, kernel=(1, 3), padding="VALID")

    data = net(sideways, sideways, frames=2, width=14)
    model = read(data, axis=2)
    assert model.graph.tensors[model.graph.inputs[0]].shape == (1, 2, 1, 3)
    assert_frames_are_windows(data, model, np.random.default_rng(0))


def test_channels_from_a_table() -> None:
    def picked(net: StreamNet, x: Value) -> Value:
        y = net.value((*x.shape[:3], 4), x.zero_point, net.tensors[x.id].scale)
        return net.append("GATHER", [x.id, net.constant(np.array([2, 0, 1, 1], np.int32))], y, axis=3)

    data = net(convolution(3), picked, convolution(2))
    assert_frames_are_windows(data, read(data), np.random.default_rng(0))


def test_states_begin_with_what_repeats(tmp_path: Path) -> None:
    built = build_read(read(net(convolution(3), convolution(4))), tmp_path / "out", "net")
    assert "initial_1[i % 4]" in built.board_source.read_text()
    row = re.search(r"initial_1\[(\d+)\]", (built.board_library / "net_constants.inc").read_text())
    assert row is not None and int(row.group(1)) == 4


# --- what cannot be streamed ------------------------------------------------------------------------------------------


def squeeze(net: StreamNet, x: Value) -> Value:
    """A factor for each channel, of the whole window's mean."""
    mean = net.append(
        "MEAN", [x.id, net.constant(np.array([1, 2], np.int32))], net.value((1, 1, 1, x.shape[3])), keep_dims=True
    )
    return net.append("MUL", [x.id, mean.id], net.value(x.shape), fused_activation_function="NONE")


def bordered(net: StreamNet, x: Value) -> Value:
    amounts = np.array([[0, 0], [2, 0], [0, 0], [0, 0]], np.int32)
    y = net.value((1, x.shape[1] + 2, *x.shape[2:]), x.zero_point, net.tensors[x.id].scale)
    return net.append("PAD", [x.id, net.constant(amounts)], y)


def positions(net: StreamNet, x: Value) -> Value:
    """A constant for each frame of the window."""
    data = np.arange(x.shape[1], dtype=np.int8).reshape(1, -1, 1, 1)
    net.tensors.append(net.tensors[x.id].__class__(data.shape, "int8", scale=0.05, zero_point=0, data=data))
    constant = len(net.tensors) - 1
    return net.append("ADD", [x.id, constant], net.value(x.shape), fused_activation_function="NONE")


def backwards(net: StreamNet, x: Value) -> Value:
    y = net.value(x.shape, x.zero_point, net.tensors[x.id].scale)
    return net.append("REVERSE_V2", [x.id, net.constant(np.array([1], np.int32))], y)


def over_time(net: StreamNet, x: Value) -> Value:
    turned = (1, x.shape[2], x.shape[3], x.shape[1])
    order = net.constant(np.array([0, 2, 3, 1], np.int32))
    y = net.append("TRANSPOSE", [x.id, order], net.value(turned, x.zero_point, net.tensors[x.id].scale))
    return net.append("SOFTMAX", [y.id], net.value(turned, -128, 1 / 256), beta=1.0)


REFUSED = {
    "SAME": ((convolution(3), convolution(3, "SAME")), "node 1 .*CONV_2D: it pads time by 1\\+1 .SAME"),
    "PAD": ((convolution(3), bordered, convolution(2)), "pads time by 2\\+0"),
    "attention": ((convolution(3), squeeze), "MUL: it joins each frame with .* all of the window's"),
    "positions": ((convolution(3), positions), "ADD: its constant .* another one for each frame"),
    "backwards": ((convolution(3), backwards), "REVERSE_V2: it puts frames into another order"),
    "softmax over time": ((convolution(3), over_time), "SOFTMAX: it weighs each frame against all"),
    "the whole window first": ((lambda net, x: net.dense(net.flat(x)),), "FULLY_CONNECTED: it reads the whole window"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_cannot_be_streamed_are_named(name: str) -> None:
    layers, expected = REFUSED[name]
    with pytest.raises(UnsupportedModel) as refused:
        read(net(*layers))
    assert re.search(expected, str(refused.value)), refused.value
    assert "without --streaming" in str(refused.value)


def test_all_layers_that_cannot_be_streamed_are_named() -> None:
    with pytest.raises(UnsupportedModel) as refused:
        read(net(*[convolution(3, "SAME")] * 3))
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize(
    ("hop", "axis", "error", "expected"),
    [
        (3, None, UsageError, "no multiple"),
        (16, None, UsageError, "leaves nothing"),
        (14, None, UsageError, "14 new frames change all"),
        (2, 0, UnsupportedModel, "dimension 0 has no frames .*--time-axis 1 or 2 or 3"),
        (2, 3, UnsupportedModel, "time is its channels"),
        (0, None, UsageError, "no hop"),
        (2, -1, UsageError, "no dimension -1"),
    ],
)
def test_wishes_that_cannot_be(hop: int, axis: int | None, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=re.compile(expected, re.DOTALL)):
        read(net(convolution(3, stride=(2, 1)), convolution(2)), hop, axis)


def test_models_that_remember_are_streams_already() -> None:
    model = read(net(convolution(3), convolution(2)))
    with pytest.raises(UnsupportedModel, match="frame by frame as it is"):
        from tinygen.passes.stream import stream

        stream(model.graph, Streaming())


# --- what is said of it -----------------------------------------------------------------------------------------------


def test_header_and_manifest_say_what_an_invoke_takes(tmp_path: Path) -> None:
    built = build_read(read(net(convolution(3), convolution(2)), 3), tmp_path / "out", "net")
    header = (built.library / "net.h").read_text()
    found = {name: int(value) for name, value in re.findall(r"#define NET_(HOP|WINDOW|FULL_AFTER)_\w+ (\d+)", header)}
    assert found == {"HOP": 3, "WINDOW": 16, "FULL_AFTER": math.ceil(16 / 3)}
    assert "every invoke takes the next 3 frames" in " ".join(header.replace(" * ", " ").split())
    streaming = built.manifest.streaming
    assert streaming is not None
    assert (streaming.axis, streaming.hop, streaming.frames, streaming.full_after) == (1, 3, 16, 6)
    assert "--streaming 3" in header


def test_command_line_builds_and_verifies_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tinygen", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    model, out = tmp_path / "net.tflite", tmp_path / "out"
    model.write_bytes(net(convolution(3), convolution(2)))
    assert run("build", model, "-o", out, "--streaming")[0] == 0
    assert "--streaming --name" in (out / "lib" / "net" / "src" / "net.h").read_text()
    code, said, _ = run("verify", out, "--json")
    windows = next(peer for peer in json.loads(said)["peers"] if "whole windows" in peer["peer"])
    assert code == 0
    assert windows["samples"] >= 6 * 16 and windows["bytes"] > 0
    model.write_bytes(net(convolution(3, "SAME")))
    code, said, _ = run("inspect", model, "--streaming", 1)
    assert (code, "pads time by 1+1" in said) == (1, True)
    code, _, said = run("build", model, "-o", out, "--time-axis", 1)
    assert (code, "--time-axis is for --streaming" in said) == (2, True)
