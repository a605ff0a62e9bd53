"""Graphs of several operators: branches, parts and wholes, states, unused and shared tensors.

All keep their bytes as long as they are read, whatever shares memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from building import assert_exact, build_bytes, differences, host, varied
from named_networks import (
    WITH_LAYERS,
    WITH_STATE,
    WITHOUT_LAYERS,
    branches,
    joined_long_before_it_is_needed,
    joined_rows,
    packed_and_unpacked,
    parts_outlive_the_whole,
    remembers_its_output,
    slice_of_a_slice,
    streaming,
    streaming_in_two_layers,
)
from networks import random_network

from tinygen import pipeline
from tinygen.goal import Goal
from tinygen.ir import Graph, Node
from tinygen.layout import Layout, Place
from tinygen.memory import ALIGNMENT
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.strided_copy import StridedCopy
from tinygen.plan import plan
from tinygen.select import Step
from tinygen.target import load_core


@pytest.mark.parametrize("network", [*WITH_LAYERS, *WITHOUT_LAYERS], ids=lambda network: network.__name__)
def test_named_graphs_are_exact(network: object, tmp_path: Path) -> None:
    built = build_bytes(network().file(), tmp_path)  # type: ignore[operator]
    assert bool(built.manifest.layers) == (network in WITH_LAYERS)
    assert (built.manifest.reset is not None) == (built.manifest.state_bytes > 0) == (network in WITH_STATE)
    assert_exact(built, varied(built, 24 if network in WITH_STATE else 6))


# --- random graphs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_are_exact(seed: int, tmp_path: Path) -> None:
    built = build_bytes(random_network(seed).file(), tmp_path)
    assert_exact(built, varied(built, 8))


@pytest.mark.parametrize("objective", ["speed", "size"])
@pytest.mark.parametrize("seed", range(24, 28))
def test_random_graphs_are_exact_under_every_objective(seed: int, objective: str, tmp_path: Path) -> None:
    built = build_bytes(random_network(seed).file(), tmp_path, objective=objective)
    assert differences(built, varied(built, 4), host(built)) == []


def origins(graph: Graph) -> dict[str, list[tuple[str, int]]]:
    """For each tensor, whose value each of its bytes is: those of what only moves bytes are its inputs'."""
    found: dict[str, list[tuple[str, int]]] = {}

    def fresh(name: str) -> list[tuple[str, int]]:
        return [(name, byte) for byte in range(graph.tensors[name].bytes)]

    def traced(node: Node) -> list[tuple[str, int]]:
        """By the reference itself, on the numbers of bytes instead of their values."""
        operands, numbers, table = [], 0, []
        for name in node.inputs:
            tensor = graph.tensors[name]
            assert tensor.dtype.itemsize == 1
            operands.append(np.arange(numbers, numbers + tensor.bytes).reshape(tensor.shape))
            numbers += tensor.bytes
            table += found.get(name, fresh(name))
        (result,) = node.op.reference(*operands)
        return [table[number] for number in result.reshape(-1)]

    for name in (*graph.inputs, *(state.read for state in graph.states)):
        found[name] = fresh(name)
    for node in graph.nodes:
        if isinstance(node.op, StridedCopy | Concatenation):
            found[node.outputs[0]] = traced(node)
        else:
            found |= {name: fresh(name) for name in node.outputs}
    return found


def clobbered(graph: Graph, steps: Sequence[Step], layout: Layout) -> list[str]:
    """Runs the graph with the origins of bytes instead of values: what is read but is not there any more.

    An operand may lie under its step's output only as far as the kernel says.
    """
    held = origins(graph)
    memory: dict[tuple[str, int], tuple[str, int]] = {}
    wrong: list[str] = []

    def span(name: str) -> list[tuple[str, int]]:
        place = layout.places[name]
        return [(place.memory, place.offset + byte) for byte in range(graph.tensors[name].bytes)]

    def write(name: str) -> None:
        memory.update(zip(span(name), held[name], strict=True))

    def read(name: str, who: str) -> None:
        if [memory.get(byte) for byte in span(name)] != held[name]:
            wrong.append(f"{who} reads {name}")

    for name in (*(state.read for state in graph.states), *graph.inputs):
        write(name)
    for state in graph.states:
        read(state.read, "what the input was written over")
    for index, node in enumerate(graph.nodes):
        operands = [name for name in node.inputs if graph.tensors[name].data is None]
        for name in operands:
            read(name, node.name)
        if len(layout.aliased[index]) < len(node.inputs):
            for name in node.outputs:
                write(name)
            if not isinstance(node.op, StridedCopy):
                for name in operands:  # otherwise a layer reads until its end
                    if not may_overlap(steps[index], layout, name):
                        read(name, f"{node.name} after writing")
    for name in graph.outputs:
        read(name, "the caller")
    for state in graph.states:
        assert layout.places[state.read] == layout.places[state.written]
        read(state.written, "the next invocation")
    return wrong


