"""Why a runtime's answers differ from the reference: node by node, from the runtime's own inputs of each node.

A node introduces a difference where our reference of it makes something else of the runtime's own inputs than the
runtime does. If the same node, read under the runtime's profile, makes exactly what the runtime does, the profiles'
arithmetic explains the difference; if not, it is a bug of ours, or a runtime that is not what its profile says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen import reference
from tinygen.interval import BoolArray
from tinygen.ir import Array, Graph, Node, Op


@dataclass(frozen=True)
class Cause:
    """A node that introduces differences, over all samples."""

    node: str
    operator: str
    ours: str
    """The rounding rule of our reference."""
    theirs: str
    """That of the same node under the runtime's profile, and what else is other there; empty where it is not built."""
    count: int
    """Elements in which our reference differs from the runtime, given the runtime's inputs."""
    of: int
    unexplained: int
    """Those that the runtime's profile does not explain."""
    reason: str = ""
    """Why the node cannot be read under the runtime's profile."""

    @property
    def explained(self) -> bool:
        """Whether the runtime's profile accounts for every element."""
        return not self.unexplained


class Attribution:
    """Collects causes over samples that follow each other."""

    def __init__(self, ours: Graph, theirs: Graph | None, reasons: Mapping[str, str]) -> None:
        """`theirs`: the graph under the runtime's profile, None with the `reasons` by node where it cannot be built.

        `theirs` has all channels, also those that are proved to have no effect on `ours`: only the others are given.
        """
        self._graphs = (ours,) if theirs is None else (ours, theirs)
        self._channels: tuple[Mapping[str, BoolArray], ...] = ({}, ours.kept)
        self._reasons = reasons
        self._states: list[reference.States] = []
        self._causes: dict[str, Cause] = {}

    def add(self, inputs: Sequence[Array], reset: bool, given: Mapping[str, Array]) -> None:
        """One sample; `given` are the runtime's tensors by name, as far as it has them."""
        if reset:
            self._states = [reference.initial_states(graph) for graph in self._graphs]
        made = [
            reference.evaluate(graph, inputs, states, given, channels)
            for graph, states, channels in zip(self._graphs, self._states, self._channels, strict=False)
        ]
        self._states = [
            reference.next_states(graph, {**values, **given}) for graph, values in zip(self._graphs, made, strict=True)
        ]
        for node in self._graphs[0].nodes:
            for name in node.outputs:
                if name in given:
                    found = [self._seen(values, name, index) for index, values in enumerate(made)]
                    self._compare(node, name, given[name], found)

    def _seen(self, values: Mapping[str, Array], name: str, graph: int) -> Array | None:
        """What a graph made of a tensor, as far as the other runtime is asked for it."""
        whole, channels = values.get(name), self._channels[graph].get(name)
        return whole if whole is None or channels is None else whole[..., channels]

    def _compare(self, node: Node, name: str, theirs: Array, made: Sequence[Array | None]) -> None:
        different = [None if ours is None else _differs(ours, theirs) for ours in made]
        ours, rest = different[0], different[1] if len(different) > 1 else None
        assert ours is not None
        if not ours.any():
            return
        cause = self._causes.setdefault(name, self._unseen(node, name))
        count = int(ours.sum())
        unexplained = count if rest is None else int(rest.sum())
        self._causes[name] = dataclasses.replace(
            cause,
            count=cause.count + count,
            of=cause.of + theirs.size,
            unexplained=cause.unexplained + unexplained,
        )

    def _unseen(self, node: Node, name: str) -> Cause:
        others = [other for graph in self._graphs[1:] for other in graph.nodes if name in other.outputs]
        theirs = _named_apart(node.op, others[0].op) if others else ""
        reason = self._reasons.get(node.name, "") or self._reasons.get("", "")
        return Cause(node.name, node.op.name, node.op.rounding, theirs, 0, 0, 0, reason)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """In the order of execution."""
        outputs = [name for node in self._graphs[0].nodes for name in node.outputs]
        return tuple(self._causes[name] for name in outputs if name in self._causes)


def _named_apart(ours: Op, theirs: Op) -> str:
    """The other's rounding rule; where both have the same, with the attributes that differ."""
    if ours.rounding != theirs.rounding or type(ours) is not type(theirs):
        return theirs.rounding
    names = [name for name in getattr(ours, "__dataclass_fields__", ()) if getattr(ours, name) != getattr(theirs, name)]
    return ", ".join([theirs.rounding, *(f"another {name}" for name in names)])


def _differs(ours: Array, theirs: Array) -> Array:
    """Compared as bits, so that NaN equals NaN and -0 differs from 0."""
    bits = f"u{theirs.dtype.itemsize}"
    return np.asarray(np.ascontiguousarray(ours).view(bits) != np.ascontiguousarray(theirs).view(bits))
