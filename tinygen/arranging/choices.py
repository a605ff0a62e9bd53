"""A node in its place, as it is or rearranged: which order of which root it reads, writes, and what that moves."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygen.arrangement import composed, inverse, is_known_as_plain, numbers
from tinygen.arranging.movement import NOTHING, Moved, moved, moved_by
from tinygen.arranging.views import views
from tinygen.interval import IntArray
from tinygen.ir import OUTPUT, Arranged, Graph, Node
from tinygen.ops.strided_copy import nested_loops

Key = bytes
"""Of an order of all elements, whatever the shape: equal for equal orders."""
_NEVER = Moved(1 << 50, 0)
"""The work of what no loops do."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A way to compute a node."""

    arranged: Arranged
    reads: tuple[tuple[str, Key], ...]
    """Roots, and in which order; constants, which are rearranged at build time, are left out."""
    writes: Key | None
    """In which order its output is, None where it has several, which are as they were."""
    moves: Moved
    """What the operator itself copies."""


Choices = Mapping[Node, Choice]


class Situation:
    """A graph without the copies that only rearrange: nodes, roots, and who reads them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.views = views(graph)
        self.nodes = tuple(node for node in graph.nodes if self._is_made(node))
        self.writers = {node.outputs[0]: node for node in self.nodes if len(node.outputs) == 1}
        self.readers: dict[str, list[tuple[Node, int]]] = {view.root: [] for view in self.views.values()}
        for node in self.nodes:
            for place, name in enumerate(node.inputs):
                if name in self.views:
                    self.readers[self.views[name].root].append((node, place))
        self._orders: dict[Key, IntArray] = {}
        self._keys: dict[int, tuple[weakref.ref[IntArray], Key]] = {}
        """Of arrays that are still there, by their id."""
        self._copies: dict[tuple[str, Key, Key], Moved] = {}
        self.plain = {root: self.key(self.views[root].order) for root in self.readers}
        """The orders of roots that are as they were."""
        kept = (*graph.outputs, *(state.written for state in graph.states))
        views_kept = [self.views[name] for name in kept if name in self.views]
        self.fixed = frozenset((view.root, self.key(view.order)) for view in views_kept)
        """Roots, and orders, that have to be there, whoever reads them."""

    def _is_made(self, node: Node) -> bool:
        """Whether its outputs are roots, or constants."""
        return all(name not in self.views or self.views[name].root == name for name in node.outputs)

    def key(self, order: IntArray) -> Key:
        """The order's key."""
        found = self._digest(order)
        self._orders.setdefault(found, order)
        return found

    def _digest(self, order: IntArray) -> Key:
        known = self._keys.get(id(order))
        if known is not None and known[0]() is order:
            return known[1]
        plain = numbers((order.size,))
        if order is not plain and (is_known_as_plain(order) or np.array_equal(order.reshape(-1), plain)):
            return self._digest(plain)
        found = hashlib.sha256(np.ascontiguousarray(order.reshape(-1)).data).digest()
        self._keys[id(order)] = weakref.ref(order), found
        return found

    def order(self, key: Key) -> IntArray:
        """An order with this key, of some shape."""
        return self._orders[key]

    def copied(self, root: str, own: Key, wanted: Key) -> Moved:
        """What it takes to have a root in an order, too."""
        if own == wanted:
            return NOTHING
        copy = root, own, wanted
        if copy not in self._copies:
            loops = nested_loops(composed(inverse(self.order(own)), self.order(wanted).reshape(-1)))
            self._copies[copy] = _NEVER if loops is None else moved_by(loops, self.graph.tensors[root])
        return self._copies[copy]

    def as_it_is(self, node: Node) -> Choice:
        """The node as it was."""
        inputs = tuple(numbers(x.shape) for x in self.graph.input_tensors(node))
        return self._choice(node, Arranged(node.op, inputs, numbers(self.graph.tensors[node.outputs[0]].shape)))

    def demanded(self, node: Node, place: int, order: IntArray) -> IntArray:
        """The order of an input's root where the input itself has to be in `order`."""
        return composed(self.views[node.inputs[place]].order, order)

    def around(self, root: str, order: IntArray) -> dict[Node, Choice]:
        """For nodes that a root in that order reaches, from one to the next, how they read and write such orders.

        The first way that is found is a node's. Nodes that have none end it.
        """
        found: dict[Node, Choice] = {}
        roots = {root: order}
        queue = [root]
        while queue:
            root = queue.pop(0)
            touching = [*self.readers[root], *([(self.writers[root], OUTPUT)] if root in self.writers else [])]
            for node, place in touching:
                if node in found or (choice := self._touched(node, place, roots[root])) is None:
                    continue
                found[node] = choice
                reached = {node.outputs[0]: choice.arranged.output}
                for other, name in enumerate(node.inputs):
                    if name in self.views:
                        reached[self.views[name].root] = self.demanded(node, other, choice.arranged.inputs[other])
                queue += [name for name in reached if name not in roots]
                roots = {**reached, **roots}
        return found

    def _touched(self, node: Node, place: int, order: IntArray) -> Choice | None:
        """The node where the root in this place is in `order`."""
        if len(node.outputs) != 1:
            return None
        if place != OUTPUT:
            order = composed(inverse(self.views[node.inputs[place]].order), order)
        arranged = node.op.arranged(self.graph.input_tensors(node), place, order)
        return None if arranged is None else self._choice(node, arranged)

    def _choice(self, node: Node, arranged: Arranged) -> Choice:
        reads = tuple(
            (self.views[name].root, self.key(self.demanded(node, place, arranged.inputs[place])))
            for place, name in enumerate(node.inputs)
            if name in self.views
        )
        writes = self.key(arranged.output) if len(node.outputs) == 1 else None
        return Choice(arranged, reads, writes, moved(arranged.op, self.graph.tensors[node.outputs[0]]))
