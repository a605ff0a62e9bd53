"""What ONNX Runtime does not fuse, so that it is computed in float32.

A result is uint8 and its input int8, a bias counts otherwise, or no QuantizeLinear stands between pools and a function.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx import TensorProto
from onnx_nets import KINDS, Net, quantised
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.interval import Interval
from tinygen.ir import Tensor
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_mean import FloatMean, MeanOrder
from tinygen.ops.reduce import Mean

STEP = 0.1
"""Of inputs and most outputs, so that many means end in ties: float32 does not have it exactly."""
POOLS: list[dict[str, Any]] = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 2], "pads": [1, 1, 1, 0]},
    {"kernel_shape": [3, 4], "strides": [1, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    {"kernel_shape": [9, 10]},
    {"kernel_shape": [9, 10], "strides": [2, 2]},
]


def pools(opset: int) -> bytes:
    """Several of one input."""
    net = Net([1, 3, 9, 10], 3, TensorProto.INT8)
    x = net.add("DequantizeLinear", "x", net.constant(STEP), net.constant(3, np.int8))
    results = [net.add("AveragePool", x, **pool) for pool in POOLS]
    results += [net.add("GlobalAveragePool", x), net.add("Relu", net.add("AveragePool", x, kernel_shape=[2, 2]))]
    quant = net.constant(STEP), net.constant(125, np.uint8)
    outputs = [net.add("QuantizeLinear", result, *quant) for result in results]
    return net.model(*outputs, opset=opset)


@pytest.mark.parametrize("opset", [18, 19])
def test_pools_equal_onnx_runtime(opset: int, tmp_path: Path) -> None:
    """Of older opsets, it adds up columns first, where it has vectors for them."""
    model = assert_equal(pools(opset), 15)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0]])
def test_a_window_of_the_whole_image_is_a_mean_of_all_without_a_border(pads: list[int]) -> None:
    net = Net([1, 3, 9, 10], 3)
    x = net.quantised("x", STEP, 100, np.uint8)
    y = net.quantised(net.add("AveragePool", x, kernel_shape=[9, 10], pads=pads), STEP / 8, 90, np.uint8)
    model = assert_equal(net.model(y), 10)
    assert (Mean in {type(node.op) for node in model.graph.nodes}) == (not any(pads))


def test_softmax_equals_onnx_runtime(tmp_path: Path) -> None:
    net = Net([4, 19], 3, TensorProto.INT8)
    x = net.add("DequantizeLinear", "x", net.constant(0.05), net.constant(3, np.int8))
    y = net.add("QuantizeLinear", net.add("Softmax", x), net.constant(1 / 256), net.constant(0, np.uint8))
    model = assert_equal(net.model(y), 20)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


@pytest.mark.parametrize("is_small", [False, True])
@pytest.mark.parametrize("off", [0.009, 0.012])
def test_a_bias_counts_in_the_steps_of_products_to_a_hundredth(off: float, is_small: bool) -> None:
    """And to a millionth beside: beyond, ONNX Runtime leaves the layer in float32."""
    step = 1e-3 if is_small else 0.1  # of inputs; of products a hundredth of that
    beside = 1e-6 if is_small else 0.0
    net = Net([1, 4, 7, 6], 3)
    x = net.quantised("x", step, 3)
    unit = float(np.float32(step) * np.float32(0.01))
    bias = net.add(
        "DequantizeLinear",
        net.constant(net.rng.integers(-9_000, 9_000, 5), np.int32),
        net.constant(unit * (1 + off) + beside),
        net.constant(0, np.int32),
    )
    y = net.add("Conv", x, net.weights(5, 4, 3, 3), bias)
    model = assert_equal(net.model(net.quantised(y, step, 5)), 20)
    assert (FloatConv in {type(node.op) for node in model.graph.nodes}) == (off > 0.01)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("qdq")])
def test_layers_that_share_weights_equal_onnx_runtime(kind: str, per_channel: bool, tmp_path: Path) -> None:
    """By Identity, as exporters write it: the quantiser takes the second layer's for activations."""
    net = Net([1, 4, 7, 6], 11)
    weights, bias = net.random(4, 4, 3, 3), net.random(4)
    x = net.add("Relu", net.add("Conv", "x", weights, bias, pads=[1, 1, 1, 1]))
    x = net.add("Conv", x, net.add("Identity", weights), bias, pads=[1, 1, 1, 1])
    form, activations, of_weights, _ = KINDS[kind]
    data = quantised(
        net,
        x,
        tmp_path,
        quant_format=form,
        activation_type=activations,
        weight_type=of_weights,
        per_channel=per_channel,
    )
    model = assert_equal(data, 15)
    assert any(isinstance(node.op, FloatConv) for node in model.graph.nodes)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