def may_overlap(step: Step, layout: Layout, name: str) -> bool:
    """Whether a step's kernel bears that its output lies where it does, whichever input the tensor is."""
    declared = step.kernel.overlaps(step.site) if len(step.node.outputs) == 1 else {}
    memories, offsets = zip(layout.places[name], layout.places[step.node.outputs[0]], strict=True)
    above = offsets[0] - offsets[1]

    def bears(index: int) -> bool:
        if index not in declared:
            return False
        input_above, output_above, in_place = declared[index]
        return above >= input_above or -above >= output_above or (in_place and above == 0)

    operands = [index for index, other in enumerate(step.node.inputs) if other == name]
    return len(set(memories)) == 1 and all(map(bears, operands))


@pytest.mark.parametrize("seed", [0, 50, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 400, 50))])
def test_nothing_that_is_still_read_is_overwritten(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    for offset in range(50):
        path.write_bytes(random_network(1000 + seed + offset).file())
        model = pipeline.read(path)
        chosen = plan(model.graph, load_core("cortex-m4"), Goal())
        layout = chosen.layout
        assert clobbered(chosen.graph, chosen.steps, layout) == [], f"seed {1000 + seed + offset}"
        for name, (memory, start) in layout.places.items():
            tensor = chosen.graph.tensors[name]
            end = layout.plan.bytes if memory == "arena" else layout.state_bytes
            assert start % tensor.dtype.itemsize == 0 and 0 <= start <= end - tensor.bytes


@pytest.mark.parametrize("network", [branches, streaming_in_two_layers], ids=lambda network: network.__name__)
def test_the_check_above_notices_an_overlap(network: object, tmp_path: Path) -> None:
    path = tmp_path / "network.tflite"
    path.write_bytes(network().file())  # type: ignore[operator]
    model = pipeline.read(path)
    steps, layout = (chosen := plan(model.graph, load_core("cortex-m4"), Goal())).steps, chosen.layout
    assert clobbered(model.graph, steps, layout) == []
    written = {name for node in model.graph.nodes for name in node.outputs} - {s.written for s in model.graph.states}
    anywhere = [Place("arena", offset) for offset in range(0, layout.plan.bytes, ALIGNMENT)]
    for name in written:
        moved = [
            dataclasses.replace(layout, places={**layout.places, name: other})
            for other in {*layout.places.values(), *anywhere} - {layout.places[name]}
        ]
        assert any(clobbered(model.graph, steps, broken) for broken in moved), name


# --- what sharing saves ----------------------------------------------------------------------------------------------


MOVING = ("strided_copy.", "concatenation.", "moves.")
"""What the names of kernels that only move bytes begin with."""


def copies(network: object, tmp_path: Path) -> list[str]:
    """The layers that only move bytes."""
    built = build_bytes(network().file(), tmp_path)  # type: ignore[operator]
    return [layer.op for layer in built.manifest.layers if layer.kernel.startswith(MOVING)]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (joined_rows, []),
        (packed_and_unpacked, []),
        (slice_of_a_slice, []),
        (parts_outlive_the_whole, []),
        (remembers_its_output, ["ASSIGN_VARIABLE"]),
        (streaming, ["ASSIGN_VARIABLE"]),
        (streaming_in_two_layers, ["ASSIGN_VARIABLE"] * 2),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_lies_where_it_is_needed_is_not_copied(network: object, expected: list[str], tmp_path: Path) -> None:
    assert copies(network, tmp_path) == expected


def test_a_copy_is_made_where_sharing_would_take_more_memory(tmp_path: Path) -> None:
    built = build_bytes(joined_long_before_it_is_needed().file(), tmp_path)
    assert "CONCATENATION" in [layer.op for layer in built.manifest.layers]
