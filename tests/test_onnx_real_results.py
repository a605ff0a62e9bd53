"""Means, pools and Softmax that no QuantizeLinear follows are ONNX Runtime's, whatever reads their float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx_nets import Net
from test_onnx_models import assert_equal, full_range, session

from tinygen import pipeline, reference
from tinygen.errors import UnsupportedModel
from tinygen.ops.quantize import Dequantize

Chain = Callable[[Net, str], str]
POOLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("GlobalAveragePool", {}),
    ("AveragePool", {"kernel_shape": [3, 2], "strides": [2, 2]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", {"kernel_shape": [6, 7]}),
    ("AveragePool", {"kernel_shape": [6, 7], "strides": [2, 2]}),
    ("ReduceMean", {"axes": [2, 3]}),
    ("ReduceMean", {"axes": [1], "keepdims": 0}),
)


def behind_a_convolution(channels: int, dtype: type[np.generic]) -> tuple[Net, str]:
    net = Net([1, 5, 6, 7], 3)
    x = net.quantised("x", 0.05, 3, dtype)
    y = net.add("Conv", x, net.weights(channels, 5, 3, 3), pads=[1, 1, 1, 1])
    return net, net.quantised(y, 0.1, 40, dtype)


def with_classes(net: Net, x: str) -> str:
    return net.add("Softmax", net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", x))))


CHAINS: dict[str, Chain] = {
    "classes": with_classes,
    "channels": lambda net, x: net.add("Softmax", net.add("GlobalAveragePool", x), axis=1),
    "logarithms": lambda net, x: net.add("LogSoftmax", net.add("GlobalAveragePool", x), axis=1),
    "squeezed": lambda net, x: net.add("Squeeze", net.add("GlobalAveragePool", x), net.constant([2, 3], np.int64)),
    "reshaped": lambda net, x: net.add("Reshape", net.add("GlobalAveragePool", x), net.constant([0, -1], np.int64)),
    "transposed": lambda net, x: net.add(
        "Transpose", net.add("AveragePool", x, kernel_shape=[2, 2]), perm=[0, 2, 3, 1]
    ),
    "sum": lambda net, x: net.add("ReduceSum", x, net.constant([2, 3], np.int64), keepdims=0),
    "bounded": lambda net, x: net.add("Clip", net.add("GlobalAveragePool", x), net.constant(0.1), net.constant(0.6)),
    "above_zero": lambda net, x: net.add("Relu", net.add("GlobalAveragePool", x)),
    "of_a_function": lambda net, x: net.add("GlobalAveragePool", net.add("HardSwish", x)),
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("channels", [5, 32], ids=["channels", "blocks_of_channels"])
@pytest.mark.parametrize("opset", [13, 17, 20])
def test_pools_to_float32_add_up_as_onnx_runtime(opset: int, channels: int, dtype: type[np.generic]) -> None:
    """It has channels in blocks of 16, where they fill these, and adds up taps in another order then."""
    for op, attributes in POOLS:
        net, x = behind_a_convolution(channels, dtype)
        if op == "ReduceMean" and opset >= 18:
            continue
        assert assert_equal(net.model(net.add(op, x, **attributes), opset=opset), 12).graph.notes in (
            (),
            ("uint8 model, computed as int8: the same results",),
        )


def test_pools_whose_versions_count_otherwise_are_refused() -> None:
    net, x = behind_a_convolution(5, np.uint8)
    pool = net.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)
    with pytest.raises(UnsupportedModel, match="both count_include_pad and ceil_mode") as caught:
        pipeline.decode(net.model(pool), "net.onnx")
    assert "count_include_pad=False" in caught.value.problems[0].remedy
    assert_equal(net.model(net.quantised(pool, 0.1, 40, np.uint8)), 12)


@pytest.mark.parametrize("opset", [13, 20])
def test_pools_that_are_not_fused_have_channels_in_blocks(opset: int) -> None:
    """As int8 with Relu that cuts is computed in float32."""
    for op, attributes in POOLS[1:6]:
        net = Net([1, 32, 6, 7], 3)
        y = net.add("Relu", net.add(op, net.quantised("x", 0.1, 3), **attributes))
        assert_equal(net.model(net.quantised(y, 0.1, -5), opset=opset), 20)


@pytest.mark.parametrize("name", CHAINS)
def test_what_reads_float32_is_onnx_runtimes(name: str) -> None:
    net, x = behind_a_convolution(7, np.int8)
    model = assert_equal(net.model(CHAINS[name](net, x)), 20)
    assert not model.graph.notes and not any(isinstance(node.op, Dequantize) for node in model.graph.nodes)


def test_float32_that_is_quantised_later_is_onnx_runtimes() -> None:
    net, x = behind_a_convolution(7, np.int8)
    means = net.add("Flatten", net.add("GlobalAveragePool", x))
    above = net.quantised(net.add("Relu", means), 0.02, -128)
    within = net.quantised(net.add("Clip", net.add("Relu", means), net.constant(0.1), net.constant(0.4)), 0.02, -100)
    classes = net.quantised(net.add("Softmax", means), 1 / 256, -128)
    assert not assert_equal(net.model(above, within, classes, means), 20).graph.notes


def test_the_best_class_of_float32_is_found() -> None:
    net, x = behind_a_convolution(7, np.int8)
    data = net.model(net.add("ArgMax", with_classes(net, x), axis=1))
    graph = pipeline.decode(data, "net.onnx").graph
    rng = np.random.default_rng(0)
    for _ in range(20):
        arrays = full_range(graph, rng)
        (ours,), (theirs,) = reference.outputs(graph, arrays), session(data).run(None, {"x": arrays[0]})
        np.testing.assert_array_equal(ours, theirs)


def test_the_c_code_is_exact(tmp_path: Path) -> None:
    net, x = behind_a_convolution(7, np.int8)
    model = assert_equal(net.model(*(chain(net, x) for chain in CHAINS.values())), 12)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))
