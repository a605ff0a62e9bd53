"""Models as other tools write them, imitated: each gives ONNX Runtime's bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_nets import NETS, Net, quantised_net
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.real_conv import RealConv
from tinygen.ops.real_product import RealProduct

X_SCALE, Y_SCALE = 0.02, 0.1


def torch_quantised(net: Net, x: str, scale: float) -> str:
    """As quantised modules of PyTorch are exported: a Cast to the type that is there, constants of their own."""
    quantised = net.add("QuantizeLinear", x, net.constant(scale), net.constant(7, np.uint8))
    same = net.add("Cast", quantised, to=TensorProto.UINT8)
    return net.add("DequantizeLinear", same, net.constant(scale), net.constant(7, np.uint8))


def test_a_cast_to_the_same_type_is_nothing() -> None:
    net = Net([1, 4, 7, 6], 5)
    x = torch_quantised(net, "x", X_SCALE)
    bias_zero = net.add("Cast", net.constant(np.zeros(6), np.int32), to=TensorProto.INT32)
    bias = net.add(
        "DequantizeLinear",
        net.constant(net.rng.integers(-900, 900, 6), np.int32),
        net.constant(np.full(6, np.float32(X_SCALE) * np.float32(0.01))),
        bias_zero,
        axis=0,
    )
    y = net.add("Relu", net.add("Conv", x, net.weights(6, 4, 3, 3, scale=[0.01] * 6), bias))
    y = net.add("Flatten", torch_quantised(net, y, Y_SCALE))
    model = assert_equal(net.model(torch_quantised(net, y, Y_SCALE)), 20)
    assert not any("float32" in note for note in model.graph.notes)


@pytest.mark.parametrize("kind", ["qdq_u8_s8", "qdq_s8_channels", "qoperator_u8_u8"])
@pytest.mark.parametrize("name", NETS)
def test_what_onnx_runtime_saves_with_channels_last(name: str, kind: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    original = quantised_net(name, kind, tmp_path)
    onnxruntime.InferenceSession(original, options, providers=["CPUExecutionProvider"])
    saved = (tmp_path / "optimised.onnx").read_bytes()
    assert b"channels_last" in saved
    assert len(assert_equal(saved, 20).graph.nodes) == len(assert_equal(original, 1).graph.nodes)


def changed(name: str, kind: str, folder: Path, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(quantised_net(name, kind, folder))
    change(model)
    return bytes(model.SerializeToString())


def with_functions(model: onnx.ModelProto) -> None:
    """Relu, and what quantises a value and makes it real again, are functions of the file; one calls the other."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(model.graph.node):
        following = readers.get(node.output[0], [])
        if node.op_type == "QuantizeLinear" and [reader.op_type for reader in following] == ["DequantizeLinear"]:
            pair = helper.make_node("Pair", node.input, following[0].output, domain="local")
            following[0].CopyFrom(pair)
            model.graph.node.remove(node)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    ends = [("QuantizeLinear", ["a", "scale", "zero"], "b"), ("DequantizeLinear", ["b", "scale", "zero"], "c")]
    nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in ends]
    inner = helper.make_node("Inner", ["a", "scale", "zero"], ["c"], domain="local")
    model.functions.append(helper.make_function("local", "Inner", ["a", "scale", "zero"], ["c"], nodes, opsets))
    model.functions.append(helper.make_function("local", "Pair", ["a", "scale", "zero"], ["c"], [inner], opsets))
    model.opset_import.append(opsets[1])


def named_domain(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.domain = node.domain or "ai.onnx"


def constants_as_inputs(model: onnx.ModelProto) -> None:
    values = [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in model.graph.initializer]
    model.graph.input.extend(values)


@pytest.mark.parametrize("change", [with_functions, named_domain])
@pytest.mark.parametrize("kind", ["qdq_u8_s8", "qdq_s8_channels"])
def test_other_forms_of_a_file_are_the_same(
    kind: str, change: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    model = assert_equal(changed("residual", kind, tmp_path, change), 10)
    assert len(model.graph.nodes) == len(assert_equal(quantised_net("residual", kind, tmp_path), 1).graph.nodes)


def test_constants_that_may_be_given_are_noted(tmp_path: Path) -> None:
    given = changed("residual", "qdq_s8_channels", tmp_path, constants_as_inputs)
    assert any("listed as its inputs" in note for note in pipeline.decode(given, "net.onnx").graph.notes)

    def old_format(model: onnx.ModelProto) -> None:
        constants_as_inputs(model)
        model.ir_version = 3

    model = assert_equal(changed("residual", "qdq_s8_channels", tmp_path, old_format), 10)
    assert not any("listed as its inputs" in note for note in model.graph.notes)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_a_bias_of_eight_bits(dtype: type[np.generic]) -> None:
    """ONNX Runtime does not fuse it, in Conv and Gemm."""
    net = Net([1, 4, 7, 6], 5)
    x = net.quantised("x", X_SCALE, 3, np.uint8)
    y = net.add("Conv", x, net.weights(6, 4, 3, 3), net.weights(6, scale=0.125, dtype=dtype, zero_point=2))
    y = net.quantised(net.add("Relu", y), 0.0625, 0, np.uint8)
    y = net.quantised(net.add("Flatten", y), 0.0625, 0, np.uint8)
    y = net.add("Gemm", y, net.weights(5, 120), net.weights(5, scale=0.25, dtype=dtype), transB=1)
    model = assert_equal(net.model(net.quantised(y, Y_SCALE, 128, np.uint8)), 40)
    assert sum(isinstance(node.op, FloatConv) for node in model.graph.nodes) == 2


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("bias", ["none", "int32", "float"])
def test_results_that_stay_float32(bias: str, dtype: type[np.generic]) -> None:
    """Conv before an addition, as PyTorch's quantiser for x86 has it, and the last layer of a classifier."""
    net = Net([1, 4, 7, 6], 5)
    zero = 3 if dtype == np.int8 else 131
    x = net.quantised("x", X_SCALE, zero, dtype)

    def biases(filters: int, scale: float) -> list[str]:
        given = {
            "int32": lambda: net.weights(filters, scale=scale, dtype=np.int32),
            "float": lambda: net.random(filters),
        }
        return [] if bias == "none" else [given[bias]()]

    y = net.add("Conv", x, net.weights(4, 4, 3, 3, scale=[0.01] * 4), *biases(4, X_SCALE * 0.01), pads=[1] * 4)
    y = net.quantised(net.add("Relu", net.add("Add", y, x)), 0.25, zero, dtype)
    y = net.add("Reshape", y, net.constant([1, -1], np.int64))
    y = net.quantised(y, 0.25, zero, dtype)
    model = assert_equal(net.model(net.add("Gemm", y, net.weights(5, 168), *biases(5, 0.25 * 0.01), transB=1)), 20)
    found = [type(node.op) for node in model.graph.nodes]
    assert found.count(RealConv) == 1 + (bias == "float") and found.count(RealProduct) == (bias != "float")
