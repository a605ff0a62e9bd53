"""Channels between layers lie in an order in which weights of -128 can be packed in pairs.

Kernels keep two weights in one halfword, 256 * first + second, which is int16 unless a weight of -128 stands before a
negative one. The order of channels that a convolution reads is free where other layers make them, and read them, whose
filters and weights can be in any order: channels with such weights come second, or before ones that go with them.
Every sum stays the same; tensors that are in another order than the file's have another name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tinygen.interval import BoolArray, IntArray
from tinygen.ir import Graph, Node, Quant, Tensor, read_only
from tinygen.ops.add import Add
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ops.weighted import Weighted

_LOWEST = -128
_ALIKE = (Add, FloatAdd, FloatAveragePool, AveragePool2D, MaxPool2D)
"""Operators that do the same for every channel."""


def order_channels(graph: Graph) -> Graph:
    """The graph with such orders; the same graph where none is wanted, or helps."""
    orders = dict(_orders(graph))
    if not orders:
        return graph
    names = {name: f"{name}~ordered" for name in orders}
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        changed, constants = _ordered(graph, node, orders)
        tensors.update((tensor.name, tensor) for tensor in constants)
        inputs = tuple(names.get(name, name) for name in changed.inputs)
        nodes.append(dataclasses.replace(changed, inputs=inputs, outputs=tuple(names.get(n, n) for n in node.outputs)))
    for name, order in orders.items():
        x = tensors.pop(name)
        tensors[names[name]] = dataclasses.replace(x, name=names[name], quant=_picked(x.quant, order))
    used = {name for node in nodes for name in (*node.inputs, *node.outputs)} | {*graph.inputs, *graph.outputs}
    kept = {name: tensor for name, tensor in tensors.items() if tensor.data is None or name in used}
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=kept)


def _orders(graph: Graph) -> Iterator[tuple[str, IntArray]]:
    """Tensors by name, and for each of their channels which one of before it is."""
    for names in _groups(graph):
        readers = [node.inputs[1] for node in graph.nodes if isinstance(node.op, Conv2D) and node.inputs[0] in names]
        weights = [data for name in readers if (data := graph.tensors[name].data) is not None]
        if all(_packs(data) for data in weights):
            continue
        order = _order(weights, graph.tensors[min(names)].shape[-1])
        if order is not None and all(_packs(data[..., order]) for data in weights):
            yield from ((name, order) for name in graph.tensors if name in names)  # a set has another order each time


def _packs(weights: IntArray) -> bool:
    """Whether no -128 comes before a negative weight, of the channels in pairs."""
    channels = weights.reshape(-1, weights.shape[-1])
    first, second = channels[:, 0::2], channels[:, 1::2]
    return not ((first[:, : second.shape[1]] == _LOWEST) & (second < 0)).any()


def _order(weights: Sequence[IntArray], count: int) -> IntArray | None:
    """Channels in pairs: those with weights of -128 second, or with one of their kind, as many as there have to be."""
    rows = np.concatenate([data.reshape(-1, count) for data in weights])
    low, negative = rows == _LOWEST, rows < 0
    heavy = low.any(axis=0)
    clash: BoolArray = low.T.astype(np.int64) @ negative.astype(np.int64) > 0
    pairs: list[tuple[int, int]] = []
    left = [int(channel) for channel in np.flatnonzero(heavy)]
    light = [int(channel) for channel in np.flatnonzero(~heavy)]
    alone = [left.pop()] if count % 2 and len(left) > len(light) else []
    while len(left) > len(light) + count % 2 - len(alone):
        first = left.pop(0)
        second = next((other for other in left if not clash[first, other]), None)
        if second is None:
            return None
        left.remove(second)
        pairs.append((first, second))
    pairs += [(light.pop(0), second) for second in left]
    rest = [*(channel for pair in pairs for channel in pair), *light, *alone]
    return np.array(rest, np.int64)


def _groups(graph: Graph) -> Iterator[frozenset[str]]:
    """Tensors that have to be in one order, if that is free."""
    group = {name: {name} for name, x in graph.tensors.items() if x.data is None}
    states = [name for state in graph.states for name in (state.read, state.written)]
    pinned = {*graph.inputs, *graph.outputs, *states, *(removed.tensor for removed in graph.removed)}
    for node in graph.nodes:
        names = [name for name in (*node.inputs, *node.outputs) if name in group]
        if _is_dense(graph, node):
            pinned.update(() if _is_paired(graph.tensors[node.inputs[1]]) else node.inputs[:1])
            continue
        if not _is_channelwise(graph, node):
            pinned.update(names)
            continue
        joined = {other for name in names for other in group[name]}
        for name in joined:
            group[name] = joined
    for found in {id(found): found for found in group.values()}.values():
        if not found & pinned:
            yield frozenset(found)


def _is_dense(graph: Graph, node: Node) -> bool:
    """Whether every filter reads all channels."""
    x, *rest = graph.input_tensors(node)
    is_plain = isinstance(node.op, Conv2D) and not node.op.weight_zero_point and not rest[0].packed
    return is_plain and x.shape[3] == rest[0].shape[3]


def _is_paired(weights: Tensor) -> bool:
    """Whether channels are in the same pairs at every tap."""
    _, height, width, depth = weights.shape
    return depth % 2 == 0 or height * width == 1


def _is_channelwise(graph: Graph, node: Node) -> bool:
    """Whether channels of the output are made of those of the same number, and all inputs have as many."""
    inputs, (y, *others) = graph.input_tensors(node), graph.output_tensors(node)
    if others:
        return False
    if isinstance(node.op, DepthwiseConv2D):
        return inputs[0].shape[-1] == y.shape[-1]
    return isinstance(node.op, _ALIKE) and all(x.data is None and x.shape[-1:] == y.shape[-1:] for x in inputs)


def _ordered(graph: Graph, node: Node, orders: Mapping[str, IntArray]) -> tuple[Node, Sequence[Tensor]]:
    """A node with its filters and weights in the order of its tensors, and its constants, under names of their own."""
    op = node.op
    if not isinstance(op, Weighted) or not {node.inputs[0], *node.outputs} & orders.keys():
        return node, ()
    x, weights, bias = graph.input_tensors(node)
    assert weights.data is not None and bias.data is not None
    made = orders.get(node.outputs[0], np.arange(len(bias.data)))
    read = orders.get(x.name, np.arange(x.shape[-1]))
    data = weights.data[..., made] if isinstance(op, DepthwiseConv2D) else weights.data[made][..., read]
    constants = [
        dataclasses.replace(
            tensor,
            name=f"{tensor.name} of {node.outputs[0]}",
            data=read_only(np.ascontiguousarray(values)),
            quant=_picked(tensor.quant, made),
        )
        for tensor, values in ((weights, data), (bias, bias.data[made]))
    ]
    op = dataclasses.replace(op, requant=op.requant.of_channels(made))
    return dataclasses.replace(node, op=op, inputs=(x.name, *(tensor.name for tensor in constants))), constants


def _picked(quant: Quant | None, order: IntArray) -> Quant | None:
    return quant if quant is None or quant.scale.size == 1 else quant.of_channels(order)
