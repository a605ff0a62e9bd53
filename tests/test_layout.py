"""Graphs of several operators: branches, parts and wholes, states, unused and shared tensors.

All keep their bytes as long as they are read, whatever shares memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from building import assert_exact, build_bytes, differences, host, varied
from tflite_builder import OperatorSpec, build_model

from tinygen import pipeline
from tinygen.goal import Goal
from tinygen.ir import Graph, Node
from tinygen.layout import Layout, Place
from tinygen.memory import ALIGNMENT
from tinygen.ops.case import CaseTensor
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.strided_copy import StridedCopy
from tinygen.plan import plan
from tinygen.select import Step
from tinygen.target import load_core

Shape = tuple[int, ...]


@dataclass
class Network:
    """A model in the making; operators return the id of the tensor that they write."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    tensors: list[CaseTensor] = field(default_factory=list)
    operators: list[OperatorSpec] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: Sequence[int] = ()

    def input(self, shape: Shape, dtype: str = "int8") -> int:
        self.inputs.append(self._activation(shape, dtype))
        return self.inputs[-1]

    def constant(self, shape: Shape) -> int:
        data = self.rng.integers(-128, 128, shape, np.int8)
        return self._add(CaseTensor(shape, scale=0.1, zero_point=3, data=data))

    def reshape(self, x: int, shape: Shape) -> int:
        return self._run("RESHAPE", [x], shape, {"new_shape": shape})

    def flatten(self, x: int) -> int:
        return self.reshape(x, (1, self.elements(x)))

    def concatenate(self, parts: Sequence[int], axis: int) -> int:
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self._run("CONCATENATION", parts, tuple(shape), {"axis": axis})

    def slice(self, x: int, axis: int, begin: int, size: int) -> int:
        shape = self.shape(x)
        begins = [begin if index == axis else 0 for index in range(len(shape))]
        sizes = [size if index == axis else dim for index, dim in enumerate(shape)]
        return self._run("SLICE", [x, self.integers(begins), self.integers(sizes)], tuple(sizes), {})

    def split(self, x: int, axis: int, count: int) -> list[int]:
        shape = list(self.shape(x))
        shape[axis] //= count
        outputs = [self._activation(tuple(shape)) for _ in range(count)]
        axis_tensor = self._add(CaseTensor((), "int32", data=np.array(axis, np.int32)))
        self.operators.append(("SPLIT", [axis_tensor, x], outputs, {"num_splits": count}))
        return outputs

    def pack(self, parts: Sequence[int]) -> int:
        shape = (len(parts), *self.shape(parts[0]))
        return self._run("PACK", parts, shape, {"values_count": len(parts), "axis": 0})

    def unpack(self, x: int) -> list[int]:
        outputs = [self._activation(self.shape(x)[1:]) for _ in range(self.shape(x)[0])]
        self.operators.append(("UNPACK", [x], outputs, {"num": len(outputs), "axis": 0}))
        return outputs

    def variable(self, name: str) -> int:
        handle = self._add(CaseTensor((1,), "resource"))
        self.operators.append(("VAR_HANDLE", [], [handle], {"shared_name": name}))
        return handle

    def read(self, variable: int, shape: Shape) -> int:
        return self._run("READ_VARIABLE", [variable], shape, {})

    def assign(self, variable: int, value: int) -> None:
        self.operators.append(("ASSIGN_VARIABLE", [variable, value], [], {}))

    def integers(self, values: Sequence[int]) -> int:
        return self._add(CaseTensor((len(values),), "int32", data=np.array(values, np.int32)))

    def add(self, a: int, b: int) -> int:
        return self._run("ADD", [a, b], self.shape(a), {})

    def max_pool(self, x: int) -> int:
        """3x3 with overlapping windows: it reads neighbours long after it wrote the first pixel."""
        sides = {"filter_height": 3, "filter_width": 3, "stride_h": 1, "stride_w": 1, "padding": "SAME"}
        return self._run("MAX_POOL_2D", [x], self.shape(x), sides)

    def conv(self, x: int, filters: int, size: int = 3) -> int:
        options = {"stride_h": 1, "stride_w": 1, "padding": "SAME"}
        weights = self._weights((filters, size, size, self.shape(x)[3]))
        return self._run("CONV_2D", [x, weights], (*self.shape(x)[:3], filters), options)

    def dense(self, x: int, units: int) -> int:
        return self._run("FULLY_CONNECTED", [x, self._weights((units, self.elements(x)))], (1, units), {})

    def quantize(self, x: int) -> int:
        return self._run("QUANTIZE", [x], self.shape(x), {})

    def dequantize(self, x: int) -> int:
        return self._run("DEQUANTIZE", [x], self.shape(x), {}, "float32")

    def shape(self, tensor: int) -> Shape:
        return self.tensors[tensor].shape

    def elements(self, tensor: int) -> int:
        return int(np.prod(self.shape(tensor)))

    def file(self) -> bytes:
        return build_model(self.tensors, self.operators, self.inputs, self.outputs)

    def _weights(self, shape: Shape) -> int:
        return self._add(CaseTensor(shape, scale=0.01, data=self.rng.integers(-127, 128, shape, np.int8)))

    def _activation(self, shape: Shape, dtype: str = "int8") -> int:
        quantised = dtype == "int8"
        return self._add(CaseTensor(shape, dtype, scale=0.1 if quantised else None, zero_point=3 if quantised else 0))

    def _add(self, tensor: CaseTensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _run(
        self, op: str, inputs: Sequence[int], shape: Shape, options: Mapping[str, object], dtype: str = "int8"
    ) -> int:
        output = self._activation(shape, dtype)
        self.operators.append((op, inputs, [output], options))
        return output


# --- named edges -----------------------------------------------------------------------------------------------------

IMAGE = (1, 3, 4, 5)


def skip_connections() -> Network:
    net = Network()
    x = net.input(IMAGE)
    a = net.conv(x, 5)
    b = net.conv(a, 5)
    c = net.add(a, b)
    net.outputs = [net.dense(net.add(net.max_pool(c), x), 4)]
    return net


def branches() -> Network:
    net = Network()
    x = net.input(IMAGE)
    left, right = net.conv(x, 7, 1), net.conv(x, 7, 3)
    net.outputs = [net.add(net.max_pool(left), net.max_pool(right))]
    return net


def several_inputs_and_outputs() -> Network:
    net = Network()
    x, y = net.input(IMAGE), net.input((1, 7))
    a = net.conv(x, 3)
    net.outputs = [net.dense(y, 60), a, net.max_pool(a)]
    return net


def output_of_every_layer() -> Network:
    net = Network()
    x = net.input((1, 9))
    a = net.dense(x, 8)
    b = net.dense(a, 7)
    net.outputs = [net.dense(b, 6), b, a]
    return net


def unused_output() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.max_pool(net.conv(x, 4))
    net.outputs = [net.dense(x, 5)]
    return net


def unused_input() -> Network:
    net = Network()
    net.input((1, 50))
    net.outputs = [net.dense(net.input((1, 6)), 5)]
    return net


def input_is_also_an_output() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [x, net.dense(net.max_pool(net.conv(x, 2)), 3)]
    return net


def view_and_its_source_both_live_on() -> Network:
    net = Network()
    x = net.input(IMAGE)
    a = net.conv(x, 5)
    flat = net.flatten(a)
    b = net.dense(flat, 60)
    net.outputs = [net.add(net.reshape(b, IMAGE), a), net.add(flat, b)]
    return net


def view_of_the_input() -> Network:
    net = Network()
    x = net.input(IMAGE)
    flat = net.flatten(x)
    a = net.conv(x, 5)
    net.outputs = [net.add(net.flatten(a), flat)]
    return net


def views_of_views() -> Network:
    net = Network()
    a = net.conv(net.input(IMAGE), 5)
    b = net.reshape(net.reshape(net.flatten(a), (5, 12)), (1, 4, 3, 5))
    net.outputs = [net.dense(net.max_pool(b), 9)]
    return net


def view_is_the_output() -> Network:
    net = Network()
    a = net.conv(net.input(IMAGE), 5)
    net.outputs = [net.dense(a, 3), net.flatten(a)]
    return net


def added_to_itself() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [net.add(x, x)]
    return net


def folded_constant() -> Network:
    net = Network()
    x = net.input((1, 60))
    net.outputs = [net.add(x, net.flatten(net.constant(IMAGE)))]
    return net


def floats_beside_bytes() -> Network:
    net = Network()
    x, y = net.input((1, 7), "float32"), net.input((1, 3))
    a = net.dense(net.quantize(x), 3)
    net.outputs = [net.dequantize(net.add(a, y)), y]
    return net


def output_twice() -> Network:
    net = Network()
    a = net.dense(net.input((1, 6)), 5)
    net.outputs = [a, a]
    return net


def joined_rows() -> Network:
    net = Network()
    x = net.input(IMAGE)
    rows = net.concatenate([net.conv(x, 5), net.max_pool(x), net.conv(x, 5, 1)], 1)
    net.outputs = [net.conv(rows, 2)]
    return net


def joined_channels() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [net.conv(net.concatenate([net.conv(x, 2), x, net.conv(x, 3)], 3), 2)]
    return net


def joined_twice() -> Network:
    net = Network()
    x = net.input((1, 12))
    a, b = net.dense(x, 5), net.dense(x, 7)
    net.outputs = [net.add(net.concatenate([a, b], 1), net.concatenate([b, a], 1))]
    return net


def joined_with_itself() -> Network:
    net = Network()
    a = net.dense(net.input((1, 6)), 4)
    net.outputs = [net.dense(net.concatenate([a, a], 1), 3)]
    return net


def joined_input_and_constant() -> Network:
    net = Network()
    net.outputs = [net.dense(net.concatenate([net.input((1, 6)), net.constant((1, 5))], 1), 3)]
    return net


def joined_long_before_it_is_needed() -> Network:
    net = Network()
    x = net.input((1, 8, 8, 4))
    small = net.conv(x, 1, 1)
    big = net.conv(net.conv(net.conv(x, 8), 8), 6)
    flat = net.concatenate([net.flatten(small), net.flatten(big)], 1)
    net.outputs = [net.dense(flat, 3)]
    return net


def split_and_joined_again() -> Network:
    net = Network()
    a = net.conv(net.input((1, 4, 3, 5)), 6)
    net.outputs = [net.concatenate(net.split(a, 1, 2), 1), net.concatenate(net.split(a, 3, 3)[::-1], 3)]
    return net


def parts_outlive_the_whole() -> Network:
    net = Network()
    a = net.conv(net.input((1, 4, 3, 5)), 6)
    first, second = net.split(a, 1, 2)
    net.outputs = [net.add(net.max_pool(net.conv(first, 6)), second), net.slice(a, 1, 3, 1)]
    return net


def slice_of_a_slice() -> Network:
    net = Network()
    a = net.slice(net.dense(net.input((1, 9)), 12), 1, 2, 8)
    net.outputs = [net.add(net.slice(a, 1, 0, 4), net.slice(a, 1, 3, 4))]
    return net


def packed_and_unpacked() -> Network:
    net = Network()
    x = net.input((1, 9))
    rows = net.unpack(net.pack([net.dense(x, 5), net.dense(x, 5), net.dense(x, 5)]))
    net.outputs = [net.add(net.dense(rows[2], 5), rows[0])]
    return net


def streaming() -> Network:
    """The newest frame joins those remembered; all but the oldest are remembered."""
    net = Network()
    history = net.variable("history")
    frames = net.concatenate([net.read(history, (1, 4, 1, 5)), net.input((1, 1, 1, 5))], 1)
    net.assign(history, net.slice(frames, 1, 1, 4))
    net.outputs = [net.conv(frames, 3)]
    return net


def streaming_in_two_layers() -> Network:
    net = Network()
    first, second = net.variable("first"), net.variable("second")
    frames = net.concatenate([net.read(first, (1, 2, 1, 5)), net.input((1, 3, 1, 5))], 1)
    net.assign(first, net.slice(frames, 1, 3, 2))
    activations = net.concatenate([net.read(second, (1, 4, 1, 2)), net.conv(frames, 2)], 1)
    net.assign(second, net.slice(activations, 1, 5, 4))
    net.outputs = [net.dense(net.flatten(activations), 3)]
    return net


def remembers_its_output() -> Network:
    net = Network()
    last = net.variable("last")
    y = net.add(net.dense(net.input((1, 6)), 5), net.read(last, (1, 5)))
    net.assign(last, y)
    net.outputs = [y]
    return net


def remembers_its_input() -> Network:
    net = Network()
    last = net.variable("last")
    x = net.input((1, 6))
    net.outputs = [net.add(x, net.read(last, (1, 6)))]
    net.assign(last, x)
    return net


def variables_change_places() -> Network:
    net = Network()
    left, right = net.variable("left"), net.variable("right")
    a, b = net.read(left, (1, 6)), net.read(right, (1, 6))
    net.assign(left, b)
    net.assign(right, net.add(a, net.input((1, 6))))
    net.outputs = [net.dense(a, 3), b]
    return net


def a_delay_line() -> Network:
    net = Network()
    names = [net.variable(f"tap{index}") for index in range(4)]
    x = net.input((1, 6))
    taps = [x, *(net.read(name, (1, 6)) for name in names)]
    for name, tap in zip(names, taps, strict=False):
        net.assign(name, tap)
    net.outputs = [net.concatenate(taps, 1)]
    return net


def read_after_assigning() -> Network:
    net = Network()
    last = net.variable("last")
    before = net.read(last, (1, 6))
    net.assign(last, net.add(before, net.input((1, 6))))
    net.outputs = [net.add(before, net.dense(net.read(last, (1, 6)), 6))]
    return net


def assigned_twice() -> Network:
    net = Network()
    last = net.variable("last")
    before, x = net.read(last, (1, 6)), net.input((1, 6))
    net.assign(last, x)
    net.assign(last, net.dense(before, 6))
    net.outputs = [net.add(net.read(last, (1, 6)), x)]
    return net


def assigned_a_constant() -> Network:
    net = Network()
    last = net.variable("last")
    net.outputs = [net.add(net.read(last, (1, 6)), net.input((1, 6)))]
    net.assign(last, net.constant((1, 6)))
    return net


def only_read() -> Network:
    net = Network()
    net.outputs = [net.add(net.read(net.variable("never assigned"), (1, 6)), net.input((1, 6)))]
    return net


def only_assigned() -> Network:
    net = Network()
    x = net.input((1, 6))
    net.assign(net.variable("never read"), net.dense(x, 4))
    net.outputs = [net.dense(x, 3)]
    return net


WITH_STATE = (
    streaming,
    streaming_in_two_layers,
    remembers_its_output,
    remembers_its_input,
    variables_change_places,
    a_delay_line,
    read_after_assigning,
    assigned_twice,
    assigned_a_constant,
)

WITH_LAYERS = (
    skip_connections,
    branches,
    several_inputs_and_outputs,
    output_of_every_layer,
    unused_output,
    unused_input,
    input_is_also_an_output,
    view_and_its_source_both_live_on,
    view_of_the_input,
    views_of_views,
    view_is_the_output,
    added_to_itself,
    folded_constant,
    floats_beside_bytes,
    output_twice,
    joined_rows,
    joined_channels,
    joined_twice,
    joined_with_itself,
    joined_input_and_constant,
    joined_long_before_it_is_needed,
    split_and_joined_again,
    parts_outlive_the_whole,
    slice_of_a_slice,
    packed_and_unpacked,
    only_read,
    only_assigned,
    *WITH_STATE,
)


def straight_from_input_to_output() -> Network:
    net = Network()
    net.outputs = [net.flatten(net.input(IMAGE))]
    return net


def input_and_its_view_are_outputs() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [net.flatten(x), x]
    return net


def nothing_but_views() -> Network:
    net = Network()
    x, y = net.input(IMAGE), net.input((1, 6))
    net.outputs = [net.reshape(y, (3, 2)), net.reshape(net.flatten(x), (5, 12))]
    return net


WITHOUT_LAYERS = (straight_from_input_to_output, input_and_its_view_are_outputs, nothing_but_views)


@pytest.mark.parametrize("network", [*WITH_LAYERS, *WITHOUT_LAYERS], ids=lambda network: network.__name__)
def test_named_graphs_are_exact(network: object, tmp_path: Path) -> None:
    built = build_bytes(network().file(), tmp_path)  # type: ignore[operator]
    assert bool(built.manifest.layers) == (network in WITH_LAYERS)
    assert (built.manifest.reset is not None) == (built.manifest.state_bytes > 0) == (network in WITH_STATE)
    assert_exact(built, varied(built, 24 if network in WITH_STATE else 6))


# --- random graphs ---------------------------------------------------------------------------------------------------


def random_network(seed: int) -> Network:
    """Some operators on tensors drawn from all that are there, old ones as readily as new ones."""
    rng = np.random.default_rng(seed)
    net = Network(rng)
    for _ in range(rng.integers(1, 3)):
        net.input((1, int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(1, 7))))
    written = list(net.inputs)
    variables: list[tuple[int, Shape]] = []
    for _ in range(rng.integers(0, 3)):
        shape = net.shape(int(rng.choice(written)))
        variables.append((net.variable(f"variable {len(variables)}"), shape))
        written.append(net.read(*variables[-1]))
    for _ in range(rng.integers(3, 11)):
        x = int(rng.choice(written))
        alike = [other for other in written if net.shape(other) == net.shape(x)]
        image = len(net.shape(x)) == 4
        choices = ["flatten", "dense", "add", "add", "join", "slice"] + ["conv", "conv", "max_pool", "split"] * image
        kind = rng.choice(choices)
        if kind == "join":
            parts = [int(part) for part in rng.choice(alike, rng.integers(1, 4))]
            written.append(net.concatenate(parts, int(rng.integers(len(net.shape(x))))))
        elif kind == "slice":
            axis = int(rng.integers(len(net.shape(x))))
            begin = int(rng.integers(net.shape(x)[axis]))
            written.append(net.slice(x, axis, begin, int(rng.integers(1, net.shape(x)[axis] - begin + 1))))
        elif kind == "split":
            axis = int(rng.integers(1, 4))
            written += net.split(x, axis, net.shape(x)[axis])
        elif kind == "add":
            written.append(net.add(x, int(rng.choice(alike))))
        elif kind == "conv":
            written.append(net.conv(x, int(rng.integers(1, 7)), int(rng.choice([1, 3]))))
        elif kind == "dense":
            written.append(net.dense(x, int(rng.integers(1, 30))))
        elif kind == "flatten":
            flat = (1, 1, 1, net.elements(x)) if rng.random() < 0.5 else (1, net.elements(x))
            written.append(net.reshape(x, flat))
        else:
            written.append(net.max_pool(x))
    for variable, shape in variables:
        net.assign(variable, int(rng.choice([tensor for tensor in written if net.shape(tensor) == shape])))
    read = {tensor for _, inputs, _, _ in net.operators for tensor in inputs}
    loose = [tensor for tensor in written if tensor not in read and rng.random() < 0.8]
    kept = [tensor for tensor in written if rng.random() < 0.15]
    net.outputs = list(dict.fromkeys([*loose, *kept])) or [written[-1]]
    rng.shuffle(net.outputs)
    net.outputs = [int(tensor) for tensor in net.outputs]
    return net


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
