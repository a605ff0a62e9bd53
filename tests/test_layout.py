"""Graphs of several operators: branches, views, unused and shared tensors keep their bytes as long as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from building import BOARD, assert_exact, build_bytes, differences, host, varied
from tflite_builder import OperatorSpec, build_model

from tinygen import pipeline
from tinygen.ir import Graph
from tinygen.layout import Layout
from tinygen.ops.case import CaseTensor

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
    assert_exact(built, varied(built, 6))


# --- random graphs ---------------------------------------------------------------------------------------------------


def random_network(seed: int) -> Network:
    """Some operators on tensors drawn from all that are there, old ones as readily as new ones."""
    rng = np.random.default_rng(seed)
    net = Network(rng)
    for _ in range(rng.integers(1, 3)):
        net.input((1, int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(1, 7))))
    written = list(net.inputs)
    for _ in range(rng.integers(3, 11)):
        x = int(rng.choice(written))
        alike = [other for other in written if net.shape(other) == net.shape(x)]
        image = len(net.shape(x)) == 4
        choices = ["flatten", "dense", "add", "add"] + ["conv", "conv", "max_pool"] * image
        kind = rng.choice(choices)
        if kind == "add":
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
    assert_exact(built, varied(built, 4))


@pytest.mark.parametrize("objective", ["speed", "size"])
@pytest.mark.parametrize("seed", range(24, 28))
def test_random_graphs_are_exact_under_every_objective(seed: int, objective: str, tmp_path: Path) -> None:
    built = build_bytes(random_network(seed).file(), tmp_path, objective=objective)
    assert differences(built, varied(built, 4), host(built)) == []


def storage(graph: Graph) -> dict[str, str]:
    """The tensor whose bytes each tensor shows: RESHAPE shows its input's."""
    held = {name: name for name in graph.inputs}
    for node in graph.nodes:
        for name in node.outputs:
            held[name] = held[node.inputs[0]] if node.op.name == "RESHAPE" else name
    return held


def clobbered(graph: Graph, layout: Layout) -> list[str]:
    """Runs the graph with byte ranges instead of values: what is read but no longer holds what was written."""
    held = storage(graph)
    memory: dict[int, str] = {}
    wrong: list[str] = []

    def span(name: str) -> range:
        return range(layout.offsets[name], layout.offsets[name] + graph.tensors[name].bytes)

    def write(name: str) -> None:
        memory.update(dict.fromkeys(span(name), held[name]))

    def read(name: str, who: str) -> None:
        if any(memory.get(byte) != held[name] for byte in span(name)):
            wrong.append(f"{who} reads {name}")

    for name in graph.inputs:
        write(name)
    for node in graph.nodes:
        operands = [name for name in node.inputs if graph.tensors[name].data is None]
        for name in operands:
            read(name, node.name)
        if node.op.name != "RESHAPE":
            for name in node.outputs:
                write(name)
            for name in operands:  # a layer reads until its end: no operand may lie under its output
                read(name, f"{node.name} after writing")
    for name in graph.outputs:
        read(name, "the caller")
    return wrong


@pytest.mark.parametrize("seed", range(0, 400, 100))
def test_nothing_that_is_still_read_is_overwritten(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.tflite"
    for offset in range(100):
        path.write_bytes(random_network(1000 + seed + offset).file())
        model = pipeline.read(path)
        build = pipeline.build(model, BOARD)
        assert clobbered(model.graph, build.layout) == [], f"seed {1000 + seed + offset}"
        plan = build.layout.plan
        limit = build.manifest.arena_bytes
        assert plan.bytes == limit
        for name, start in build.layout.offsets.items():
            tensor = model.graph.tensors[name]
            assert start % tensor.dtype.itemsize == 0 and 0 <= start <= limit - tensor.bytes


def test_the_check_above_notices_an_overlap(tmp_path: Path) -> None:
    path = tmp_path / "branches.tflite"
    path.write_bytes(branches().file())
    model = pipeline.read(path)
    layout = pipeline.build(model, BOARD).layout
    for name in layout.offsets:
        other = next(n for n in layout.offsets if layout.offsets[n] != layout.offsets[name])
        broken = Layout(layout.plan, {**layout.offsets, name: layout.offsets[other]})
        assert clobbered(model.graph, broken), name
