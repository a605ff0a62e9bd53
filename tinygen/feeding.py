"""Models whose input comes row by row: which layers take the rows as they come, so that it is never there whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tinygen.choice import Tally, choose
from tinygen.errors import DoesNotFit, Problem, UnsupportedModel
from tinygen.fusion import fuse, fusible
from tinygen.goal import Goal
from tinygen.ir import Graph
from tinygen.ops.common import INT8
from tinygen.ops.row_group import RowGroup
from tinygen.ops.row_pool import is_global
from tinygen.planned import Plan, affords, planned, saves_ram
from tinygen.row_form import row_form
from tinygen.row_steps import RowSteps, group_step, least_bytes
from tinygen.select import Step
from tinygen.target import Core

_REMEDY = "build it without --input-rows; with --input external, the input takes no memory of the library's either"

_SHORT = 4
"""Nodes of groups that are all planned. Longer ones take more time to plan."""

_LONG = 3
"""Of longer groups, so many that may need the least RAM."""


def is_fed(graph: Graph) -> bool:
    """Whether the rows of a graph's input are fed to its first node."""
    return bool(graph.nodes) and isinstance(graph.nodes[0].op, RowGroup) and graph.nodes[0].op.fed


def fed(graph: Graph, options: Sequence[Step], core: Core, goal: Goal, ram_bytes: int | None, portable: bool) -> Plan:
    """The plan with a group of layers that the input's rows are fed to: as many from the first one on as serve best.

    `options`: the kernels where nothing is fed. An objective that saves RAM takes the group with the least, at a cost
    that it allows; where feeding by itself costs more than that, then beyond the fastest group. Others take the
    fastest. Raises UnsupportedModel where no layers can be fed, and DoesNotFit.
    """
    unfed = choose(options, goal)
    known: RowSteps = {}
    found: list[Plan] = []
    refused: list[DoesNotFit] = []
    fused = {
        run: dataclasses.replace(fuse(graph, [run], fed=True), outside=graph.outside | set(graph.inputs))
        for run in _runs(graph)
    }
    least = {run: least_bytes(grouped.nodes[0], core, goal, portable, known) for run, grouped in fused.items()}
    short = [run for run in fused if len(run) <= _SHORT]
    for run in (*short, *sorted(fused.keys() - set(short), key=lambda run: least[run])[:_LONG]):
        beaten = any(plan.layout.ram_bytes <= least[run] for plan in found)
        if run not in short and (beaten or not saves_ram(goal)):
            continue
        first = group_step(fused[run], fused[run].nodes[0], core, goal, portable, known)
        ways = [first, *options[run.stop :]]
        base: Sequence[Step] = unfed if saves_ram(goal) and affords(goal, unfed, choose(ways, goal)) else ()
        try:
            found.append(planned(fused[run], ways, goal, ram_bytes, base))
        except DoesNotFit as error:
            refused.append(error)
    if not found:
        raise refused[0]
    fastest = min(found, key=_time)
    if not saves_ram(goal):
        return fastest
    allowed: Sequence[Step] = unfed if affords(goal, unfed, fastest.steps) else fastest.steps
    return min(
        (plan for plan in found if affords(goal, allowed, plan.steps)),
        key=lambda plan: (plan.layout.ram_bytes, _time(plan)),
    )


def _time(plan: Plan) -> float:
    return Tally.of(plan.steps).time


def _runs(graph: Graph) -> list[range]:
    """All runs of nodes that the input's rows can be fed to. Raises UnsupportedModel where there are none."""
    problem = _problem_of_input(graph)
    if problem is None:
        last = max(index for index, node in enumerate(graph.nodes) if graph.inputs[0] in node.inputs)
        runs = [run for run in fusible(graph, least=1) if run.start == 0 and run.stop > last and _is_alone(graph, run)]
        if runs:
            return runs
        problem = _problem_of_layers(graph, last)
    raise UnsupportedModel(graph.source, [problem], _REMEDY)


def _is_alone(graph: Graph, run: range) -> bool:
    """Whether nodes read nothing but the input, constants, and each other's outputs."""
    nodes = graph.nodes[run.start : run.stop]
    known = {*graph.inputs, *(name for node in nodes for name in node.outputs)}
    return all(name in known or graph.tensors[name].data is not None for node in nodes for name in node.inputs)


def _problem_of_input(graph: Graph) -> Problem | None:
    """Why no layer could take the model's input in rows."""
    if len(graph.inputs) != 1:
        return Problem("the model", "", f"it has {len(graph.inputs)} inputs; a single one can come row by row", "")
    (name,) = graph.inputs
    tensor = graph.tensors[name]
    where = f"the input {name.split(';')[0]!r}"
    if tensor.dtype != INT8:
        remedy = "with --io int8, it is int8" if str(tensor.dtype) in ("float32", "uint8") else ""
        return Problem(where, "", f"it is {tensor.dtype}; rows are int8", remedy)
    if len(tensor.shape) != 4 or tensor.shape[0] != 1:
        return Problem(where, "", f"its shape is {tensor.shape}; rows are those of one image, (1, h, w, c)", "")
    if name in graph.outputs:
        return Problem(where, "", "it is an output, too", "")
    if not any(name in node.inputs for node in graph.nodes):
        return Problem(where, "", "no layer reads it", "")
    return None


def _problem_of_layers(graph: Graph, last: int) -> Problem:
    """Why the layers up to the one that is the last to read the input cannot take rows."""
    again = f"; the input is read until {graph.nodes[last].name} {graph.nodes[last].op.name}" if last else ""
    for node in graph.nodes[: last + 1]:
        if row_form(graph, node) is None and not is_global(graph, node):
            return Problem(node.name, node.op.name, f"it cannot be computed row by row{again}", "")
    return Problem(graph.nodes[0].name, graph.nodes[0].op.name, f"no group of rows begins with it{again}", "")
