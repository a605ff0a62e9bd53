"""tinygen quantize: what it writes is int8 throughout, and what it says about it is so."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_nets import CLASSES, answers, onnx_net, samples, save, tflite_net
from onnx import helper, numpy_helper

from tinygen import cli, pipeline, reference
from tinygen.errors import ModelError, UsageError
from tinygen.ir import Array
from tinygen.options import Options
from tinygen.quantize import Choices, Quantised, Wish, onnx_float, quantise
from tinygen.quantize.with_onnxruntime import int8_edges

BOARD = "qemu-mps2-an386"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tinygen(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return int(caught.value.code or 0), captured.out, captured.err

    return run


def labelled(path: Path, count: int = 40) -> Path:
    """Samples with the float model's own answers as labels."""
    inputs = samples(count)
    np.savez(path, image=inputs, labels=answers(onnx_net(), inputs).argmax(axis=1))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    folder = tmp_path_factory.mktemp("quantised")
    model = save(onnx_net(), folder / "net.onnx")
    return quantise(model, Wish(labelled(folder / "data.npz")), folder / "int8.onnx", BOARD)


def scaling_of(model: onnx.ModelProto, name: str) -> tuple[float, int]:
    """Scale and zero point of an input, by the node that reads it, or of an output, by the one that writes it."""
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and name in (node.input[0], node.output[0]):
            return float(constants[node.input[1]]), int(constants[node.input[2]])
    raise AssertionError(f"nothing scales {name}")


def quantised(x: Array, scale: float, zero_point: int) -> Array:
    return np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8)


def test_onnx_becomes_int8_between_its_edges(made: Quantised) -> None:
    model = onnx.load_from_string(made.data)
    onnx.checker.check_model(model)
    written = {name: node.op_type for node in model.graph.node for name in node.output}
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            assert {written[name] for name in node.input} == {"DequantizeLinear"}
            assert {readers[name] for name in node.output} == {"QuantizeLinear"}
    assert "BatchNormalization" not in written.values()
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input] == [1]


def test_what_is_built_is_int8_and_onnx_runtime_s(made: Quantised) -> None:
    model = onnx.load_from_string(made.data)
    (scale, zero_point), (out_scale, out_zero_point) = scaling_of(model, "image"), scaling_of(model, "scores")
    expected = np.rint(answers(model, samples(20)).astype(np.float64) / out_scale) + out_zero_point - 128
    graph = pipeline.decode(made.data, "net.onnx", Options(io="int8")).graph
    given, result = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (given.dtype, result.dtype) == (np.int8, np.int8)
    for row, wanted in zip(quantised(samples(20), scale, zero_point - 128), expected, strict=True):
        found = reference.outputs(graph, [row.reshape(given.shape)])[0]
        assert np.array_equal(found.ravel(), wanted)


def test_edges_are_int8_where_that_is_wanted(tmp_path: Path) -> None:
    source, wish = save(onnx_net(), tmp_path / "net.onnx"), Wish(labelled(tmp_path / "data.npz"))
    found = quantise(source, wish, tmp_path / "int8.onnx", BOARD, choices=Choices(int8_edges=True))
    model = onnx.load_from_string(found.data)
    onnx.checker.check_model(model)
    edges = (*model.graph.input, *model.graph.output)
    assert {value.type.tensor_type.elem_type for value in edges} == {onnx.TensorProto.INT8}
    assert [value.name for value in edges] == ["image", "scores"]
    inputs = samples()
    rounded = answers(model, quantised(inputs, *scaling_of(model, "image"))).astype(np.float64)
    scale, zero_point = scaling_of(model, "scores")
    exact = answers(onnx_net(), inputs)
    noise = np.sum(np.square(exact - (rounded - zero_point) * scale))
    assert found.figures.sqnr_db["scores"] == pytest.approx(10 * np.log10(np.sum(np.square(exact)) / noise), abs=1e-3)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [13, 18])
