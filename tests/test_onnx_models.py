"""ONNX models give what ONNX Runtime gives, byte for byte: networks in every form, and graphs of other exporters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from building import build_read, differences, host, original, varied
from onnx import TensorProto
from onnx_nets import KINDS, NETS, Net, quantised_net
from shared import needs_shared_models, shared_model_files, shared_models

from tinygen import pipeline, reference
from tinygen.errors import FloatModel, UnsupportedModel
from tinygen.ir import Array, Graph
from tinygen.ops.float_expression import FloatExpression
from tinygen.ops.quantize import Quantize
from tinygen.options import ONNXRUNTIME, Options

INPUTS = 100


def session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def full_range(graph: Graph, rng: np.random.Generator) -> list[Array]:
    """Inputs all over the range of the integers that they become, on their steps, between them, and beyond."""
    arrays = []
    for name in graph.inputs:
        tensor = graph.tensors[name]
        if tensor.dtype != np.float32:
            limits = np.iinfo(str(tensor.dtype))
            arrays.append(rng.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype))
            continue
        op = next(node.op for node in graph.nodes if name in node.inputs)
        if isinstance(op, FloatExpression):
            arrays.append(rng.normal(size=tensor.shape).astype(np.float32))
            continue
        assert isinstance(op, Quantize)
        steps = rng.integers(-132, 133, tensor.shape) - op.zero_point + rng.choice([0, 0.5, rng.random()])
        arrays.append((steps * np.float32(op.scale)).astype(np.float32))
    return arrays


def assert_equal(data: bytes, count: int = INPUTS) -> pipeline.Model:
    """The reference gives ONNX Runtime's outputs."""
    model = pipeline.decode(data, "net.onnx")
    runtime = session(data)
    rng = np.random.default_rng(0)
    for _ in range(count):
        arrays = full_range(model.graph, rng)
        names = [value.name for value in runtime.get_inputs()]
        wanted = runtime.run(None, dict(zip(names, arrays, strict=True)))
        values = reference.evaluate(model.graph, arrays)
        for name, expected in zip(model.graph.outputs, wanted, strict=True):
            assert values[name].dtype == expected.dtype
            np.testing.assert_array_equal(values[name], expected)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_networks_equal_onnx_runtime(name: str, kind: str, tmp_path: Path) -> None:
    assert assert_equal(quantised_net(name, kind, tmp_path)).options.profile == ONNXRUNTIME


@pytest.mark.parametrize("name", NETS)
def test_networks_in_c_equal_the_reference(name: str, tmp_path: Path) -> None:
    model = pipeline.decode(quantised_net(name, "qdq_u8_s8", tmp_path), "net.onnx")
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


@needs_shared_models
@pytest.mark.parametrize("path", [p for p in shared_model_files(".onnx") if "_f32" not in p.name], ids=lambda p: p.stem)
def test_real_models_equal_onnx_runtime(path: Path) -> None:
    assert_equal(path.read_bytes(), 20)


@needs_shared_models
def test_a_float_model_is_told_to_be_quantised() -> None:
    folder = shared_models()
    assert folder is not None
    path = folder / "onnx" / "cnnA_f32.onnx"
    with pytest.raises(FloatModel, match="computes in float") as caught:
        pipeline.read(path)
    assert len(caught.value.problems) == 1 and f"tinygen quantize {path}" in caught.value.problems[0].remedy


# Graphs by hand

X_SCALE, Y_SCALE = 0.02, 0.1
SCALES = np.array([0.004, 0.001, 0.01, 0.0075, 0.002, 0.003], np.float32)


def image(dtype: type[np.generic] = np.int8, zero_point: int = 3) -> tuple[Net, str]:
    net = Net([1, 4, 7, 6], 5)
    return net, net.quantised("x", X_SCALE, zero_point, dtype)


def row(*shape: int) -> tuple[Net, str]:
    net = Net(shape or [1, 20], 6)
    return net, net.quantised("x", X_SCALE, 3)


def finished(net: Net, y: str, dtype: type[np.generic] = np.int8, zero_point: int = 5, scale: float = Y_SCALE) -> bytes:
    return net.model(net.quantised(y, scale, zero_point, dtype))


def conv(net: Net, x: str, bias: str | None = None, **attributes: object) -> str:
    """Six filters for four channels."""
    weights = net.weights(6, 4, 3, 3, scale=SCALES)
    return net.add("Conv", x, weights, *([] if bias is None else [bias]), **attributes)


