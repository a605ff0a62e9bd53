"""Convolutions and products in float32: in the order of ONNX Runtime, which decides where results are near to a tie."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx import TensorProto, helper
from onnx_builder import build_case
from onnx_nets import Net
from test_onnx_models import full_range, session

from tinygen import pipeline, reference
from tinygen.float32 import quantize
from tinygen.ir import Array, Graph, Tensor
from tinygen.ops import float_conv
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_sums import Way, order_of_product

STEP = 0.1
"""The scale of inputs and weights, which float32 does not have exactly; outputs have an even multiple of its square."""
CONVS = ("depthwise_three_left", "whole_rows", "groups", "blocks_of_128")


def conv_net(name: str) -> bytes:
    """One of the operator's cases, with these scales."""
    case = next(case for case in float_conv.cases() if case.name == name)
    x, weights = (dataclasses.replace(tensor, scale=STEP) for tensor in case.inputs[:2] if tensor is not None)
    (y,) = case.outputs
    return build_case(dataclasses.replace(case, inputs=(x, weights), outputs=(dataclasses.replace(y, scale=1.98),)))


def product_net(
    op: str, shape: list[int], filters: int, *, is_turned: bool = False, real_bias: tuple[int, ...] = ()
) -> bytes:
    """A product with a bias, and Relu behind it, which keeps ONNX Runtime from fusing it.

    The bias is int32, or float32 of a shape.
    """
    net = Net(shape, 4)
    x = net.quantised("x", STEP, 3)
    weights = net.weights(*((filters, shape[-1]) if is_turned else (shape[-1], filters)), scale=STEP)
    bias = net.weights(filters, scale=np.float32(STEP) * np.float32(STEP), dtype=np.int32)
    bias = net.constant(net.rng.normal(0, 3, real_bias)) if real_bias else bias
    turning = {"transB": 1} if is_turned else {}
    y = net.add("Gemm", x, weights, bias, **turning) if op == "Gemm" else net.add("MatMul", x, weights)
    y = y if op == "Gemm" else net.add("Add", y, bias)
    return net.model(net.quantised(net.add("Relu", y), 2.02, 5))


NETS = {
    **{name: conv_net(name) for name in CONVS},
    "row": product_net("Gemm", [1, 43], 30),
    "row_of_turned": product_net("Gemm", [1, 43], 31, is_turned=True),
    "rows": product_net("MatMul", [5, 43], 9),
    "column": product_net("MatMul", [9, 43], 1),
    "three_dimensions": product_net("MatMul", [1, 5, 43], 9),
    "real_row": product_net("Gemm", [5, 43], 9, real_bias=(1, 9)),
    "real_behind": product_net("MatMul", [1, 5, 43], 9, real_bias=(1, 9)),
    "real_bias": product_net("MatMul", [1, 5, 43], 9, real_bias=(9,)),
}


def rescaled(graph: Graph, values: dict[str, Array]) -> Array | None:
    """What the operator would give if it rescaled its exact sums."""
    node = next((node for node in graph.nodes if isinstance(node.op, FloatConv)), None)
    if node is None:
        return None
    assert isinstance(node.op, FloatConv)
    operands = [values.get(name, graph.tensors[name].data) for name in node.inputs]
    x, weights, scales, bias = (np.asarray(operand) for operand in operands)
    exact = dataclasses.replace(node.op, scale=1.0).sums(x, weights, np.ones_like(scales), np.zeros_like(bias))
    real = (exact.astype(np.float64) * node.op.scale * scales + bias) / node.op.output_scale
    made = np.clip(np.rint(real) + node.op.output_zero_point, *node.op.clamp)
    return np.asarray(made.reshape(values[node.outputs[0]].shape) != values[node.outputs[0]])