def test_means_over_positions_become_pools(keepdims: int, opset: int, tmp_path: Path) -> None:
    """As PyTorch exports AdaptiveAvgPool2d: without, the mean would be left in float."""
    model = onnx_net(opset=opset)
    del model.graph.node[4:]
    axes = {"axes": [-2, -1]} if opset < 18 else {}
    given = ["pool"] if opset < 18 else ["pool", "axes"]
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([2, 3]), "axes"))
    model.graph.initializer.append(numpy_helper.from_array(samples(4, (CLASSES,)), "few"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", given, ["average"], keepdims=keepdims, **axes),
            helper.make_node("Flatten", ["average"], ["flat"]),
            helper.make_node("Gemm", ["flat", "few", "offsets"], ["scores"]),
        ]
    )
    np.save(tmp_path / "data.npy", samples())
    found = quantise(save(model, tmp_path / "net.onnx"), Wish(tmp_path / "data.npy"), tmp_path / "int8.onnx", BOARD)
    ops = [node.op_type for node in onnx.load_from_string(found.data).graph.node]
    assert "GlobalAveragePool" in ops
    assert "ReduceMean" not in ops
    assert found.figures.agreement is not None
    assert found.figures.agreement > 0.9
    assert found.on_board.refusal == ""


def test_weights_have_a_scale_for_each_channel(made: Quantised) -> None:
    model = onnx.load_from_string(made.data)
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    scales = [
        weights[node.input[1]].size
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights and weights[node.input[0]].ndim > 1
    ]
    assert sorted(scales) == [4, CLASSES]


def test_figures_are_those_of_the_models(made: Quantised) -> None:
    inputs, model = samples(), onnx.load_from_string(made.data)
    exact = answers(onnx_net(), inputs)
    real = answers(model, inputs)
    expected = 10 * np.log10(np.sum(np.square(exact)) / np.sum(np.square(exact - real)))
    found = made.figures
    assert found.sqnr_db["scores"] == pytest.approx(expected, abs=1e-3)
    same = float(np.mean(exact.argmax(axis=1) == real.argmax(axis=1)))
    assert found.agreement == same
    assert found.float_score is not None
    assert found.float_score.value == 1.0
    assert found.int8_score is not None
    assert found.int8_score.value == same
    assert found.layers[-1].sqnr_db == pytest.approx(expected, abs=1e-3)  # few samples: all of them
    assert (made.samples, made.calibrated) == (40, 40)


def test_int8_edges_change_no_answer() -> None:
    """A model whose edges are float rounds its input and scales its output; without, the caller does."""
    qdq = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
                helper.make_node("Relu", ["d"], ["r"]),
                helper.make_node("QuantizeLinear", ["r", "s", "z"], ["rq"]),
                helper.make_node("DequantizeLinear", ["rq", "s", "z"], ["y"]),
                helper.make_node("DequantizeLinear", ["rq", "s", "z"], ["again"]),
            ],
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 50])],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 50]) for name in ("y", "again")],
            [
                numpy_helper.from_array(np.float32(0.031), "s"),
                numpy_helper.from_array(np.int8(-7), "z"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    inputs = samples(20, (50,)) * 3
    before = answers(qdq, inputs, "x")
    after = int8_edges(qdq)
    onnx.checker.check_model(after)
    result = answers(after, quantised(inputs, np.float32(0.031), -7), "x")
    assert result.dtype == np.int8
    assert np.array_equal((result.astype(np.float32) + 7) * np.float32(0.031), before)


@pytest.mark.parametrize("signature", [False, True])
def test_float_tflite_becomes_int8(signature: bool, tmp_path: Path) -> None:
    source = tmp_path / "net.tflite"
    source.write_bytes(tflite_net(signature))
    inputs = samples(60, (6,))
    np.save(tmp_path / "data.npy", inputs)
    found = quantise(source, Wish(tmp_path / "data.npy"), tmp_path / "int8.tflite", BOARD)
    model = pipeline.decode(found.data, "int8.tflite")
    graph = model.graph
    given, result = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (given.dtype, result.dtype) == (np.int8, np.int8)
    assert given.quant is not None
    assert result.quant is not None
    # Ranges are the least and the greatest: nothing that calibrated is clamped.
    low, high = ((edge - int(given.quant.zero_point[0])) * float(given.quant.scale[0]) for edge in (-128, 127))
    step = float(given.quant.scale[0])
    assert low - step < inputs.min() < low + step
    assert high - step < inputs.max() < high + step
    noise = signal = 0.0
    exact = np.stack([_dense(row) for row in inputs])
    for row, expected in zip(inputs, exact, strict=True):
        q = quantised(row, float(given.quant.scale[0]), int(given.quant.zero_point[0]))
        y = reference.outputs(graph, [q.reshape(given.shape)])[0].astype(np.float64)
        real = (y - int(result.quant.zero_point[0])) * float(result.quant.scale[0])
        noise += float(np.sum(np.square(real[0] - expected)))
        signal += float(np.sum(np.square(expected)))
    # LiteRT and TFLM differ by a step at most, and rarely.
    assert found.figures.sqnr_db["scores"] == pytest.approx(10 * np.log10(signal / noise), abs=0.3)
    assert found.on_board.refusal == ""
    assert {layer.name for layer in found.figures.layers} == {"hidden", "scores"}


def test_a_layer_can_stay_in_int16(tmp_path: Path) -> None:
    source = tmp_path / "net.tflite"
    source.write_bytes(tflite_net(signature=True))
    np.save(tmp_path / "data.npy", samples(60, (6,)))
    wish, out = Wish(tmp_path / "data.npy"), tmp_path / "int8.tflite"
    with pytest.raises(UsageError, match="no layer 'hiden'") as error:
        quantise(source, wish, out, BOARD, choices=Choices(int16=("hiden",)))
    assert "hidden" in error.value.remedy
    found = quantise(source, wish, out, BOARD, choices=Choices(int16=("scores",)))
    graph = pipeline.decode(found.data, "int8.tflite").graph
    dense = [node for node in graph.nodes if node.op.name == "FULLY_CONNECTED"]
    dtypes = [[graph.tensors[name].dtype.name for name in (node.inputs[0], node.outputs[0])] for node in dense]
    assert dtypes == [["int8", "int8"], ["int16", "int16"]]
    assert found.on_board.refusal == ""
    with pytest.raises(UsageError, match=r"int16 are for \.tflite"):
        quantise(
            save(onnx_net(), tmp_path / "net.onnx"), wish, tmp_path / "int8.onnx", BOARD, choices=Choices(int16=("x",))
        )


def _dense(row: Array) -> Array:
    rng = np.random.default_rng(2)
    w0, b0, w1, b1 = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 6), (8,), (3, 8), (3,)))
    return np.asarray(np.maximum(row @ w0.T + b0, 0) @ w1.T + b1, np.float64)


@pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow is not installed: pip install tinygen[tensorflow]"
)
@pytest.mark.parametrize("suffix", [".keras", ".h5", ""])
def test_keras_models_and_saved_models_become_int8(suffix: str, tmp_path: Path) -> None:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(3)
    first, second = tf.keras.Input((4,), name="first"), tf.keras.Input((6,), name="second")
    joined = tf.keras.layers.Concatenate()([first, tf.keras.layers.Dense(4, activation="relu")(second)])
    model = tf.keras.Model([first, second], tf.keras.layers.Dense(3, activation="softmax")(joined))
    source = tmp_path / f"net{suffix}"
    model.save(source) if suffix else model.export(source, verbose=False)
    arrays = {"first": samples(30, (4,)), "second": 5 * samples(30, (6,))}
    np.savez(tmp_path / "data.npz", **arrays)
    found = quantise(source, Wish(tmp_path / "data.npz"), tmp_path / "int8.tflite", BOARD)
    graph = pipeline.decode(found.data, "int8.tflite").graph
    assert {graph.tensors[name].dtype.name for name in (*graph.inputs, *graph.outputs)} == {"int8"}
    assert found.figures.agreement is not None
    assert found.figures.agreement > 0.8
    # Each input has the range of its own samples.
    assert sorted(given.high for given in found.inputs) == sorted(float(array.max()) for array in arrays.values())


def test_a_written_model_replaces_no_file_unless_forced(tinygen: Run, tmp_path: Path) -> None:
    model, data = save(onnx_net(), tmp_path / "net.onnx"), labelled(tmp_path / "data.npz")
    out = tmp_path / "int8.onnx"
    out.write_bytes(b"mine")
    code, _, err = tinygen("quantize", model, "--data", data, "-o", out)
    assert (code, out.read_bytes()) == (1, b"mine")
    assert "--force" in err
    code, said, _ = tinygen("quantize", model, "--data", data, "-o", out, "--force", "--layers")
    assert code == 0
    onnx.checker.check_model(onnx.load(out))
    for fragment in ("accuracy", "SQNR of scores", "Relu", f"Written to {out}"):
        assert fragment in said
    code, _, err = tinygen("quantize", model, "--data", data, "-o", model, "--force")
    assert code == 2
    assert "is the model itself" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "int8.onnx", "net.onnx"]


