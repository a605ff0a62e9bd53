"""DEPTHWISE_CONV_2D of an image with one channel: an ordinary convolution, for which there are better kernels."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinygen.ir import Graph, Node, Tensor, read_only
from tinygen.ops.common import INT8
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D


def widen_single_channel(graph: Graph) -> Graph:
    """Filters (1, kh, kw, n) of one input channel become (n, kh, kw, 1). Of int8, both operators round alike."""
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        x, *_ = graph.input_tensors(node)
        if isinstance(node.op, DepthwiseConv2D) and x.dtype == INT8 and x.shape[3] == 1:
            node = _widened(node, node.op, tensors)
        nodes.append(node)
    return dataclasses.replace(graph, tensors=tensors, nodes=tuple(nodes))


def _widened(node: Node, depthwise: DepthwiseConv2D, tensors: dict[str, Tensor]) -> Node:
    x, name, bias = node.inputs
    weights = tensors[name]
    assert weights.data is not None
    data = read_only(np.ascontiguousarray(np.moveaxis(weights.data, 3, 0).reshape(-1, *weights.shape[1:3], 1)))
    quant = None if weights.quant is None else dataclasses.replace(weights.quant, axis=0)
    widened = f"{name} as filters of an ordinary convolution"
    tensors[widened] = dataclasses.replace(weights, name=widened, shape=data.shape, data=data, quant=quant)
    op = Conv2D(**{field.name: getattr(depthwise, field.name) for field in dataclasses.fields(depthwise)})
    return Node(node.name, op, (x, widened, bias), node.outputs)