def int32_bias(net: Net, scale: object) -> str:
    return net.weights(6, scale=scale, dtype=np.int32)


def float_bias() -> bytes:
    net, x = image()
    return finished(net, conv(net, x, net.constant(net.rng.normal(size=6))))


def bias_in_scale() -> bytes:
    net, x = image()
    return finished(net, conv(net, x, int32_bias(net, SCALES * np.float32(X_SCALE))))


def one_quantiser_for_two() -> bytes:
    """QuantizeLinear with constants of its own, but the same."""
    net, x = image()
    y = conv(net, x)
    return finished(net, net.add("Add", *(net.quantised(y, Y_SCALE, 5) for _ in range(2))), scale=0.2)


def relu_of_the_range() -> bytes:
    net, x = image()
    return finished(net, net.add("Relu", conv(net, x)), zero_point=-128)


def relu_in_the_range() -> bytes:
    net, x = image()
    return finished(net, net.add("Relu", conv(net, x)))


def clip() -> bytes:
    net, x = image(np.uint8, 120)
    y = net.add("Clip", conv(net, x), net.constant(0), net.constant(6))
    return finished(net, y, np.uint8, 0, 6 / 255)


def bounds_that_are_quantised() -> bytes:
    """As tools write Clip that quantise all constants; also of integers, whose bounds others read, too."""
    net, x = image(np.uint8, 120)
    bounds = [net.add("DequantizeLinear", net.constant(code, np.uint8), *_quant(net)) for code in (7, 207)]
    y = net.quantised(net.add("Clip", conv(net, x), *bounds), 6 / 255, 0, np.uint8)
    bounds = [net.add("DequantizeLinear", net.constant(code, np.uint8), *_quant(net)) for code in (20, 99)]
    y = net.quantised(net.add("Clip", y, *bounds), 0.0213, 3, np.uint8)
    return finished(net, net.add("Mul", y, bounds[1]), np.uint8, scale=0.0413)


def _quant(net: Net) -> tuple[str, str]:
    return net.constant(0.03), net.constant(7, np.uint8)


def asymmetric_weights() -> bytes:
    net, x = image(np.uint8, 120)
    weights = net.weights(6, 4, 2, 3, dtype=np.uint8, zero_point=20)
    return finished(net, net.add("Conv", x, weights, strides=[1, 2]), np.uint8)


def pairs_in_a_row() -> bytes:
    net, x = row()
    return finished(net, net.add("MatMul", net.quantised(x, 0.034, -20), net.weights(20, 6, scale=SCALES, axis=1)))


def added_bias() -> bytes:
    net, x = row()
    y = net.add("MatMul", x, net.weights(20, 6))
    return finished(net, net.add("Add", net.constant(net.rng.normal(size=6)), y))


def turned_weights() -> bytes:
    net, x = row()
    weights = net.add("Transpose", net.weights(6, 20), perm=[1, 0])
    return finished(net, net.add("MatMul", x, weights))


def rows_of_rows() -> bytes:
    net, x = row(2, 3, 20)
    return finished(net, net.add("MatMul", x, net.weights(20, 6, scale=SCALES, axis=1)))


def constant_first() -> bytes:
    net, x = row(20, 5)
    return finished(net, net.add("MatMul", net.weights(6, 20), x))


def gemm_turned() -> bytes:
    net, x = row(20, 5)
    return finished(net, net.add("Gemm", x, net.weights(6, 20, scale=SCALES), transA=1, transB=1))


def float_weights_quantised() -> bytes:
    """Weights that the file holds in float, before QuantizeLinear."""
    net, x = row()
    weights = net.quantised(net.random(20, 6), 0.01, 0)
    return finished(net, net.add("MatMul", x, weights))


def moved_before_quantising() -> bytes:
    net = Net([1, 4, 42], 7)
    x = net.add("Transpose", net.add("Reshape", "x", net.constant([1, 6, 7, 4], np.int64)), perm=[0, 3, 2, 1])
    return finished(net, conv(net, net.quantised(x, X_SCALE, 3)))


def functions_that_are_moved() -> bytes:
    """What quantize_static leaves in float until the next Conv: HardSwish, MaxPool and a change of layout."""
    net, x = image()
    y = net.add("HardSwish", net.quantised(conv(net, x), Y_SCALE, 5))
    y = net.add("MaxPool", y, kernel_shape=[2, 2], pads=[1, 0, 0, 1])
    y = net.quantised(net.add("Transpose", y, perm=[0, 1, 3, 2]), 0.06, -120)
    return finished(net, net.add("Conv", y, net.weights(3, 6, 2, 2)), scale=0.3)