def test_json_has_every_figure(tinygen: Run, tmp_path: Path) -> None:
    model, data = save(onnx_net(), tmp_path / "net.onnx"), labelled(tmp_path / "data.npz")
    labelled(tmp_path / "test.npz", 25)
    code, said, _ = tinygen(
        "quantize", model, "--data", data, "--test", tmp_path / "test.npz", "-o", tmp_path / "int8.onnx", "--json"
    )  # fmt: skip
    assert code == 0
    shown = json.loads(said)
    assert (shown["samples"], shown["calibrated"], shown["are_others"]) == (25, 40, True)
    assert shown["figures"]["float_score"] == {"kind": "accuracy", "value": 1.0}
    assert {layer["name"] for layer in shown["figures"]["layers"]} >= {"relu", "pool", "scores"}
    assert shown["int8_bytes"] == (tmp_path / "int8.onnx").stat().st_size
    assert shown["advice"]


def _npz(**arrays: Array) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)  # type: ignore[arg-type]


def _with_nan() -> Array:
    broken = samples()
    broken[7, 0, 3, 3] = np.nan
    return broken


@pytest.mark.parametrize(
    ("data", "fragments"),
    [
        (_npz(image=samples(40, (8, 8, 2))), ["'image' takes [-1, 2, 8, 8]", "found [40, 8, 8, 2]", "moveaxis"]),
        (_npz(image=samples(40, (128,))), ["found [40, 128]", "array.reshape(-1, 2, 8, 8)"]),
        (_npz(image=samples(40, (3,))), ["found [40, 3]"]),
        (_npz(image=np.float32(3)), ["found []"]),
        (_npz(image=_with_nan()), ["not finite", "sample 7"]),
        (_npz(image=samples(4)), ["4 samples are too few", "10"]),
        (_npz(image=np.zeros((40, 2, 8, 8), np.float32)), ["every number", "is 0"]),
        (_npz(a=samples(), b=samples()), ["no array for the input 'image'", "'a', 'b'"]),
        (_npz(image=np.asarray(["x"] * 40)), ["not numbers"]),
        (_npz(image=samples(), labels=np.full(40, 5)), ["label 5", "0 to 4"]),
        (_npz(image=samples(), labels=np.zeros((40, 3))), ["labels of shape [40, 3]", "40 samples"]),
        (lambda path: path.write_bytes(b"PK\x03\x04 nothing"), ["cannot read"]),
        (lambda path: None, ["there is no file"]),
        (lambda path: path.mkdir(), ["holds no .png"]),
    ],
)
def test_bad_data_is_told_in_words(
    data: Callable[[Path], None], fragments: list[str], tinygen: Run, tmp_path: Path
) -> None:
    model = save(onnx_net(), tmp_path / "net.onnx")
    data(tmp_path / "data.npz")
    code, _, err = tinygen("quantize", model, "--data", tmp_path / "data.npz", "-o", tmp_path / "int8.onnx")
    assert code == 1
    for fragment in fragments:
        assert fragment in err
    assert not (tmp_path / "int8.onnx").exists()


def _wrong_shape() -> bytes:
    model = onnx_net()
    del model.graph.initializer[0].dims[:]
    return model.SerializeToString()


def _open_height() -> bytes:
    model = onnx_net()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    return model.SerializeToString()


def _integers() -> bytes:
    model = onnx_net()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["real"], to=onnx.TensorProto.FLOAT))
    model.graph.node[1].input[0] = "real"
    return model.SerializeToString()


