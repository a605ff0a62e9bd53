"""Means and sums over any dimensions are ONNX Runtime's, whose order depends on which dimensions they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx import TensorProto
from onnx_nets import Net
from test_onnx_models import assert_equal

from tinygen import pipeline

STEP = 0.1
"""Of inputs and results, so that many means end in ties: float32 does not have it exactly."""
STEPS = {"ReduceL1": 20, "ReduceL2": 2, "ReduceMean": 1, "ReduceSum": 6, "ReduceSumSquare": 100}
"""How many of them a step of the result is."""
SHAPES = [
    (2, 4, 7, 6),
    (1, 9, 5, 3),
    (3, 1, 4, 5),
    (6, 5, 1, 2),
    (2, 5, 3),
    (1, 30, 4),
    (12, 8),
    (33,),
    (2, 3, 2, 3, 4),
]


def reduced(op: str, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: int, opset: int = 20) -> bytes:
    net = Net(shape, 3, TensorProto.INT8)
    x = net.add("DequantizeLinear", "x", net.constant(STEP), net.constant(3, np.int8))
    y = net.add(op, x, net.constant(axes, np.int64), keepdims=keepdims)
    y = net.add("QuantizeLinear", y, net.constant(STEP * STEPS[op]), net.constant(-5, np.int8))
    return net.model(y, opset=opset)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", STEPS)
def test_all_dimensions_equal_onnx_runtime(op: str, shape: tuple[int, ...]) -> None:
    rank = len(shape)
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(rank), count):
            given = tuple(axis - rank * (place % 2) for place, axis in enumerate(axes))
            assert not assert_equal(reduced(op, shape, given, count % 2), 12).graph.notes


def several() -> bytes:
    """One reduction in each order, behind a convolution, as attention and audio networks have them."""
    net = Net([2, 4, 9, 10], 3)
    x = net.quantised("x", STEP, 3)
    x = net.quantised(net.add("Conv", x, net.weights(5, 4, 3, 3)), STEP, 9)
    axes = [(2, 3), (1,), (0, 2, 3), (1, 3), (2,), (3,), (0,)]
    results = [net.add("ReduceMean", x, axes=one) for one in axes]
    results.append(net.add("ReduceSum", x, net.constant([1], np.int64), keepdims=0))
    results += [net.add("ReduceL2", x, axes=one) for one in axes[:4]]
    lengths = net.add("ReduceL2", x, axes=[1], keepdims=0)
    return net.model(*(net.quantised(y, STEP, 5) for y in results), lengths)


def test_the_c_code_is_exact(tmp_path: Path) -> None:
    model = assert_equal(several(), 20)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 6), host(built))


@pytest.mark.parametrize("opset, attributes", [(17, {}), (18, {}), (18, {"noop_with_empty_axes": 1})])
def test_without_axes_all_dimensions_are_reduced_or_none(opset: int, attributes: dict[str, object]) -> None:
    net = Net([2, 3, 5], 3)
    y = net.add("ReduceMean", net.quantised("x", STEP, 3), **attributes)
    assert_equal(net.model(net.quantised(y, 0.07, 5), opset=opset), 12)


def between_convolutions(op: str, shape: tuple[int, ...], axes: tuple[int, ...], *, to_convolution: bool) -> bytes:
    """On uint8, which ONNX Runtime computes with channels last; it keeps that up to another convolution."""
    net, taps = Net(shape, 3), [3] * (len(shape) - 2)
    x = net.quantised("x", STEP, 3, np.uint8)
    x = net.quantised(net.add("Conv", x, net.weights(5, 4, *taps), auto_pad="SAME_UPPER"), STEP, 99, np.uint8)
    total = net.quantised(net.add(op, net.add("HardSwish", x), axes=axes), STEP, 101, np.uint8)
    y = net.quantised(
        net.add("Mul", x, net.quantised(net.add("Sigmoid", total), 0.01, 3, np.uint8)), STEP, 90, np.uint8
    )
    if to_convolution:
        y = net.quantised(net.add("Conv", y, net.weights(3, 5, *[1] * len(taps))), 0.3, 120, np.uint8)
    return net.model(net.add("Flatten", y))


@pytest.mark.parametrize("to_convolution", [False, True])
@pytest.mark.parametrize("batch, op", [(1, "ReduceMean"), (2, "ReduceMean"), (1, "ReduceL2")])
def test_images_between_convolutions_have_channels_last(batch: int, op: str, to_convolution: bool) -> None:
    for shape, axes in (((9, 10), (2, 3)), ((9, 10), (3,)), ((9, 10), (0, 1)), ((9, 10), (1, 3)), ((30,), (2,))):
        data = between_convolutions(op, (batch, 4, *shape), axes, to_convolution=to_convolution)
        assert not any("channels last" in note for note in assert_equal(data, 20).graph.notes)


def test_a_note_says_where_the_layout_is_not_known() -> None:
    net = Net([1, 4, 9, 10], 3)
    x = net.quantised("x", STEP, 3, np.uint8)
    y = net.quantised(net.add("Conv", x, net.weights(4, 4, 1, 1)), STEP, 99, np.uint8)
    y = net.quantised(net.add("Add", x, y), STEP, 99, np.uint8)
    y = net.quantised(net.add("ReduceMean", y, axes=[2, 3]), STEP, 99, np.uint8)
    y = net.quantised(net.add("Conv", y, net.weights(3, 4, 1, 1)), STEP, 99, np.uint8)
    graph = pipeline.decode(net.model(y), "net.onnx").graph
    assert any("channels last, and sum in another order" in note for note in graph.notes)


def test_norms_of_float32_are_onnx_runtimes(tmp_path: Path) -> None:
    """As where embeddings are made to have a length of one, of what nothing quantises."""
    net = Net([2, 5, 6], 3)
    x = net.quantised("x", STEP, 3)
    y = net.add("Add", net.add("Mul", x, net.random(5, 6)), net.random(6))
    lengths = net.add("Clip", net.add("ReduceL2", y, axes=[2]), net.constant(1e-12))
    unit = net.add("Div", y, net.add("Expand", lengths, net.constant([2, 5, 6], np.int64)))
    sums = [net.add(op, y, axes=axes) for op in ("ReduceL1", "ReduceSumSquare") for axes in ([1], [0, 1, 2])]
    model = assert_equal(net.model(unit, *sums, net.quantised(sums[0], STEP, 3)), 12)
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))