def results_that_are_moved() -> bytes:
    """QuantizeLinear behind a move: ONNX Runtime takes it to the Conv."""
    net, x = image(np.uint8, 120)
    y = net.add("Transpose", net.add("Relu", conv(net, x)), perm=[0, 1, 3, 2])
    y = net.quantised(net.add("MaxPool", y, kernel_shape=[2, 2]), 0.0713, 0, np.uint8)
    y = net.add("Reshape", net.add("Conv", y, net.weights(3, 6, 2, 2)), net.constant([1, -1], np.int64))
    return finished(net, y, np.uint8, scale=0.731)


def sum_that_is_moved() -> bytes:
    """QuantizeLinear behind Flatten stays there, so that Add is not fused."""
    net, x = image(np.uint8, 120)
    y = net.quantised(conv(net, x), 0.0713, 100, np.uint8)
    return finished(net, net.add("Flatten", net.add("Add", y, net.quantised(y, 0.0517, 80, np.uint8))), np.uint8)


def pooled_before_quantising() -> bytes:
    """Twice, for operators of other scales."""
    net = Net([1, 4, 9, 8], 7)
    y, z = (net.quantised(net.add("MaxPool", "x", kernel_shape=[2, 2]), scale, 3) for scale in (X_SCALE, 0.013))
    y, z = (net.quantised(net.add("Conv", a, net.weights(3, 4, 1, 1)), 0.1, 0) for a in (y, z))
    return net.model(net.quantised(net.add("Concat", y, z, axis=1), 0.1, 0))


def shortcut_behind_a_move() -> bytes:
    """int8 that MaxPool makes and several read stays int8, so that Mul is not fused."""
    net, x = image(np.uint8, 120)
    y = net.quantised(conv(net, x), Y_SCALE, 5)
    x = net.quantised(net.add("MaxPool", y, kernel_shape=[2, 2]), Y_SCALE, 5)
    y = net.quantised(net.add("Tanh", x), 0.0077, -3)
    return finished(net, net.add("Mul", x, y), scale=0.0313)


def sum_and_extremes() -> bytes:
    net, x = image(np.uint8, 120)
    parts = [net.quantised(conv(net, x), scale, 100, np.uint8) for scale in (0.0973, 0.0751, 0.0317)]
    total = net.quantised(net.add("Sum", *parts[:2]), 0.113, 90, np.uint8)
    least = net.quantised(net.add("Min", *parts, total), 0.0413, 200, np.uint8)
    return finished(net, net.add("Max", total, least, parts[2]), np.uint8, 80, 0.0521)


def mean_over_time() -> bytes:
    """Of frames that follow each other, as recurrent networks have them."""
    net, x = row(1, 30, 20)
    y = net.quantised(net.add("MatMul", x, net.weights(20, 6, scale=SCALES, axis=1)), 0.0713, 4)
    return finished(net, net.add("ReduceMean", y, axes=[1], keepdims=0), scale=0.0213)


def average_of_the_whole_image() -> bytes:
    """Of an even number of pixels, so that ties occur: ONNX Runtime adds integers then, without the name Global."""
    net = Net([1, 30, 4, 6], 5)
    x = net.quantised("x", 0.013454736, 0, np.uint8)
    y = net.quantised(net.add("AveragePool", x, kernel_shape=[4, 6]), 0.013454736, 0, np.uint8)
    return finished(net, net.add("Gemm", net.add("Flatten", y), net.weights(30, 6)), np.uint8, scale=0.0723)


def maximum_in_another_scale() -> bytes:
    net, x = image()
    return finished(net, net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), scale=0.05)


def uint8_edges() -> bytes:
    net = Net([1, 4, 7, 6], 8, TensorProto.UINT8)
    x = net.add("DequantizeLinear", "x", net.constant(X_SCALE), net.constant(100, np.uint8))
    y = net.add("Relu", conv(net, x))
    return net.model(net.add("QuantizeLinear", y, net.constant(Y_SCALE), net.constant(0, np.uint8)))


def int8_edges() -> bytes:
    net = Net([1, 4, 7, 6], 8, TensorProto.INT8)
    x = net.add("DequantizeLinear", "x", net.constant(X_SCALE), net.constant(10, np.int8))
    return net.model(net.add("QuantizeLinear", conv(net, x), net.constant(Y_SCALE), net.constant(0, np.int8)))