def _diverged() -> bytes:
    model = onnx_net()
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == "weights")
    values = numpy_helper.to_array(weights).copy()
    values.flat[3] = np.inf
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("name", "content", "fragments"),
    [
        ("net.pt", b"PK", ["is none of", "docs/pytorch.md"]),
        ("net.onnx", b"\xff\xff nothing", ["not a readable ONNX model"]),
        ("net.onnx", onnx_net().SerializeToString()[:400], ["net.onnx"]),
        ("net.onnx", _wrong_shape(), ["the constant 'weights' cannot be read"]),
        ("net.onnx", _open_height(), ["dimension 2 of the input 'image' is open (height)"]),
        ("net.onnx", _integers(), ["is int32, not float"]),
        ("net.onnx", _diverged(), ["(Conv) makes", "NaN or infinite", "the training diverged"]),
        ("net.tflite", b"nothing", ["net.tflite"]),
        (
            "net.tflite",
            (Path(__file__).parents[1] / "examples/digits/digits.tflite").read_bytes(),
            ["already quantised"],
        ),
    ],
)
def test_what_cannot_be_quantised_is_told_in_words(
    name: str, content: bytes, fragments: list[str], tinygen: Run, tmp_path: Path
) -> None:
    model, data = tmp_path / name, labelled(tmp_path / "data.npz")
    model.write_bytes(content)
    out = tmp_path / f"int8{model.suffix}"
    code, _, err = tinygen("quantize", model, "--data", data, "-o", out)
    assert code == 1
    for fragment in fragments:
        assert fragment in err
    assert not out.exists()


def test_damaged_onnx_is_told_in_words(tmp_path: Path) -> None:
    """Bytes of the structure are changed, before and behind the weights."""
    whole = onnx_net().SerializeToString()
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.choice([*range(420), *range(len(whole) - 200, len(whole))], rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        path = tmp_path / "net.onnx"
        path.write_bytes(damaged)
        try:
            model = onnx_float.prepared(path)
            onnx_float.inputs_of(path, model)
            onnx_float.outputs_of(path, model)
        except ModelError as error:
            assert str(path) in error.message
            refused += 1
    assert 50 < refused < 300


def test_quantised_onnx_is_not_quantised_again(made: Quantised, tinygen: Run, tmp_path: Path) -> None:
    model, data = tmp_path / "int8.onnx", labelled(tmp_path / "data.npz")
    model.write_bytes(made.data)
    code, _, err = tinygen("quantize", model, "--data", data, "-o", tmp_path / "twice.onnx")
    assert code == 1
    assert "already quantised" in err
    code, _, err = tinygen("quantize", model, "--data", data, "-o", tmp_path / "twice.tflite")
    assert code == 2
    assert f"-o {tmp_path / 'twice.onnx'}" in err


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_a_float_model_is_refused_with_the_command_that_quantises_it(suffix: str, tinygen: Run, tmp_path: Path) -> None:
    model, data = tmp_path / f"a net.{suffix}", tmp_path / "data.npy"
    model.write_bytes(onnx_net().SerializeToString() if suffix == "onnx" else tflite_net())
    np.save(data, samples(40) if suffix == "onnx" else samples(40, (6,)))
    code, _, err = tinygen("build", model, "-o", tmp_path / "out")
    assert code == 1
    assert "1 thing tinygen cannot build" in err
    (command,) = re.findall(r"\(quantise it: (.*)\)$", err, re.MULTILINE)
    _, *arguments = shlex.split(command)
    places = {"SAMPLES": data, f"a net_int8.{suffix}": tmp_path / f"a net_int8.{suffix}"}
    assert places.keys() <= set(arguments)
    code, _, err = tinygen(*(places.get(argument, argument) for argument in arguments))
    assert code == 0, err
    pipeline.read(tmp_path / f"a net_int8.{suffix}")


def test_older_opsets_are_converted(tmp_path: Path) -> None:
    model = save(onnx_net(opset=11), tmp_path / "net.onnx")
    found = quantise(model, Wish(labelled(tmp_path / "data.npz")), tmp_path / "int8.onnx", BOARD)
    assert found.figures.agreement is not None
    assert found.figures.agreement > 0.9


def test_a_channel_that_dwarfs_the_others_is_found(tmp_path: Path) -> None:
    """int8 has one scale for all channels of an activation: where one is a hundred times larger, the others vanish."""
    even, uneven = (
        quantise(
            save(onnx_net(spread=spread), tmp_path / f"net{spread}.onnx"),
            Wish(labelled(tmp_path / "data.npz")),
            tmp_path / "int8.onnx",
            BOARD,
        )
        for spread in (1.0, 300.0)
    )
    assert min(found for found in even.figures.sqnr_db.values() if found) > 25
    assert even.figures.layers[0].headroom < uneven.figures.layers[0].headroom
