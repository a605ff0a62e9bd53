"""ROW_GROUP: several operators that are computed together, row by row; tensors between them are never there whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinygen import reference
from tinygen.ir import Array, Graph, Op, Tensor, TensorType


@dataclass(frozen=True, eq=False)
class RowGroup(Op):
    """What its nodes compute, one after the other. A pass makes it of nodes of a graph; no file has it."""

    name: ClassVar[str] = "ROW_GROUP"
    graph: Graph
    """The nodes, with all that they read that is constant; of one output."""
    fed: bool = False
    """Whether the rows of its only input come one by one, and are gone when the next one comes."""

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """Of the last node's output."""
        return tuple(self.graph.tensors[name].type for name in self.graph.outputs)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The nodes' references."""
        return tuple(reference.outputs(self.graph, inputs))

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Of all nodes: nothing is computed twice."""
        return sum(self.graph.macs(node) for node in self.graph.nodes)

    def describe(self) -> str:
        """How many nodes, and the ends."""
        names = [node.op.name for node in self.graph.nodes]
        what = f"{len(names)} operators from {names[0]} to {names[-1]}" if len(names) > 1 else names[0]
        return f"{what}, row by row{' as the input comes' if self.fed else ''}"

    @property
    def rounding(self) -> str:
        """Each rule that one of the nodes follows."""
        rules = dict.fromkeys(node.op.rounding for node in self.graph.nodes)
        return ", ".join(rule for rule in rules if rule != "exact") or "exact"