def shape_that_is_computed() -> bytes:
    """As exporters write flatten for a batch that is open."""
    net, x = image()
    y = net.quantised(conv(net, x), Y_SCALE, 5)
    batch = net.add("Gather", net.add("Shape", y), net.constant(0, np.int64), axis=0)
    first = net.add("Unsqueeze", batch, net.constant([0], np.int64))
    y = net.add("Reshape", y, net.add("Concat", first, net.constant([-1], np.int64), axis=0))
    return finished(net, net.add("Gemm", y, net.weights(120, 6)), scale=0.5)


def parts_of_other_scales() -> bytes:
    net, x = image()
    y = net.quantised(conv(net, x), 0.07, -9)
    z = net.quantised(net.add("Conv", x, net.weights(2, 4, 3, 3)), 0.2, 0)
    return finished(net, net.add("Concat", y, z, axis=1))


def grown_image() -> bytes:
    """A decoder's layers; Relu cuts into the range, which float32 takes no notice of."""
    net, x = image(np.uint8, 120)
    y = net.quantised(conv(net, x), Y_SCALE, 100, np.uint8)
    weights = net.weights(6, 3, 4, 4, scale=SCALES[:3], axis=1)
    bias = net.weights(3, scale=SCALES[:3] * np.float32(Y_SCALE), dtype=np.int32)
    y = net.add("Relu", net.add("ConvTranspose", y, weights, bias, strides=[2, 2], pads=[1, 1, 1, 1]))
    y = net.quantised(y, 0.7, 30, np.uint8)
    return finished(net, net.add("ConvTranspose", y, net.weights(3, 2, 2, 2), strides=[2, 2]), np.uint8, scale=0.8)


def names_like_ours() -> bytes:
    net, x = image()
    y = net.quantised(conv(net, x), Y_SCALE, 5)
    data = finished(net, net.add("MaxPool", y, kernel_shape=[2, 2]))
    return data.replace(b"\x02t3", b"\x02t~")  # of the same length


GRAPHS = [
    float_bias,
    bias_in_scale,
    relu_of_the_range,
    clip,
    bounds_that_are_quantised,
    asymmetric_weights,
    pairs_in_a_row,
    added_bias,
    turned_weights,
    rows_of_rows,
    constant_first,
    gemm_turned,
    float_weights_quantised,
    moved_before_quantising,
    functions_that_are_moved,
    results_that_are_moved,
    sum_that_is_moved,
    pooled_before_quantising,
    shortcut_behind_a_move,
    sum_and_extremes,
    mean_over_time,
    average_of_the_whole_image,
    maximum_in_another_scale,
    uint8_edges,
    int8_edges,
    shape_that_is_computed,
    parts_of_other_scales,
    grown_image,
    names_like_ours,
]


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_what_exporters_write_equals_onnx_runtime(make: Callable[[], bytes]) -> None:
    assert_equal(make(), 40)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("op", ["Conv", "MaxPool"])
def test_windows_equal_onnx_runtime(op: str, mode: str) -> None:
    rng = np.random.default_rng(len(op + mode))
    for _ in range(6):
        kernel = rng.integers(1, 4, 2).tolist()
        strides = [int(rng.integers(1, size + 1)) for size in kernel]
        at: dict[str, object] = {"kernel_shape": kernel, "strides": strides, "auto_pad": mode}
        if mode == "NOTSET":
            at["pads"] = [int(rng.integers(0, size)) for size in (*kernel, *kernel)]
        net, x = image()
        inputs = [x] if op == "MaxPool" else [x, net.weights(3, 4, *kernel)]
        assert_equal(finished(net, net.add(op, *inputs, **at), scale=0.05), 5)