@pytest.mark.parametrize("terms", [7, 43, 64])
@pytest.mark.parametrize(("rows", "filters", "is_turned"), [(1, 7, True), (1, 7, False), (7, 1, False), (6, 9, True)])
def test_sums_of_products_are_those_of_onnx_runtime(rows: int, filters: int, is_turned: bool, terms: int) -> None:
    shape = (filters, terms) if is_turned else (terms, filters)
    shapes = {"x": (rows, terms), "weights": shape, "y": (rows, filters)}
    x, weights, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in shapes.items())
    product = helper.make_node("Gemm", ["x", "weights"], ["y"], transB=int(is_turned))
    graph = helper.make_graph([product], "product", [x, weights], [y])
    runtime = session(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    rng = np.random.default_rng(5)
    stride = terms if is_turned else filters
    order = order_of_product(rows, filters, terms, is_turned=is_turned, stride=stride, gap=filters, of_filters=False)
    pixel, each = (places.reshape(-1) for places in np.indices((rows, filters)))
    for _ in range(20):
        values = {name: rng.normal(size=shapes[name]).astype(np.float32) for name in ("x", "weights")}
        (expected,) = runtime.run(None, values)
        of_filters = values["weights"] if is_turned else values["weights"].T
        nothing = np.zeros(rows * filters, np.float32)
        sums = order.sums(values["x"][pixel], of_filters[each], nothing, each, pixel)
        np.testing.assert_array_equal(sums.reshape(rows, filters), expected)


def test_ties_are_decided_in_the_order_of_onnx_runtime() -> None:
    rng = np.random.default_rng(0)
    ways, matters = set(), 0
    for name, data in NETS.items():
        model, runtime = pipeline.decode(data, "net.onnx"), session(data)
        assert not any("float32" in note for note in model.graph.notes)
        ways |= {node.op.order.way for node in model.graph.nodes if isinstance(node.op, FloatConv)}
        for _ in range(25):
            (x,) = full_range(model.graph, rng)
            (expected,) = runtime.run(None, {runtime.get_inputs()[0].name: x})
            values = reference.evaluate(model.graph, [x])
            np.testing.assert_array_equal(values[model.graph.outputs[0]], expected, name)
            differing = rescaled(model.graph, values)
            matters += 0 if differing is None else int(differing.sum())
    assert ways == set(Way)
    assert matters > 10  # else this compares nothing


@pytest.mark.parametrize("name", CONVS)
def test_sums_are_off_by_no_more_than_the_bound(name: str) -> None:
    """And results are those of all sums in the runtime's order."""
    graph = pipeline.decode(conv_net(name), "net.onnx").graph
    node = next(node for node in graph.nodes if isinstance(node.op, FloatConv))
    op, operands = node.op, [graph.tensors[name] for name in node.inputs]
    assert isinstance(op, FloatConv)
    x = np.random.default_rng(1).choice([-128, 127], operands[0].shape).astype(np.int8)
    given = [x, *(np.asarray(operand.data) for operand in operands[1:])]
    sums = op.sums(*given)
    (results,) = op.reference(*given)
    wanted = quantize(sums, op.output_scale, op.output_zero_point, *op.clamp)
    np.testing.assert_array_equal(results, wanted.reshape(results.shape))
    steps = sums / np.float32(op.output_scale)
    exact = dataclasses.replace(op, scale=1.0).sums(x, given[1], np.ones_like(given[2]), np.zeros_like(given[3]))
    real = (exact.astype(np.float64) * op.scale * given[2] + given[3]) / op.output_scale
    bounds = op.bounds(operands)
    assert (np.abs(real).max(axis=0) <= bounds.steps).all()
    difference = np.abs(steps - real).max(axis=0)
    assert (difference <= bounds.error).all() and (difference > bounds.error / 1000).any()


def test_sums_that_are_too_far_off_are_rescaled_with_a_note() -> None:
    net = Net([1, 2000], 4)
    x = net.quantised("x", STEP, 3)
    y = net.add("Relu", net.add("Gemm", x, net.weights(2000, 5, scale=STEP)))
    graph = pipeline.decode(net.model(net.quantised(y, 0.01, 5)), "net.onnx").graph
    assert not any(isinstance(node.op, FloatConv) for node in graph.nodes)
    assert any("in float32" in note and "by one step" in note for note in graph.notes)


def test_what_its_operands_must_be_is_said() -> None:
    graph = pipeline.decode(conv_net("groups"), "net.onnx").graph
    node = next(node for node in graph.nodes if isinstance(node.op, FloatConv))
    x, *constants = (graph.tensors[name] for name in node.inputs)
    assert not list(node.op.problems([x, *constants]))
    narrow = Tensor("x", (1, 5, 5, 4), x.dtype)
    assert any("groups" in problem for problem in node.op.problems([narrow, *constants]))
    small = Tensor("x", (1, 1, 1, 6), x.dtype)
    assert any("does not fit" in problem for problem in node.op.problems([small, *constants]))


@pytest.mark.parametrize("name", NETS)
def test_c_decides_on_ties_in_that_order(name: str, tmp_path: Path) -> None:
    built = build_read(pipeline.decode(NETS[name], "net.onnx"), tmp_path / "out")
    assert differences(built, varied(built, 200), host(built)) == []
