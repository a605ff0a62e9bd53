"""MatMulInteger and ConvInteger, with Cast, Mul, Add and QuantizeLinear behind them, give what ONNX Runtime gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx_nets import NETS, Net
from onnxruntime import quantization
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import prove_high_product
from tinygen.rescaling import FloatLine

GAIN, Y_SCALE = 8e-5, 0.05
GAINS = GAIN * np.array([1, 0.3, 0.1, 0.71, 0.5, 0.9])
ADDED = np.array([-0.3, 0.7, 0, 1e-6, 3.1, -2])


def sums(op: str, x_type: type[np.generic], weight_type: type[np.generic], zero_point: int) -> tuple[Net, str]:
    """The operator on a quantised input: six channels, of 20 or 36 products each."""
    shape, weight_shape = ([3, 20], (20, 6)) if op == "MatMulInteger" else ([1, 4, 7, 6], (6, 4, 3, 3))
    net = Net(shape, 4)
    limits = np.iinfo(weight_type)  # type: ignore[arg-type]
    weights = net.constant(net.rng.integers(limits.min, limits.max + 1, weight_shape), weight_type)
    x_zero = net.constant(7 if x_type == np.int8 else 130, x_type)
    x = net.add("QuantizeLinear", "x", net.constant(0.02), x_zero)
    return net, net.add("Cast", net.add(op, x, weights, x_zero, net.constant(zero_point, weight_type)), to=1)


def channels(net: Net, op: str, values: object) -> str:
    return net.constant(np.reshape(values, (-1,) if op == "MatMulInteger" else (-1, 1, 1)))


def finished(net: Net, y: str, scale: float = Y_SCALE) -> bytes:
    return net.model(net.add("QuantizeLinear", y, net.constant(scale), net.constant(5, np.int8)))


@pytest.mark.parametrize("weights", [(np.int8, 0), (np.int8, 3), (np.uint8, 120)], ids=["s8", "s8_zero_point", "u8"])
@pytest.mark.parametrize("x_type", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger"])
def test_scaled_sums_equal_onnx_runtime(
    op: str, x_type: type[np.generic], weights: tuple[type[np.generic], int]
) -> None:
    net, y = sums(op, x_type, *weights)
    y = net.add("Add", channels(net, op, ADDED), net.add("Mul", y, channels(net, op, GAINS)))
    model = assert_equal(finished(net, net.add("Relu", y)), 10)
    assert not any("float32" in note for note in model.graph.notes)


@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger"])
def test_one_factor_without_a_bias(op: str) -> None:
    net, y = sums(op, np.uint8, np.int8, 0)
    assert_equal(finished(net, net.add("Mul", net.constant(GAIN), y)), 10)


def test_a_sum_that_others_read_is_added_behind_it() -> None:
    """What is added is no constant: an operator of its own."""
    net, y = sums("MatMulInteger", np.uint8, np.int8, 0)
    y = net.quantised(net.add("Mul", y, channels(net, "MatMulInteger", GAINS)), Y_SCALE, 5)
    data = net.model(net.quantised(net.add("Add", y, y), 2 * Y_SCALE, 0))
    assert_equal(data, 10)


@pytest.mark.parametrize("objective", ["speed", "size"])
@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger"])
def test_in_c(op: str, objective: str, tmp_path: Path) -> None:
    """By floats where nothing is proved, as with the objective size."""
    net, y = sums(op, np.uint8, np.uint8, 120)
    y = net.add("Add", net.add("Mul", y, channels(net, op, GAINS)), channels(net, op, ADDED))
    built = build_read(pipeline.decode(finished(net, y), "net.onnx"), tmp_path / "out", objective=objective)
    assert "_requantise_line" in built.source.read_text() or objective != "size"
    assert not differences(built, varied(built, 6), host(built))


def test_lines_are_proved() -> None:
    """A high half of a product is found for lines with an offset, and is the same for each of all sums."""
    low, high = np.array([-40_000]), np.array([40_000])
    everything = np.arange(-40_000, 40_001)[:, np.newaxis]
    for offset in (0.0, 0.37, -2.5):
        line = FloatLine((float(np.float32(GAIN)),), (offset,), Y_SCALE)
        product = prove_high_product(line, 5, (-128, 127), low, high, scale=256)
        assert product is not None
        wanted = np.clip(line.apply(everything) + 5, -128, 127)
        assert len(np.unique(wanted)) > 100
        np.testing.assert_array_equal(product.apply(everything), wanted)


def test_channels_that_are_left_keep_their_lines() -> None:
    net, y = sums("MatMulInteger", np.uint8, np.int8, 0)
    y = net.add("Add", net.add("Mul", y, channels(net, "MatMulInteger", GAINS)), channels(net, "MatMulInteger", ADDED))
    (op,) = (node.op for node in pipeline.decode(finished(net, y), "net.onnx").graph.nodes if "FULLY" in node.op.name)
    assert isinstance(op, Weighted) and isinstance(op.requant, FloatLine)
    kept = np.array([True, False, False, True, False, False])
    acc = np.arange(-3000, 3000, 7)[:, np.newaxis]
    np.testing.assert_array_equal(op.requant.of_channels(kept).apply(acc), op.requant.apply(acc)[:, kept])


@pytest.mark.parametrize("name", ["mobile", "sequence"])
def test_scales_of_run_time_are_refused_with_advice(name: str, tmp_path: Path) -> None:
    net, y = NETS[name]()
    (tmp_path / "float.onnx").write_bytes(net.model(y))
    quantization.quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx")
    with pytest.raises(UnsupportedModel, match="dynamically") as caught:
        pipeline.read(tmp_path / "dynamic.onnx")
    (problem,) = caught.value.problems
    assert "statically" in problem.remedy


@pytest.mark.parametrize("gain", ["x", "column"])
def test_other_factors_are_refused_with_advice(gain: str) -> None:
    net, y = sums("MatMulInteger", np.uint8, np.int8, 0)
    factor = net.constant(np.full((3, 1), GAIN)) if gain == "column" else net.add("ReduceMax", "x", keepdims=1)
    with pytest.raises(UnsupportedModel, match="Mul by a constant"):
        pipeline.decode(finished(net, net.add("Mul", y, factor)), "net.onnx")
