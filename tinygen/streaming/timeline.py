"""Which tensors of a graph over a window of frames have rows, and how far apart in time those are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.errors import Problem, UnsupportedModel
from tinygen.ir import Graph, Node, Tensor
from tinygen.streaming.reach import Axes, Reached, Unstreamable, reached


@dataclass(frozen=True)
class Rows:
    """A tensor's dimension of time."""

    axis: int
    length: int
    """Rows for a whole window; more than one."""
    frames: int
    """Frames of the input from each row to the next."""

    def new(self, hop: int) -> int:
        """Rows that `hop` more frames bring, of those that a window has."""
        return min(self.length, hop // self.frames)


@dataclass(frozen=True)
class Timeline:
    """What of a graph goes along with time; the rest is computed for each window anew."""

    rows: Mapping[str, Rows]
    """Of the tensors that have rows."""
    nodes: Mapping[str, Reached]
    """By the first outputs of the nodes that read such tensors: names of nodes need not differ."""

    @property
    def least_hop(self) -> int:
        """Frames of which every hop is a multiple: all rows move on by whole rows."""
        return math.lcm(*(rows.frames for rows in self.rows.values()))


def timeline(graph: Graph, axis: int | None) -> Timeline:
    """How a graph goes along with time, which is the dimension `axis` of its input, by default the first after the
    batch that is more than one.

    Raises UnsupportedModel, with every reason why results cannot be carried from one window to the next.
    """
    _expect_streamable(graph)
    (name,) = graph.inputs
    rows = {name: _of_input(graph, graph.tensors[name], axis)}
    nodes: dict[str, Reached] = {}
    problems: list[Problem] = []
    unknown: set[str] = set()
    for node in graph.nodes:
        if not unknown.isdisjoint(node.inputs):
            unknown.update(node.outputs)
            continue
        axes = {index: rows[x].axis for index, x in enumerate(node.inputs) if x in rows}
        if not axes:
            continue
        try:
            nodes[node.outputs[0]] = found = reached(node.op, graph.input_tensors(node), axes)
            rows.update(_written(graph, node, found, axes, rows))
        except Unstreamable as reason:
            problems.append(Problem(node.name, node.op.name, reason.reason, reason.remedy))
            if reason.beyond is not None:
                rows.update(_written(graph, node, reason.beyond, axes, rows))
            else:
                unknown.update(node.outputs)
    if problems:
        raise UnsupportedModel(graph.source, problems, "Or build it without --streaming, for whole windows.")
    return Timeline(rows, nodes)


def _expect_streamable(graph: Graph) -> None:
    reason, remedy = "", ""
    if len(graph.inputs) != 1:
        reason = f"it has {len(graph.inputs)} inputs, --streaming needs one, of frames"
    elif graph.states:
        reason, remedy = "it remembers: it is computed frame by frame as it is", "leave --streaming out"
    if reason:
        raise UnsupportedModel(graph.source, [Problem("the model", "", reason, remedy)])


def _of_input(graph: Graph, x: Tensor, axis: int | None) -> Rows:
    possible = [at for at, size in enumerate(x.shape) if size > 1]
    if axis is None:
        axis = next((at for at in possible if at > 0), possible[0] if possible else 0)
    if axis not in possible:
        reason = f"its dimensions are {x.shape}: dimension {axis} has no frames that follow each other"
        remedy = f"choose --time-axis {' or '.join(map(str, possible))}" if possible else "leave --streaming out"
        raise UnsupportedModel(graph.source, [Problem(f"the input {x.name.split(';')[0]!r}", "", reason, remedy)])
    return Rows(axis, x.shape[axis], 1)


def _written(graph: Graph, node: Node, found: Reached, axes: Axes, rows: Mapping[str, Rows]) -> Mapping[str, Rows]:
    """The outputs that have rows. Raises Unstreamable where they differ in more than time."""
    outputs = graph.output_tensors(node)
    if found.axis is None or outputs[0].shape[found.axis] == 1:
        return {}
    inputs = graph.input_tensors(node)
    late = [x for index, x in enumerate(inputs) if x.data is None and index not in axes]
    if late:
        raise Unstreamable(
            f"it joins each frame with {late[0].name.split(';')[0]!r}, which is made of all of the window's: earlier "
            "frames' results would have to change",
            "leave such an attention over time out",
        )
    for index, axis in found.constants.items():
        _expect_alike(inputs[index], axis)
    frames = {rows[node.inputs[index]].frames * reach.step for index, reach in found.inputs.items()}
    if len(frames) > 1:
        raise Unstreamable(f"it joins rows that are {' and '.join(map(str, sorted(frames)))} frames apart")
    apart = frames.pop()
    return {y.name: Rows(found.axis, y.shape[found.axis], apart) for y in outputs}


def _expect_alike(constant: Tensor, axis: int) -> None:
    assert constant.data is not None
    if (constant.data != constant.data.take([0], axis=axis)).any():
        raise Unstreamable(
            f"its constant {constant.name.split(';')[0]!r} is another one for each frame of the window",
            "use one that is the same for all",
        )
