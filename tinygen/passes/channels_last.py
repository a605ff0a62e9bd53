"""Inputs and outputs get channels last, where the file has them second and the layers want them last.

A model that was made for channels first then transposes nothing: its caller has images, or wants them, pixel by pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tinygen.arrangement import Axes, numbers, permuted, transposed
from tinygen.arranging.choices import Situation
from tinygen.arranging.movement import all_moved
from tinygen.arranging.search import Gifts
from tinygen.arranging.views import is_view
from tinygen.interval import IntArray
from tinygen.ir import Graph, Node
from tinygen.ops.reshape import Reshape
from tinygen.passes.arrange import rearranged

_FEWEST_DIMENSIONS = 3


def channels_last(graph: Graph) -> Graph:
    """The arranged graph, whose inputs and outputs have channels last if that is how they are first read, or made."""
    as_it_is, found = _turned(graph), _turned(rearranged(graph, _gifts))
    return found if all_moved(found).work < all_moved(as_it_is).work else as_it_is


def _axes(rank: int) -> Axes:
    return (0, *range(2, rank), 1)


def _gifts(situation: Situation) -> Gifts:
    """Transposes at the edges: they will not be there."""
    graph, found = situation.graph, set()
    for name in graph.inputs:
        order = situation.views[name].order
        if order.ndim >= _FEWEST_DIMENSIONS:
            found.add((name, situation.plain[name], situation.key(order.transpose(_axes(order.ndim)))))
    for name in graph.outputs:
        view = situation.views.get(name)
        if view is not None and view.order.ndim >= _FEWEST_DIMENSIONS:
            wanted = situation.key(view.order)
            found.add((view.root, situation.key(view.order.transpose(_axes(view.order.ndim))), wanted))
    return frozenset(found)


def _turned(graph: Graph) -> Graph:
    """With transposes at the edges as reshapes, and the inputs and outputs that this makes."""
    axes: dict[str, Axes] = {}
    reshapes: dict[Node, Node] = {}
    for name in (*graph.inputs, *graph.outputs):
        rank = len(graph.tensors[name].shape)
        nodes = [node for node in graph.nodes if name in (*node.inputs, *node.outputs)]
        is_edge = name not in graph.inputs or name not in graph.outputs
        if rank >= _FEWEST_DIMENSIONS and nodes and is_edge and all(_turns(graph, node, name) for node in nodes):
            axes[name] = _axes(rank)
            reshapes.update((node, node) for node in nodes)
    tensors = dict(graph.tensors)
    for name, order in axes.items():
        tensors[name] = dataclasses.replace(tensors[name], shape=permuted(tensors[name].shape, order))
    fixed = {*graph.inputs, *graph.outputs, *(name for state in graph.states for name in (state.read, state.written))}
    same: dict[str, str] = {}
    for node in reshapes:
        ends = *node.inputs, *node.outputs
        inner = [name for name in ends if name not in fixed and name not in same]
        if inner and len({tensors[name].shape for name in ends}) == 1:
            same[inner[0]] = ends[1 - ends.index(inner[0])]
            del tensors[inner[0]]
        else:
            reshapes[node] = dataclasses.replace(node, op=Reshape.to(tensors[node.outputs[0]].shape))
    renamed = (_named(reshapes.get(node, node), same) for node in graph.nodes)
    return dataclasses.replace(
        graph,
        tensors=tensors,
        nodes=tuple(node for node in renamed if node.inputs != node.outputs),
        input_axes=tuple(axes.get(name) for name in graph.inputs),
        output_axes=tuple(axes.get(name) for name in graph.outputs),
    )


def _named(node: Node, names: Mapping[str, str]) -> Node:
    inputs, outputs = (tuple(names.get(name, name) for name in ends) for ends in (node.inputs, node.outputs))
    return dataclasses.replace(node, inputs=inputs, outputs=outputs)


def _turns(graph: Graph, node: Node, name: str) -> bool:
    """Whether a copy has the other end's elements in this end's order, were its channels last."""
    if not is_view(graph, node):
        return False
    shape = graph.tensors[name].shape
    (read,) = node.op.reference(numbers(graph.tensors[node.inputs[0]].shape))
    wanted = transposed(shape, _axes(len(shape))).reshape(-1)
    taken: IntArray = read.reshape(-1)
    if name in node.inputs:
        return np.array_equal(taken, wanted)
    return np.array_equal(taken[wanted], np.arange(len(wanted)))
