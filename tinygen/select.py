"""Which kernel computes which node."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.ir import Graph, Node
from tinygen.kernel import Kernel, Site
from tinygen.ops.registry import kernels_for

OBJECTIVES = ("balanced", "speed", "size")


@dataclass(frozen=True)
class Step:
    """One node with its kernel."""

    node: Node
    site: Site
    kernel: Kernel

    @property
    def scratch(self) -> int:
        """Bytes that the kernel wants for itself."""
        return self.kernel.scratch(self.site)


def select(graph: Graph, features: frozenset[str], objective: str, portable: bool = False) -> tuple[Step, ...]:
    """The first registered kernel, for each node, whose needs the core meets and whose contract the node meets.

    `portable`: only those that are C for any core.
    """
    return tuple(_step(graph, node, features, objective, portable) for node in graph.nodes)


def _step(graph: Graph, node: Node, features: frozenset[str], objective: str, portable: bool) -> Step:
    site = Site(node.op, graph.input_tensors(node), graph.output_tensors(node), objective, features=features)
    for kernel in kernels_for(node.op):
        if kernel.requires <= features and (kernel.portable or not portable) and kernel.accepts(site):
            return Step(node, site, kernel)
    raise AssertionError(f"{node.name}: no kernel accepts this {node.op.name}; every operator needs a portable one")
