"""Operators on float32 in a row, between quantised tensors: what quantisers leave out, is ONNX Runtime's to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import Built, build_read, differences, host, varied
from emulated_bench import Bench
from onnx import TensorProto
from onnx_nets import Net, quantised
from onnxruntime.quantization import QuantFormat, QuantType
from random_onnx_nets import random_net
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.ops.float_expression import FloatExpression

IMAGE = [1, 4, 5, 6]
Chain = Callable[[Net, str, str], str]
ROUND, UNEVEN = (0.04, 0.0625, 0.03), (0.0413, 0.0617, 0.0291)
"""Scales of two tensors and the result: those of which many sums are ties, and others."""


def _gate(net: Net, x: str) -> str:
    """One value for each channel."""
    return net.quantised(net.add("GlobalAveragePool", x), 0.03, 0)


def _truth(net: Net, x: str, y: str) -> str:
    """By every comparison, with a constant for each channel among them."""
    is_between = net.add("And", net.add("Greater", x, y), net.add("LessOrEqual", x, net.constant(0.9)))
    is_other = net.add("Xor", net.add("Less", x, net.random(4, 1, 1)), net.add("GreaterOrEqual", y, net.constant(0.2)))
    return net.add("Or", net.add("Not", net.add("Or", is_between, is_other)), net.add("Equal", x, net.add("Relu", y)))


CHAINS: dict[str, Chain] = {
    "sum": lambda net, x, y: net.add("Sum", x, y, net.random(6), net.add("Tanh", x)),
    "choice": lambda net, x, y: net.add("Where", net.add("Greater", x, y), x, y),
    "choice_by_one": lambda net, x, y: net.add("Where", net.add("Less", x, net.constant(0.2)), net.constant(-0.4), y),
    "choice_of_products": lambda net, x, y: net.add(
        "Add", net.add("Where", _truth(net, x, y), net.add("Mul", x, y), net.random(5, 1)), x
    ),
    "truth": lambda net, x, y: net.add("Cast", _truth(net, x, y), to=TensorProto.FLOAT),
    "opposite_product": lambda net, x, y: net.add("Add", net.add("Neg", net.add("Mul", x, y)), x),
    "three_tensors": lambda net, x, y: net.add("Add", net.add("Relu", net.add("Add", x, y)), net.add("Neg", y)),
    "functions_of_both": lambda net, x, y: net.add("Mul", net.add("HardSwish", x), net.add("Sigmoid", y)),
    "gate": lambda net, x, y: net.add("Mul", net.add("Relu", x), net.add("HardSigmoid", _gate(net, y))),
    "gate_then_sum": lambda net, x, y: net.add("Add", net.add("Mul", x, net.add("Sigmoid", _gate(net, y))), y),
    "positions": lambda net, x, y: net.add("Add", net.add("Max", x, y), net.random(1, *IMAGE[1:])),
    "positions_first": lambda net, x, y: net.add("Sub", net.random(*IMAGE[1:]), net.add("Mul", x, y)),
    "channels": lambda net, x, y: net.add(
        "Add", net.add("Mul", net.add("Add", x, y), net.random(4, 1, 1)), net.random(4, 1, 1)
    ),
    "columns": lambda net, x, y: net.add("Mul", net.constant(0.7), net.add("Div", net.add("Sub", x, y), net.random(6))),
    "normalised": lambda net, x, y: net.add(
        "BatchNormalization",
        net.add("Add", x, y),
        *(net.random(4) for _ in range(3)),
        net.constant(net.rng.uniform(0.5, 2, 4)),
    ),
    "cut": lambda net, x, y: net.add("Clip", net.add("Mul", x, y), net.constant(-0.3), net.constant(0.9)),
    "cut_above": lambda net, x, y: net.add("Clip", net.add("Mul", x, y), "", net.constant(0.2)),
    "leaky": lambda net, x, y: net.add("LeakyRelu", net.add("Sub", x, y), alpha=0.2),
    "slopes": lambda net, x, y: net.add("PRelu", net.add("Add", x, y), net.random(4, 1, 1)),
    "hard": lambda net, x, y: net.add("HardSwish", net.add("HardSigmoid", net.add("Add", x, y), alpha=0.3, beta=0.4)),
    "mean": lambda net, x, y: net.add("Mean", x, y, net.add("Abs", x)),
    "root": lambda net, x, y: net.add("Sqrt", net.add("Add", net.add("Mul", x, x), net.add("Mul", y, y))),
    "quotient_by_zero": lambda net, x, y: net.add("Div", net.add("Abs", x), net.add("Relu", y)),
    "moved": lambda net, x, y: net.add(
        "Add", net.add("Reshape", net.add("HardSwish", x), net.constant([1, 120], np.int64)), net.add("Flatten", y)
    ),
    "turned": lambda net, x, y: net.add(
        "Mul", net.add("Transpose", net.add("Add", x, y), perm=[0, 2, 3, 1]), net.random(5, 6, 4)
    ),
    "pooled_before": lambda net, x, y: net.add(
        "Add", *(net.add("MaxPool", net.add("Relu", each), kernel_shape=[2, 2]) for each in (x, y))
    ),
    "largest": lambda net, x, y: net.add(
        "Sub",
        *(net.add("MaxPool", net.add("HardSwish", each), kernel_shape=[2, 2], pads=[1, 0, 0, 1]) for each in (x, y)),
    ),
    "largest_sums": lambda net, x, y: net.add(
        "Mul",
        net.add("MaxPool", net.add("Add", x, y), kernel_shape=[3, 2], pads=[1, 1, 1, 0]),
        net.add("GlobalMaxPool", net.add("Mul", x, y)),
    ),
    "of_constants": lambda net, x, y: net.add(
        "Mul", net.add("Add", x, y), net.add("Sub", net.quantised(net.random(6), 0.01, 3), net.constant(0.4))
    ),
    "framed": lambda net, x, y: net.add(
        "Mul",
        *(
            net.add("Pad", each, net.constant([0, 0, 1, 1, 0, 0, 2, 0], np.int64), net.constant(0.3))
            for each in (net.add("Add", x, y), net.add("HardSwish", x))
        ),
    ),
    "means": lambda net, x, y: net.add("GlobalAveragePool", net.add("Relu", net.add("Add", x, y))),
    "means_of_halves": lambda net, x, y: net.add(
        "AveragePool", net.add("Mul", x, y), kernel_shape=[2, 3], pads=[1, 1, 0, 1]
    ),
    "means_of_columns": lambda net, x, y: net.add("ReduceMean", net.add("Add", x, y), net.constant([2], np.int64)),
    "sums_of_rows": lambda net, x, y: net.add("ReduceSum", net.add("Mul", x, y), net.constant([0, 3], np.int64)),
    "joined": lambda net, x, y: net.add("Concat", net.add("Relu", x), net.add("Add", x, y), y, axis=1),
    "joined_twice": lambda net, x, y: net.add(
        "Add", *[net.add("Concat", net.add("Relu", x), y, net.add("Tanh", x), axis=1)] * 2
    ),
}


def _net(
    chain: Chain, dtype: type[np.generic], outputs: int = 1, scales: tuple[float, ...] = ROUND, opset: int = 20
) -> bytes:
    """The chain on two tensors that convolutions make, so that they are of the type that ONNX Runtime likes best."""
    net, zero = Net(IMAGE, 5), 3 if dtype is np.int8 else 131
    first = net.quantised("x", 0.05, zero, dtype)
    x, y = (
        net.quantised(net.add("Conv", first, net.weights(4, 4, 1, 1)), scale, zero + moved, dtype)
        for scale, moved in zip(scales, (9, -20), strict=False)
    )
    made = chain(net, x, y)
    results = [net.quantised(made, scales[2], zero, dtype), made][:outputs]
    return net.model(*results, opset=opset)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8], ids=["int8", "uint8"])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_equal_onnx_runtime(name: str, dtype: type[np.generic], tmp_path: Path) -> None:
    model = assert_equal(_net(CHAINS[name], dtype), 8)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path)
    assert not differences(built, varied(built, 3), host(built))


@pytest.mark.parametrize(
    "name", ["three_tensors", "gate", "positions", "moved", "turned", "joined", "mean", "truth", "choice"]
)
def test_results_that_stay_float32_equal_onnx_runtime(name: str, tmp_path: Path) -> None:
    """Beside those that are quantised."""
    model = assert_equal(_net(CHAINS[name], np.uint8, 2), 8)
    built = build_read(model, tmp_path)
    assert not differences(built, varied(built, 3), host(built))


@pytest.mark.parametrize("name", [name for name in CHAINS if "means" in name])
def test_means_in_older_files_equal_onnx_runtime(name: str) -> None:
    """There, AveragePool is by columns, and axes are attributes."""
    chain = CHAINS[name]
    if name == "means_of_columns":
        chain = lambda net, x, y: net.add("ReduceMean", net.add("Add", x, y), axes=[2])  # noqa: E731
    assert_equal(_net(chain, np.uint8, opset=17), 8)


def test_float32_inputs_are_normalised_as_by_onnx_runtime(tmp_path: Path) -> None:
    """Before the first quantiser, by constants for each channel."""
    net = Net(IMAGE, 5)
    x = net.add("Div", net.add("Sub", "x", net.random(4, 1, 1)), net.constant(net.rng.uniform(0.2, 0.3, (4, 1, 1))))
    y = net.quantised(net.add("Conv", net.quantised(x, 0.05, 3), net.weights(4, 4, 1, 1)), 0.1, 0)
    model = assert_equal(net.model(y), 8)
    built = build_read(model, tmp_path)
    assert not differences(built, varied(built, 3), host(built))


def test_what_is_approximated_has_a_note() -> None:
    net = Net(IMAGE, 4)
    x = net.quantised("x", 0.1, 0)
    product = net.add("Mul", net.add("Exp", x), net.quantised(net.add("Relu", x), 0.05, -128))
    (note,) = pipeline.decode(net.model(net.quantised(product, 0.1, 0)), "net.onnx").graph.notes
    assert "approximates functions" in note and "Exp" in note


@pytest.mark.parametrize(
    "inner", [lambda net, x, y: net.add("Div", x, y), lambda net, x, y: net.add("Sqrt", net.add("Sub", x, y))]
)
def test_bounds_of_what_can_be_no_number_are_refused(inner: Chain) -> None:
    with pytest.raises(UnsupportedModel, match="can be no number"):
        pipeline.decode(_net(lambda net, x, y: net.add("Max", inner(net, x, y), x), np.int8), "net.onnx")


def test_what_constants_make_is_a_constant() -> None:
    """Also quantised ones: quantisers take what follows from the shape of an image for an activation."""
    net = Net(IMAGE, 4)
    x = net.quantised("x", 0.1, 0)
    count = net.quantised(net.constant(30), 30 / 255, -128)
    y = net.add("Div", net.add("Mul", x, count), net.add("Sub", count, net.constant(1)))
    z = net.add("Mul", x, net.add("Add", net.weights(6, scale=0.02), net.weights(5, 1, scale=0.03)))
    model = assert_equal(net.model(net.quantised(y, 0.1, 3), net.quantised(z, 0.2, 3)), 8)
    assert not model.graph.notes


def test_truth_values_at_the_end_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="is bool, which nothing here holds"):
        net = Net(IMAGE, 4)
        x = net.quantised("x", 0.1, 0)
        pipeline.decode(net.model(net.add("Greater", x, net.quantised(net.add("Relu", x), 0.05, -128))), "net.onnx")


LISTS = (
    ["Conv", "Gemm", "MatMul", "MaxPool"],
    ["Conv", "Gemm", "MatMul", "AveragePool", "GlobalAveragePool", "Concat", "MaxPool", "Mul", "Softmax"],
)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_quantised_in_part_equal_onnx_runtime(seed: int, tmp_path: Path) -> None:
    """By quantize_static with op_types_to_quantize."""
    made = random_net(seed)
    data = quantised(
        made.net,
        made.x,
        tmp_path,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8 if seed % 2 else QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=LISTS[seed // 2 % 2],
    )
    assert_equal(data, 6)


def test_what_a_quantiser_left_out_says_how_to_take_it_in(tmp_path: Path) -> None:
    """A layer that stayed float32 whole, in the middle of others."""
    net = Net([1, 3, 8, 8], 4)
    x = net.conv(net.conv("x", 3, 4, 3, 3), 4, 4, 3, 3)
    y = net.add("Gemm", net.add("Flatten", x), net.random(64, 5))
    data = quantised(net, y, tmp_path, quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"])
    with pytest.raises(UnsupportedModel, match="is float32: no DequantizeLinear makes it") as caught:
        pipeline.decode(data, "net.onnx")
    (problem,) = caught.value.problems
    assert "Gemm belongs to op_types_to_quantize" in problem.remedy


@pytest.mark.parametrize("name", ["functions_of_both", "gate", "moved", "pooled_before"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8], ids=["int8", "uint8"])
def test_chains_of_two_tensors_are_tables(name: str, dtype: type[np.generic], tmp_path: Path) -> None:
    model = assert_equal(_net(CHAINS[name], dtype, scales=UNEVEN), 8)
    built = build_read(model, tmp_path)
    assert not differences(built, varied(built, 3), host(built))
    assert _kernels(built) == {"float_expression.tables"}


def test_constants_are_tables(tmp_path: Path) -> None:
    def of_one(net: Net, x: str, y: str) -> str:
        moved = net.add("Sub", net.random(*IMAGE[1:]), net.add("HardSwish", y))
        return net.add("Mul", net.quantised(moved, 0.0413, 3), net.random(1, *IMAGE[1:]))

    model = assert_equal(_net(of_one, np.int8, scales=UNEVEN), 8)
    built = build_read(model, tmp_path)
    assert not differences(built, varied(built, 3), host(built))
    assert _kernels(built) == {"float_expression.constants"}


def _kernels(built: Built) -> set[str]:
    """Those of the expressions."""
    names = {layer.kernel for layer in built.manifest.layers}
    return {name for name in names if name.startswith("float_expression")}


@pytest.mark.parametrize("board", ["qemu-mps2-an386", "microbit"])
def test_tables_on_boards(board: str, tmp_path: Path) -> None:
    bench = Bench(board, tmp_path)
    for name in ("functions_of_both", "pooled_before", "gate"):
        model = pipeline.decode(_net(CHAINS[name], np.int8, scales=UNEVEN), "net.onnx")
        built = build_read(model, tmp_path / name, board=board)
        assert not differences(built, varied(built, 3), bench.running(built))


@pytest.mark.parametrize("board", ["qemu-mps2-an386", "microbit"])
def test_chains_on_boards(board: str, tmp_path: Path) -> None:
    bench = Bench(board, tmp_path)
    names = ("gate_then_sum", "normalised", "quotient_by_zero", "root", "turned", "means", "means_of_halves")
    for name in (*names, "choice_of_products"):
        model = pipeline.decode(_net(CHAINS[name], np.int8), "net.onnx")
        assert any(isinstance(node.op, FloatExpression) for node in model.graph.nodes)
        built = build_read(model, tmp_path / name, board=board)
        assert not differences(built, varied(built, 3), bench.running(built))
