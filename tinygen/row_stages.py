"""The stages of a group of nodes that are computed row by row: what is called, in which order, with which rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.ir import Graph, Node, Tensor
from tinygen.kernel import overlaps
from tinygen.memory import aligned
from tinygen.row_form import RowForm, row_form
from tinygen.row_schedule import Schedule, Stage, schedule
from tinygen.select import Step

_COPY = "rows of "


def form_of(graph: Graph, node: Node) -> RowForm:
    """The form of a node that has one."""
    form = row_form(graph, node)
    assert form is not None, node.name
    return form


def height_of(graph: Graph, node: Node) -> int:
    """The rows that are computed: of the output, or those of the input that are added to it."""
    name = node.inputs[0] if form_of(graph, node).accumulates else node.outputs[0]
    return graph.tensors[name].shape[1]


@dataclass(frozen=True)
class RowStages:
    """A choice of kernels for the nodes of a group, and when each of them is called.

    Stages that copy rows of inputs come first, then one for each node.
    """

    graph: Graph
    steps: tuple[Step, ...]
    forms: tuple[RowForm, ...]
    copied: tuple[str, ...]
    """The inputs whose rows are copied: padding goes around them, or they come one by one."""
    hosts: Mapping[str, tuple[str, int]]
    """Tensors that lie in the rows that their only reader writes: in whose rows, and how many bytes in."""
    stages: tuple[Stage, ...]
    schedule: Schedule

    @property
    def is_fed(self) -> bool:
        """Whether rows of the input come one by one."""
        return bool(self.graph.outside)

    @property
    def shift(self) -> int:
        """The number of stages before the first node's."""
        return len(self.copied)

    def tensor(self, name: str) -> Tensor:
        """The tensor whose rows something is called after."""
        return self.graph.tensors[original(name)]

    def pitch(self, name: str) -> int:
        """Bytes of one of its rows."""
        tensor = self.tensor(name)
        return tensor.bytes // tensor.shape[1]

    def host(self, name: str) -> tuple[str, int]:
        """What the rows of a tensor lie in, at last: its own memory, or another tensor's; and how many bytes in."""
        if name not in self.hosts:
            return name, 0
        outer, distance = self.hosts[name]
        found, further = self.host(outer)
        return found, distance + further


def original(name: str) -> str:
    """The tensor that rows are of, which may be a copy."""
    return name.removeprefix(_COPY)


def row_stages(graph: Graph, steps: Sequence[Step], rows: Sequence[int], early: frozenset[int]) -> RowStages:
    """The stages of a group's nodes whose calls compute so many `rows` each; those of `early` nodes go ahead."""
    forms = tuple(form_of(graph, node) for node in graph.nodes)
    copied = tuple(
        name
        for name in graph.inputs
        if any(
            name in node.inputs and (form.pads or graph.outside) for node, form in zip(graph.nodes, forms, strict=True)
        )
    )
    ahead = {graph.nodes[index].outputs[0] for index in early}
    hosts = _hosts(graph, steps, rows, ahead)
    found = [Stage((name,), _copy_of(name), graph.tensors[name].shape[1], 1, 1, 1, 0) for name in copied]
    for node, form, count in zip(graph.nodes, forms, rows, strict=True):
        read = (name for name in node.inputs if graph.tensors[name].data is None)
        from_lines = copied if form.pads or graph.outside else ()
        found.append(
            Stage(
                tuple(_copy_of(name) if name in from_lines else name for name in read),
                node.outputs[0],
                calls=height_of(graph, node) // count,
                rows=1 if form.accumulates else count,
                taps=form.rows(count),
                step=count * form.stride,
                before=form.before,
                accumulates=form.accumulates,
                place=hosts.get(node.outputs[0], ("", 0))[0],
                early=node.outputs[0] in ahead,
            )
        )
    return RowStages(graph, tuple(steps), forms, copied, hosts, tuple(found), schedule(found))


def may_be_early(group: RowStages) -> Iterator[int]:
    """The nodes that read no rows but those in line buffers, and none that nobody else does."""
    readers = Counter(name for stage in group.stages for name in stage.inputs)
    for index, stage in enumerate(group.stages[group.shift : -1]):
        in_lines = all(name in group.schedule.lines for name in stage.inputs)
        if in_lines and not stage.accumulates and all(readers[name] > 1 for name in stage.inputs):
            yield index


def _hosts(graph: Graph, steps: Sequence[Step], rows: Sequence[int], ahead: set[str]) -> dict[str, tuple[str, int]]:
    """Tensors that can lie in the rows that their only reader writes."""
    found: dict[str, tuple[str, int]] = {}
    written = {node.outputs[0]: count for node, count in zip(graph.nodes, rows, strict=True)}

    def may_wait(name: str, output: str) -> bool:
        """Whether rows, if they are early, can lie in those of `output`, which have to be there already."""
        x, y = graph.tensors[name], graph.tensors[output]
        is_end = output == graph.outputs[0] and x.bytes // x.shape[1] == y.bytes // y.shape[1]
        return name not in ahead or is_end

    for step in steps:
        output = step.node.outputs[0]
        free = (
            (name, distance)
            for index, distance in _distances(step)
            if _is_read_once(graph, name := step.node.inputs[index])
            and written[name] == written[output]
            and may_wait(name, output)
        )
        # What is early waits longest.
        first = min(free, key=lambda place: place[0] not in ahead, default=None)
        if first is not None:
            found[first[0]] = output, first[1]
    return found


def _is_read_once(graph: Graph, name: str) -> bool:
    written = any(name in node.outputs for node in graph.nodes)
    return written and sum(node.inputs.count(name) for node in graph.nodes) == 1


def _distances(step: Step) -> Iterator[tuple[int, int]]:
    """Inputs whose rows may lie within the output's, and how many bytes after their beginning."""
    y = step.site.outputs[0]
    for index, allowed in overlaps(step.kernel, step.site).items():
        x = step.site.inputs[index]
        if x.shape[1] == y.shape[1] and x.bytes <= y.bytes:
            above = aligned(max(allowed.input_above, 0))
            if allowed.in_place or allowed.output_above <= 0:
                yield index, 0
            elif x.bytes + above <= y.bytes:
                yield index, above


def _copy_of(name: str) -> str:
    return _COPY + name
