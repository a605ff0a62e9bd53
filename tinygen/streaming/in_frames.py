"""The graph that computes new rows only, with the earlier ones that it reads in states."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tinygen.errors import Problem, UnsupportedModel
from tinygen.ir import Array, Graph, Node, Op, State, Tensor, read_only
from tinygen.ops.strided_copy import StridedCopy
from tinygen.streaming.demand import Demand
from tinygen.streaming.narrow import Span, joined, narrowed
from tinygen.streaming.reach import Unstreamable
from tinygen.streaming.timeline import Timeline


def in_frames(graph: Graph, time: Timeline, hop: int, silence: Mapping[str, Array]) -> Graph:
    """The graph for invokes of `hop` new frames. States begin with rows of `silence`, the tensors of a window of zeros.

    Raises UnsupportedModel where a node cannot compute some rows only.
    """
    demand = Demand(graph, time, hop)
    building = _Building(demand, demand.rings(), silence)
    for name in graph.inputs:
        building.join(name)
    problems = []
    for node in graph.nodes:
        try:
            building.add(node)
        except Unstreamable as reason:
            problems.append(Problem(node.name, node.op.name, reason.reason, reason.remedy))
        for name in node.outputs:
            building.join(name)
    if problems:
        raise UnsupportedModel(graph.source, problems, "Or build it without --streaming, for whole windows.")
    return dataclasses.replace(
        graph,
        tensors=building.tensors,
        nodes=(*building.nodes, *building.moves),
        states=(*graph.states, *building.states),
    )


class _Rows(NamedTuple):
    """A tensor of the new graph, and which rows of the window's tensor it holds; None: all of it."""

    name: str
    span: Span | None


@dataclass
class _Building:
    demand: Demand
    rings: Mapping[str, Span]
    silence: Mapping[str, Array]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    moves: list[Node] = field(default_factory=list)
    """What moves each ring on, after everything else."""
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, whole in self.demand.graph.tensors.items():
            span = self.demand.new(name)
            self.tensors[name] = whole if span is None else span.tensor(whole)

    def join(self, name: str) -> None:
        """Where earlier rows of a tensor are read: them and the new ones as one tensor, and how that moves on."""
        if name not in self.rings:
            return
        all_rows, new = self.rings[name], self.demand.new(name)
        assert new is not None
        earlier = all_rows._replace(stop=new.start)
        later = Span(new.axis, new.rows, all_rows.rows)
        before = self._tensor(name, "earlier rows", earlier)
        together = self._tensor(name, "all rows", all_rows)
        following = self._tensor(name, "rows to come back to", earlier)
        self.nodes.append(
            Node(f"rows of {name}", joined(together.shape, new.axis), (before.name, name), (together.name,))
        )
        self.moves.append(Node(f"move of {name}", later.slice(together.shape), (together.name,), (following.name,)))
        # What all rows will have moved on to when the first frames come.
        first = Span(new.axis, earlier.start + new.rows, earlier.stop + new.rows)
        self.states.append(State(before.name, following.name, read_only(first.of(self.silence[name]))))

    def add(self, node: Node) -> None:
        """A node that computes new rows only. Raises Unstreamable where it cannot."""
        graph = self.demand.graph
        given = [_Rows(name, None) for name in node.inputs]
        for index, span in self.demand.read(node):
            given[index] = self._rows(node, index, span)
        wanted = self.demand.new(node.outputs[0])
        if wanted is not None:
            for index, axis in self.demand.time.nodes[node.outputs[0]].constants.items():
                given[index] = self._constant(node, index, Span(axis, 0, wanted.rows))
        op: Op = node.op
        if any(rows.span is not None for rows in given):
            op = narrowed(op, graph.input_tensors(node), [rows.span for rows in given], wanted)
        self.nodes.append(dataclasses.replace(node, op=op, inputs=tuple(rows.name for rows in given)))

    def _rows(self, node: Node, index: int, span: Span) -> _Rows:
        """These rows of a node's input, and maybe more, in one tensor; from the first on where the node needs that."""
        name = node.inputs[index]
        new = self.demand.new(name)
        assert new is not None
        held = _Rows(name, new) if span.start >= new.start else _Rows(self._name(name, "all rows"), self.rings[name])
        assert held.span is not None
        # A copy in strides can begin anywhere, others begin with the first row.
        if held.span.start == span.start or isinstance(node.op, StridedCopy):
            return held
        rest = span._replace(stop=held.span.stop)
        part = self._tensor(name, f"rows from {span.start} on", rest)
        if not any(part.name in other.outputs for other in self.nodes):
            offset = held.span.start
            move = Span(span.axis, span.start - offset, held.span.stop - offset).slice(self.tensors[held.name].shape)
            self.nodes.append(Node(f"some rows of {name}", move, (held.name,), (part.name,)))
        return _Rows(part.name, rest)

    def _constant(self, node: Node, index: int, span: Span) -> _Rows:
        """As many of its rows, which are all alike."""
        return _Rows(self._tensor(node.inputs[index], f"{span.rows} rows", span).name, span)

    def _tensor(self, name: str, what: str, span: Span) -> Tensor:
        found = dataclasses.replace(span.tensor(self.demand.graph.tensors[name]), name=self._name(name, what))
        self.tensors[found.name] = found
        return found

    def _name(self, name: str, what: str) -> str:
        found = f"{name}, {what}"
        while found in self.demand.graph.tensors:
            found += ","
        return found
