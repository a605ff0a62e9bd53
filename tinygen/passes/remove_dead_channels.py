"""Channels that are always the same, or that nothing reads, are not computed.

A channel of a tensor stays if a kept output channel of its reader needs it: if that has a weight other than zero on it,
and its value is no constant that the reader's bias can count instead. What has to stay is found from the outputs on, as
the least that all operators are content with; the rest goes. The model's inputs, outputs and states stay whole.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from tinygen.interval import BoolArray, Interval
from tinygen.ir import Graph, Node, Removed, Tensor
from tinygen.range_analysis import accumulator_range, tensor_intervals

_Kept = dict[str, BoolArray]
"""Which channels of each tensor's last dimension stay, but for constants; a scalar counts as one channel."""


class _Narrowed(NamedTuple):
    """A node for the channels that are kept, and its constants."""

    node: Node
    constants: Sequence[Tensor]


def remove_dead_channels(graph: Graph) -> Graph:
    """Drop such channels, with their filters and the weights on them; the certificate is `Graph.removed`."""
    known = tensor_intervals(graph)
    whole: set[tuple[str, ...]] = set()
    while True:
        kept = _kept(graph, known, whole)
        if all(mask.all() for mask in kept.values()):
            return graph
        narrowed = [_narrowed(graph, node, known, kept) for node in graph.nodes]
        refused = {node.outputs for node, found in zip(graph.nodes, narrowed, strict=True) if found is None}
        if not refused:
            break
        whole |= refused
    tensors = {name: graph.tensors[name].cut(mask) for name, mask in kept.items()}
    nodes = []
    for node, constants in filter(None, narrowed):
        nodes.append(node)
        tensors.update((tensor.name, tensor) for tensor in constants)
    tensors.update((name, graph.tensors[name]) for name in graph.outputs if name not in tensors)
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors, removed=tuple(_removed(graph, known, kept)))


def _kept(graph: Graph, known: Mapping[str, Interval], whole: Set[tuple[str, ...]]) -> _Kept:
    """The least that satisfies all nodes; those that are `whole`, by their outputs, keep all of their tensors."""
    kept = {name: np.zeros(_channels(x), np.bool_) for name, x in graph.tensors.items() if x.data is None}
    states = [name for state in graph.states for name in (state.read, state.written)]
    for name in {*graph.inputs, *graph.outputs, *states} & kept.keys():
        kept[name][:] = True
    found = -1
    while found != (found := sum(int(mask.sum()) for mask in kept.values())):
        for node in reversed(graph.nodes):
            for name in node.outputs:  # no tensor is without channels: where all could go, the first stays
                kept[name][:1] |= not kept[name].any()
            needed = None if node.outputs in whole else _needed(graph, node, known, kept)
            for index, name in enumerate((*node.inputs, *node.outputs)):
                if name in kept:
                    kept[name] = kept[name] | (True if needed is None else needed[index])
    return kept


def _channels(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def _needed(graph: Graph, node: Node, known: Mapping[str, Interval], kept: _Kept) -> Sequence[BoolArray] | None:
    """The channels of its inputs and its output that a node has, if it has those that are kept; None: all."""
    if len(node.outputs) != 1:
        return None
    inputs = graph.input_tensors(node)
    # Of constants, each node takes what it needs. One channel may serve many.
    masks = [kept[x.name] if x.data is None else np.full(_channels(x), _channels(x) == 1) for x in inputs]
    return node.op.kept_channels(inputs, [known.get(x.name) for x in inputs], [*masks, kept[node.outputs[0]]])


def _narrowed(graph: Graph, node: Node, known: Mapping[str, Interval], kept: _Kept) -> _Narrowed | None:
    """None where there is no such node."""
    inputs = graph.input_tensors(node)
    masks = _needed(graph, node, known, kept)
    if masks is None or all(kept[name].all() for name in (*node.inputs, *node.outputs) if name in kept):
        return _Narrowed(node, [x for x in inputs if x.data is not None])
    narrowed = node.op.narrowed(inputs, [known.get(x.name) for x in inputs], masks)
    if narrowed is None or any(narrowed[0].problems(narrowed[1])):
        return None
    op, left = narrowed
    readers = Counter([*(name for reader in graph.nodes for name in reader.inputs), *graph.outputs])
    left = tuple(
        dataclasses.replace(x, name=f"{x.name} of {node.outputs[0]}")
        if x.data is not None and readers[x.name] > 1
        else x
        for x in left
    )
    return _Narrowed(
        dataclasses.replace(node, op=op, inputs=tuple(x.name for x in left)), [x for x in left if x.data is not None]
    )


def _removed(graph: Graph, known: Mapping[str, Interval], kept: _Kept) -> Iterator[Removed]:
    """What is gone of each tensor, by its value."""
    writers = {name: node for node in graph.nodes for name in node.outputs}
    for name, mask in kept.items():
        if mask.all():
            continue
        interval = known.get(name)
        acc = accumulator_range(graph, writers[name], known)
        values = interval.low if interval is not None else np.zeros(mask.shape, np.int64)
        constant = ~mask & (interval.is_constant if interval is not None else False)
        if (unread := ~mask & ~constant).any():
            yield Removed(name, len(mask), _indices(unread), None)
        for value in np.unique(values[constant]).tolist():
            found = constant & (values == value)
            bounds = () if acc is None else zip(acc.low[found].tolist(), acc.high[found].tolist(), strict=True)
            yield Removed(name, len(mask), _indices(found), value, tuple(bounds))


def _indices(mask: BoolArray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())
