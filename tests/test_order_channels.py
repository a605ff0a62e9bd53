"""Weights of -128 are packed in pairs wherever the order of channels is free, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import build_read, differences, host, varied
from tflite_builder import build_model

from tinygen import pipeline, reference
from tinygen.ir import Graph
from tinygen.kernels.armv7em.packing import packs
from tinygen.ops.case import CaseTensor
from tinygen.ops.conv_2d import Conv2D
from tinygen.passes.order_channels import order_channels

SIZE, INPUT, MIDDLE, INNER, OUTPUT = 6, 8, 12, 10, 4
SHAPES = (
    (MIDDLE, 1, 1, INPUT),
    (1, 3, 3, MIDDLE),
    (INNER, 1, 1, MIDDLE),
    (INNER, 3, 3, INNER),
    (OUTPUT, 1, 1, INNER),
)
DEPTHWISE = 1


def net(lowest: float, seed: int = 0) -> pipeline.Model:
    """A depthwise layer between pointwise ones, then a sum; this share of the channels has a weight of -128."""
    rng = np.random.default_rng(seed)
    constants = []
    for index, shape in enumerate(SHAPES):
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        if index != DEPTHWISE:
            chosen = np.flatnonzero(rng.random(shape[3]) < lowest)
            weights[rng.integers(0, shape[0], len(chosen)), 0, 0, chosen] = -128
        axis = 3 if index == DEPTHWISE else 0
        scales = rng.uniform(0.001, 0.01, shape[axis]).astype(np.float32)
        constants.append(CaseTensor(shape, scale=tuple(scales.tolist()), axis=axis, data=weights))
        biases = rng.integers(-2000, 2000, shape[axis]).astype(np.int32)
        products = tuple((np.float32(0.05) * scales).tolist())
        constants.append(CaseTensor(biases.shape, "int32", scale=products, data=biases))
    channels = (INPUT, MIDDLE, MIDDLE, INNER, INNER, INNER, OUTPUT)
    values = [CaseTensor((1, SIZE, SIZE, count), scale=0.05, zero_point=3) for count in channels]
    step = {"stride_h": 1, "stride_w": 1, "padding": "SAME"}
    data = build_model(
        [*values, *constants],
        [
            ("CONV_2D", [0, 7, 8], [1], step),
            ("DEPTHWISE_CONV_2D", [1, 9, 10], [2], {**step, "depth_multiplier": 1}),
            ("CONV_2D", [2, 11, 12], [3], step),
            ("CONV_2D", [3, 13, 14], [4], step),
            ("ADD", [3, 4], [5], {}),
            ("CONV_2D", [5, 15, 16], [6], step),
        ],
        [0],
        [6],
    )
    return pipeline.decode(data, "net.tflite")


def unpacked(graph: Graph) -> list[str]:
    """Inputs of convolutions whose weights are not packed."""
    convolutions = [node for node in graph.nodes if isinstance(node.op, Conv2D)]
    weights = {node.inputs[0]: graph.tensors[node.inputs[1]].data for node in convolutions}
    return [name for name, data in weights.items() if data is not None and not packs(data.reshape(len(data), -1))]


@pytest.mark.parametrize("lowest", [0.2, 0.8])
def test_weights_are_packed_and_outputs_the_same(lowest: float) -> None:
    changed = 0
    for seed in range(5):
        model = net(lowest, seed)
        before, after = model.whole, model.graph
        changed += len(unpacked(before)) - len(unpacked(after))
        if lowest < 0.5:  # with more of them, there may be no such order
            assert set(unpacked(after)) <= set(after.inputs)
        x = np.random.default_rng(seed).integers(-128, 128, (1, SIZE, SIZE, INPUT)).astype(np.int8)
        assert np.array_equal(reference.outputs(before, [x])[0], reference.outputs(after, [x])[0])
    assert changed > 0


def test_the_c_has_the_same_bytes_in_every_layer(tmp_path: Path) -> None:
    model = net(0.4)
    assert any(name.endswith("~ordered") for name in model.graph.tensors)
    built = build_read(model, tmp_path)
    assert differences(built, varied(built, 5), host(built)) == []


def test_what_needs_no_order_stays() -> None:
    graph = net(0).whole
    assert order_channels(graph) is graph


def test_the_same_model_gives_the_same_graph_each_time() -> None:
    """Tensors stand in the graph as they did before."""
    model = net(0.4)
    before = list(model.whole.tensors)
    ordered = [name.removesuffix("~ordered") for name in model.graph.tensors if name.endswith("~ordered")]
    assert len(ordered) > 3
    assert ordered == sorted(ordered, key=before.index)
