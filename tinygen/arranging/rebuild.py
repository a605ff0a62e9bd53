"""The graph of a choice for every node: rearranged constants, and copies to orders that nothing has made."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinygen.arrangement import Axes, axes_of, composed, inverse, numbers
from tinygen.arranging.choices import Choices, Key, Situation
from tinygen.interval import IntArray
from tinygen.ir import Graph, Node, Shape, Tensor, read_only
from tinygen.ops.reshape import Reshape
from tinygen.ops.strided_copy import StridedCopy, Transpose, nested_loops
from tinygen.passes.remove_unused import remove_unused


def rebuilt(situation: Situation, choices: Choices) -> Graph:
    """Nodes as they are chosen, in their order. What is in an order in which the graph had it keeps its name."""
    return _Rebuilding(situation, choices).graph()


class _Rebuilding:
    def __init__(self, situation: Situation, choices: Choices) -> None:
        graph = situation.graph
        self._situation = situation
        self._choices = choices
        self._tensors = dict(graph.tensors)
        self._nodes: list[Node] = []
        self._there: dict[tuple[str, Key, Shape], str] = {}
        """Where roots already are in which order and shape."""
        self._ordered: dict[tuple[str, Key], tuple[str, IntArray]] = {}
        """The same whatever the shape."""
        self._stored: dict[str, tuple[str, IntArray]] = {}
        """For each root: the tensor that it is made as, and in which order."""
        self._copies = {node.outputs[0]: node for node in graph.nodes if node not in choices}
        self._names: dict[tuple[str, Key, Shape], str] = {}
        for name, view in reversed(tuple(situation.views.items())):
            self._names[view.root, self._situation.key(view.order), view.order.shape] = name

    def graph(self) -> Graph:
        """All of it."""
        situation = self._situation
        written = {name for node in situation.nodes for name in node.outputs}
        for root in situation.readers:
            if root not in written:
                self._made(root, root, situation.views[root].order)
        for node in situation.nodes:
            self._add(node)
        kept = (*situation.graph.outputs, *(state.written for state in situation.graph.states))
        for name in kept:
            view = situation.views.get(name)
            if view is not None:
                self._read(view.root, view.order, name, name)
        return remove_unused(dataclasses.replace(situation.graph, tensors=self._tensors, nodes=tuple(self._nodes)))

    def _add(self, node: Node) -> None:
        situation, arranged = self._situation, self._choices[node].arranged
        inputs = []
        for place, (name, order) in enumerate(zip(node.inputs, arranged.inputs, strict=True)):
            if name in situation.views:
                demanded = situation.demanded(node, place, order)
                inputs.append(self._read(situation.views[name].root, demanded, name))
            else:
                inputs.append(self._constant(name, order, node))
        if len(node.outputs) > 1:
            outputs = node.outputs
            for name in outputs:
                self._made(name, name, situation.views[name].order)
        else:
            (root,) = node.outputs
            outputs = (self._new(root, arranged.output, root),)
            self._made(root, outputs[0], arranged.output)
        self._nodes.append(Node(node.name, arranged.op, tuple(inputs), outputs))

    def _made(self, root: str, name: str, order: IntArray) -> None:
        self._stored[root] = (name, order)
        self._there[root, self._situation.key(order), order.shape] = name
        self._ordered[root, self._situation.key(order)] = (name, order)

    def _read(self, root: str, order: IntArray, like: str, name: str | None = None) -> str:
        """The tensor of a root in an order, which is copied to there if need be; `like` has its type and scale."""
        place = (root, self._situation.key(order), order.shape)
        found = self._there.get(place)
        if found is not None and name in (None, found):
            return found
        made, own = self._ordered.get((root, self._situation.key(order)), self._stored[root])
        taken = composed(inverse(own), order)
        copy = name or self._new(root, order, like)
        self._nodes.append(Node(self._label(copy), self._copy(made, copy, taken), (made,), (copy,)))
        self._there[place] = copy
        self._ordered.setdefault((root, self._situation.key(order)), (copy, order))
        return copy

    def _label(self, copy: str) -> str:
        """What a copy's node is called: as in the graph, or after its output."""
        return self._copies[copy].name if copy in self._copies else copy

    def _copy(self, made: str, copy: str, taken: IntArray) -> StridedCopy:
        """What copies these elements of a tensor, as the graph did it, if it did."""
        known = self._copies.get(copy)
        if known is not None and known.inputs[0] == made:
            assert isinstance(known.op, StridedCopy)
            return known.op
        if np.array_equal(taken.reshape(-1), numbers((taken.size,))):
            return Reshape.to(taken.shape)
        loops = nested_loops(taken.reshape(-1))
        assert loops is not None
        return Transpose(taken.shape, int(taken.reshape(-1)[0]), loops)

    def _new(self, root: str, order: IntArray, like: str) -> str:
        """A tensor for a root in an order, with the name that it had in the graph, if any."""
        known = self._names.get((root, self._situation.key(order), order.shape))
        if known is not None:
            return known
        tensor = self._situation.graph.tensors[like]
        axes = axes_of(order, self._situation.graph.tensors[root].shape)
        return self._filed(f"{root}~{_layout(order.shape, axes)}", tensor, order.shape)

    def _constant(self, name: str, order: IntArray, node: Node) -> str:
        tensor = self._tensors[name]
        assert tensor.data is not None
        if order.shape == tensor.shape and np.array_equal(order.reshape(-1), numbers((order.size,))):
            return name
        data = read_only(np.ascontiguousarray(tensor.data.reshape(-1)[order]))
        return self._filed(f"{name} of {node.name}", dataclasses.replace(tensor, data=data), order.shape)

    def _filed(self, wanted: str, tensor: Tensor, shape: Shape) -> str:
        """Its name."""
        name, number = wanted, 2
        while name in self._tensors:
            name, number = f"{wanted} {number}", number + 1
        self._tensors[name] = dataclasses.replace(tensor, name=name, shape=shape)
        return name


def _layout(shape: Shape, axes: Axes | None) -> str:
    """A tensor's order in a word: by its dimensions, or else by its shape."""
    if axes is None:
        return "x".join(map(str, shape))
    rank = len(axes)
    known = {(0, *range(2, rank), 1): "nhwc", (0, rank - 1, *range(1, rank - 1)): "nchw"} if rank == 4 else {}
    return known.get(axes, "".join(map(str, axes)))
