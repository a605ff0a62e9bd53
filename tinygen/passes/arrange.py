"""Each tensor lies in the order of elements that lets the fewest bytes be moved.

Models that were made for channels before rows and columns come with a TRANSPOSE before and behind each layer that wants
them after. What lies between can mostly be computed in any order: transposes cancel each other, or what is left of them
is where the fewest bytes are, mostly at the edges of the model, whose inputs and outputs stay as they are.

Copies that only rearrange are left out of the graph, and how each of the other nodes reads and writes is chosen
(`arranging/search.py`); then copies are put where an order is read that nothing has made.
"""

from __future__ import annotations

from collections.abc import Callable

from tinygen.arranging.choices import Situation
from tinygen.arranging.movement import NOTHING, all_moved, moved
from tinygen.arranging.rebuild import rebuilt
from tinygen.arranging.search import Gifts, arranged
from tinygen.arranging.views import is_view
from tinygen.ir import Graph


def arrange(graph: Graph) -> Graph:
    """The graph that does the same with less copying; the same graph where there is none."""
    found = rearranged(graph, lambda _: frozenset())
    return found if all_moved(found).work < all_moved(graph).work else graph


def rearranged(graph: Graph, gifts: Callable[[Situation], Gifts]) -> Graph:
    """The graph with the least copying, but for that which is a gift."""
    copies = (node for node in graph.nodes if is_view(graph, node))
    if all(moved(node.op, graph.tensors[node.outputs[0]]) == NOTHING for node in copies):
        return graph
    situation = Situation(graph)
    return rebuilt(situation, arranged(situation, gifts(situation)))