SIZES: list[dict[str, object]] = [
    {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER"},
    {"auto_pad": "VALID"},
    {"pads": [1, 0, 0, 1]},
    {"output_padding": [1, 0]},
    {"output_shape": [13, 12]},
    {"output_shape": [13, 11], "auto_pad": "SAME_UPPER"},
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "-".join(map(str, size.values())))
def test_windows_backwards_equal_onnx_runtime(size: dict[str, object]) -> None:
    for kernel in ([2, 3], [3, 4], [4, 2]):
        net, x = image()
        y = net.add("ConvTranspose", x, net.weights(4, 3, *kernel), strides=[2, 2], **size)
        assert not assert_equal(finished(net, y), 5).graph.notes


@pytest.mark.parametrize("op, axis, keepdims", [("ArgMax", 1, 0), ("ArgMin", -1, 1)])
def test_places_of_extremes_are_int32(op: str, axis: int, keepdims: int, tmp_path: Path) -> None:
    """The same as ONNX Runtime's, which are int64."""
    net, x = image()
    y = net.quantised(conv(net, x), 20 * Y_SCALE, 5)  # with ties
    data = net.model(net.add(op, y, axis=axis, keepdims=keepdims))
    model, runtime = pipeline.decode(data, "net.onnx"), session(data)
    assert model.graph.tensors[model.graph.outputs[0]].dtype == np.int32
    rng = np.random.default_rng(0)
    for _ in range(5):
        arrays = full_range(model.graph, rng)
        (expected,) = runtime.run(None, {"x": arrays[0]})
        (found,) = reference.outputs(model.graph, arrays)
        np.testing.assert_array_equal(found, expected)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 3), host(built), original(built))


def interpolated(dtype: type[np.generic], sizes: Sequence[int], mode: str) -> bytes:
    """Integers, as models in QOperator form have them."""
    net = Net([1, 4, 5, 6], 1)
    quant = net.constant(X_SCALE), net.constant(3, dtype)
    x = net.add("QuantizeLinear", "x", *quant)
    wanted = net.constant([1, 4, *sizes], np.int64)
    x = net.add("Resize", x, "", "", wanted, mode="linear", coordinate_transformation_mode=mode)
    return net.model(net.add("DequantizeLinear", x, *quant))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(
    ("sizes", "mode"),
    [((10, 12), "half_pixel"), ((10, 24), "pytorch_half_pixel"), ((5, 48), "asymmetric"), ((9, 11), "align_corners")],
)
def test_integers_are_interpolated(dtype: type[np.generic], sizes: Sequence[int], mode: str, tmp_path: Path) -> None:
    """ONNX Runtime does not round to the nearest integer there, but towards zero, which is down for uint8."""
    built = build_read(pipeline.decode(interpolated(dtype, sizes, mode), "net.onnx"), tmp_path)
    assert not differences(built, varied(built, 3), host(built), original(built))


def test_integers_are_not_interpolated_by_any_share() -> None:
    with pytest.raises(UnsupportedModel, match="QDQ form"):
        pipeline.decode(interpolated(np.uint8, (10, 11), "align_corners"), "net.onnx")


def test_the_interface_can_be_int8(tmp_path: Path) -> None:
    """Without QuantizeLinear and DequantizeLinear at the edges, also where values are moved before."""
    model = pipeline.decode(moved_before_quantising(), "net.onnx", Options(io="int8"))
    tensors = [model.graph.tensors[name] for name in (*model.graph.inputs, *model.graph.outputs)]
    assert [tensor.dtype for tensor in tensors] == [np.int8, np.int8]
    assert tensors[0].quant is not None and tensors[0].quant.scale == np.float32(X_SCALE)


def test_an_open_batch_is_chosen() -> None:
    net = Net(["n", 4, 7, 6], 5)
    data = finished(net, conv(net, net.quantised("x", X_SCALE, 3)))
    for batch in (None, 3):
        graph = pipeline.decode(data, "net.onnx", Options(batch=batch)).graph
        assert graph.tensors[graph.inputs[0]].shape == (batch or 1, 4, 7, 6)
        assert graph.tensors[graph.outputs[0]].shape[0] == (batch or 1)


@pytest.mark.parametrize("opset", [10, 11, 13, 21])
def test_opsets(opset: int) -> None:
    net = Net([1, 4, 7, 6], 5)
    x = net.quantised("x", X_SCALE, 3)
    y = net.quantised(net.add("Conv", x, net.weights(6, 4, 3, 3)), Y_SCALE, 5)
    y = net.add("MaxPool", y, kernel_shape=[2, 2])
    assert_equal(net.model(net.quantised(y, Y_SCALE, 5), opset=opset), 5)


@pytest.mark.parametrize(
    "make", [relu_in_the_range, one_quantiser_for_two, relu_of_the_range, grown_image], ids=lambda make: make.__name__
)
def test_what_may_be_computed_in_float_there_is_the_same(make: Callable[[], bytes]) -> None:
    """Also where something keeps ONNX Runtime from fusing."""
    assert not any("float32" in note for note in assert_equal(make(), 20).graph.notes)
