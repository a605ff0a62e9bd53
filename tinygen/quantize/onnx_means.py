"""Means over all positions of an image as pools: what quantisers and runtimes compute in integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def with_global_pools(model: Any) -> Any:
    """The model (an onnx.ModelProto with its shapes inferred) with GlobalAveragePool for such ReduceMean nodes.

    PyTorch exports AdaptiveAvgPool2d(1) and x.mean((2, 3)) as ReduceMean.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    for place, node in reversed(list(enumerate(graph.node))):
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        if rank < 3 or sorted(axis % rank for axis in _axes(node, constants)) != list(range(2, rank)):
            continue
        keeps = all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")
        (output,) = node.output
        pooled = output if keeps else f"{output}_pooled"
        graph.node.remove(node)
        if not keeps:
            graph.node.insert(place, helper.make_node("Flatten", [pooled], [output], f"{node.name}_flat", axis=1))
        graph.node.insert(place, helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], node.name))
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    return model


def _axes(node: Any, constants: Mapping[str, Any]) -> Sequence[int]:
    """What a ReduceMean reduces, an attribute before opset 18; empty where that is not known."""
    for attribute in node.attribute:
        if attribute.name == "axes":
            return list(attribute.ints)
    if len(node.input) > 1 and node.input[1] in constants:
        return [int(axis) for axis in constants[node.input[1]].ravel()]
    return []
