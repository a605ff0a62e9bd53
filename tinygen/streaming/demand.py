"""Which rows of each tensor one invoke computes, and which earlier ones are read with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tinygen.ir import Graph, Node
from tinygen.streaming.narrow import Span
from tinygen.streaming.timeline import Timeline


@dataclass(frozen=True)
class Demand:
    """For invokes of `hop` new frames. Spans count the rows of the whole window."""

    graph: Graph
    time: Timeline
    hop: int

    def new(self, name: str) -> Span | None:
        """The rows of a tensor that are computed, its last ones; None: it has no rows, all of it is."""
        rows = self.time.rows.get(name)
        return None if rows is None else Span(rows.axis, rows.length - rows.new(self.hop), rows.length)

    def read(self, node: Node) -> Iterator[tuple[int, Span]]:
        """The rows that a node reads, of each input (by index) that has some."""
        reached = self.time.nodes.get(node.outputs[0])
        if reached is None:
            return
        wanted = self.new(node.outputs[0])
        first, last = (wanted.start, wanted.stop - 1) if wanted is not None else (0, 0)
        for index, reach in reached.inputs.items():
            axis = self.time.rows[node.inputs[index]].axis
            yield index, Span(axis, reach.first + first * reach.step, reach.first + last * reach.step + reach.rows)

    def rings(self) -> Mapping[str, Span]:
        """Of the tensors of which nodes read earlier rows: from the first of those to the last new one."""
        found: dict[str, Span] = {}
        for node in self.graph.nodes:
            for index, span in self.read(node):
                name = node.inputs[index]
                all_rows = found.get(name, self.new(name))
                assert all_rows is not None
                found[name] = all_rows._replace(start=min(all_rows.start, span.start))
        return {name: span for name, span in found.items() if span != self.new(name)}
