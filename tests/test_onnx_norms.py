"""Normalisations give what ONNX Runtime gives, whichever way it computes rows of that length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx import helper
from onnx_nets import Net
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.errors import UnsupportedModel


def block(depth: int) -> bytes:
    """A block of a network of convolutions whose channels are normalised in between, with the shortcut around it."""
    net = Net([1, depth, 5, 6], 5)
    x = net.quantised("x", 0.05, 120, np.uint8)
    y = net.add("Conv", x, net.weights(depth, 1, 3, 3), group=depth, pads=[1, 1, 1, 1])
    y = net.quantised(
        net.add("Transpose", net.quantised(y, 0.06, 100, np.uint8), perm=[0, 2, 3, 1]), 0.06, 100, np.uint8
    )
    gain, bias = net.weights(depth, scale=0.02), net.weights(depth, scale=0.0003, dtype=np.int32)
    y = net.quantised(net.add("LayerNormalization", y, gain, bias, epsilon=1e-6), 0.03, 128, np.uint8)
    y = net.add(
        "Gelu", net.quantised(net.add("MatMul", y, net.weights(depth, 9)), 0.05, 110, np.uint8), approximate="tanh"
    )
    y = net.quantised(
        net.add("MatMul", net.quantised(y, 0.03, 4, np.uint8), net.weights(9, depth)), 0.05, 128, np.uint8
    )
    y = net.quantised(net.add("Transpose", y, perm=[0, 3, 1, 2]), 0.05, 128, np.uint8)
    return net.model(net.quantised(net.add("Add", x, y), 0.08, 128, np.uint8), opset=20)


@pytest.mark.parametrize("depth", [6, 8, 21])
def test_a_block_equals_onnx_runtime(depth: int, tmp_path: Path) -> None:
    model = assert_equal(block(depth), 20)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


def grouped(groups: int, dtype: type[np.generic]) -> bytes:
    """As PyTorch exports GroupNorm: groups of channels are rows, which InstanceNormalization takes for channels."""
    net, zero = Net([1, 6, 5, 7], 5), 0 if dtype is np.int8 else 128
    x = net.quantised("x", 0.05, zero, dtype)
    y = net.quantised(net.add("Conv", x, net.weights(6, 6, 3, 3), pads=[1, 1, 1, 1]), 0.07, zero + 4, dtype)
    rows = net.quantised(net.add("Reshape", y, net.constant([0, groups, -1], np.int64)), 0.07, zero + 4, dtype)
    ones = net.constant(np.ones(groups)), net.constant(np.zeros(groups))
    normal = net.quantised(net.add("InstanceNormalization", rows, *ones), 0.03, zero, dtype)
    y = net.quantised(net.add("Reshape", normal, net.constant([1, 6, 5, 7], np.int64)), 0.03, zero, dtype)
    y = net.quantised(net.add("Mul", y, net.weights(6, 1, 1, scale=0.02)), 0.03, zero, dtype)
    image = net.add("InstanceNormalization", x, net.random(6), net.random(6))
    y = net.add("Conv", net.quantised(y, 0.03, zero, dtype), net.weights(4, 6, 1, 1))
    return net.model(net.quantised(y, 0.05, zero, dtype), image, net.quantised(image, 0.02, zero, dtype), opset=20)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups_and_images_equal_onnx_runtime(groups: int, dtype: type[np.generic], tmp_path: Path) -> None:
    model = assert_equal(grouped(groups, dtype), 20)
    assert not any("float32" in note for note in model.graph.notes)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))


def test_mean_and_deviation_are_refused() -> None:
    net = Net([3, 12], 5)
    inputs = [net.quantised("x", 0.05, 3), net.random(12)]
    net.nodes.append(helper.make_node("LayerNormalization", inputs, ["y", "mean"]))
    with pytest.raises(UnsupportedModel, match="further outputs"):
        pipeline.decode(net.model(net.quantised("y", 0.05, 3), "mean"), "net.onnx")


def test_gains_are_constant() -> None:
    net = Net([3, 12], 5)
    x = net.quantised("x", 0.05, 3)
    y = net.add("LayerNormalization", x, net.quantised(net.add("Reshape", x, net.constant([36], np.int64)), 0.05, 3))
    with pytest.raises(UnsupportedModel, match=r"its scale .* is computed at run time"):
        pipeline.decode(net.model(net.quantised(y, 0.05, 3)), "net.onnx")


def test_norms_in_parts_are_to_be_exported_as_one() -> None:
    """As exporters write them in opset 16 and older; ONNX Runtime makes one operator of them, if it can."""
    net = Net([3, 12], 5)
    x = net.quantised("x", 0.05, 3)
    deviation = net.add("Sub", x, net.quantised(net.add("ReduceMean", x, axes=[-1]), 0.05, 3))
    variance = net.add("ReduceMean", net.add("Pow", deviation, net.constant(2.0)), axes=[-1])
    y = net.add("Div", deviation, net.add("Sqrt", net.add("Add", variance, net.constant(1e-5))))
    with pytest.raises(UnsupportedModel, match=r"LayerNormalization, which is split up .*opset 17"):
        pipeline.decode(net.model(net.quantised(y, 0.05, 3), opset=16), "net.onnx")