@pytest.mark.parametrize("scale", [0.01, [0.01, 0.011, 0.009, 0.01]])
@pytest.mark.parametrize(("off", "is_fused"), [(1.0, True), (1.05, True), (0.95, True), (1.07, False), (0.9, False)])
def test_how_far_a_bias_may_be_off_is_as_in_onnx_runtime(scale: object, off: float, is_fused: bool) -> None:
    """A hundredth and a millionth: near enough, it counts as if it were not off."""
    net = Net([1, 3, 5, 4], 5)
    step = 0.002
    scales = np.asarray(scale, np.float32)
    biases = net.weights(4, scale=np.float32(off) * np.float32(step) * scales, dtype=np.int32)
    x = net.add("Conv", net.quantised("x", step, 3, np.uint8), net.weights(4, 3, 3, 3, scale=scales), biases)
    model = assert_equal(net.model(net.quantised(x, 0.01, 128, np.uint8)), 20)
    assert any(isinstance(node.op, FloatConv) for node in model.graph.nodes) != is_fused


FUNCTIONS: dict[str, Callable[[Net, str], str]] = {
    "relu": lambda net, x: net.add("Relu", x),
    "hard_swish": lambda net, x: net.add("HardSwish", x),
    "swish": lambda net, x: net.add("Mul", x, net.add("Sigmoid", x)),
    "falling": lambda net, x: net.add("Neg", net.add("LeakyRelu", x)),
}


def pooled_functions(function: Callable[[Net, str], str], opset: int) -> bytes:
    net = Net([1, 3, 9, 10], 3)
    x = net.quantised(net.add("Conv", net.quantised("x", STEP, 3), net.weights(4, 3, 3, 3)), STEP, 4)
    y = function(net, x)
    results = [net.add("AveragePool", y, **pool) for pool in (*POOLS[:3], {"kernel_shape": [7, 8]})]
    results += [net.add("GlobalAveragePool", y), net.add("Softmax", y, axis=-1)]
    if opset >= 18:
        axes = [net.constant(axes, np.int64) for axes in ([1], [2, 3])]
        results += [net.add("ReduceMean", y, axes[0]), net.add("ReduceSum", y, axes[1], keepdims=0)]
    return net.model(*(net.quantised(result, STEP, -7) for result in results), opset=opset)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_follows_a_function_equals_onnx_runtime(name: str, opset: int, tmp_path: Path) -> None:
    model = assert_equal(pooled_functions(FUNCTIONS[name], opset), 15)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


def test_what_follows_an_approximated_function_has_a_note() -> None:
    net = Net([1, 3, 9, 10], 3)
    y = net.add("GlobalAveragePool", net.add("Elu", net.quantised("x", STEP, 3)))
    (note,) = pipeline.decode(net.model(net.quantised(y, STEP, 3)), "net.onnx").graph.notes
    assert "approximates functions" in note and "Elu" in note


def test_results_lie_in_their_intervals_whatever_the_curve() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        curve = tuple(np.cumsum(rng.normal(size=256)).tolist())
        op = FloatMean(0.1, 0, 0.07, 4, (-128, 127), MeanOrder.FOURS, curve)
        low = rng.integers(-128, 100, 3)
        high = low + rng.integers(0, 28, 3)
        x = rng.integers(low, high + 1, (2, 2, 3, 3)).astype(np.int8)
        (bounds,) = op.intervals([Tensor("x", x.shape, x.dtype)], [Interval(low, high)])
        assert bounds.holds(op.reference(x)[0])
