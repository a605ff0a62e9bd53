"""Intervals hold what operators compute, for every operator of the registry, and are no wider than they have to be."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from case_files import case_file
from operator_cases import FAMILIES, NAMED, named_cases
from tflite_builder import build_case

from tinygen import pipeline, reference
from tinygen.check import check
from tinygen.interval import Interval
from tinygen.ir import Array, Graph, Node, Op, State, Tensor, read_only
from tinygen.ops.add import Add
from tinygen.ops.arg_extremum import ArgMax, ArgMin
from tinygen.ops.case import Case
from tinygen.ops.cast import Cast
from tinygen.ops.common import INT8
from tinygen.ops.div import Div
from tinygen.ops.extremum import Minimum
from tinygen.ops.float_cubic import FloatCubic
from tinygen.ops.gather import Gather
from tinygen.ops.weighted import Weighted
from tinygen.passes.note_bounds import note_bounds
from tinygen.range_analysis import accumulator_range, tensor_intervals
from tinygen.rescaling import Requant


def decoded(case: Case) -> pipeline.Model:
    name, data = case_file(case)
    return pipeline.decode(data, name)


def integer_nodes(name: str) -> Iterator[tuple[Graph, Node]]:
    """The nodes of a case that have intervals."""
    graph = decoded(NAMED[name]).whole
    for node in graph.nodes:
        tensors = (*graph.input_tensors(node), *graph.output_tensors(node))
        if all(np.issubdtype(tensor.dtype, np.integer) for tensor in tensors):
            yield graph, node


def random_intervals(inputs: Sequence[Tensor], rng: np.random.Generator, *, wide: bool) -> list[Interval]:
    """Of each channel, two values of its dtype; of constants, those of their values."""
    found = []
    for x in inputs:
        full = Interval.full(x.dtype, x.shape)
        ends = np.sort(rng.integers(full.low, full.high, (2, *full.low.shape), endpoint=True), axis=0)
        ends = ends if wide else ends[:1].repeat(2, axis=0)
        found.append(Interval(ends[0], ends[1]) if x.data is None else Interval.of(x.data))
    return found


def values(inputs: Sequence[Tensor], given: Sequence[Interval], rng: np.random.Generator) -> Iterator[list[Array]]:
    """Inputs within intervals: all at one end, random, and random ends."""

    def filled(choose: object) -> list[Array]:
        return [
            np.array(x.data if x.data is not None else np.broadcast_to(choose(x, interval), x.shape)).astype(x.dtype)  # type: ignore[operator]
            for x, interval in zip(inputs, given, strict=True)
        ]

    yield filled(lambda x, interval: interval.low)
    yield filled(lambda x, interval: interval.high)
    for _ in range(4):
        yield filled(lambda x, interval: rng.integers(interval.low, interval.high, x.shape, endpoint=True))
        yield filled(lambda x, interval: np.where(rng.random(x.shape) < 0.5, interval.low, interval.high))


@pytest.mark.parametrize("name", NAMED)
def test_results_lie_in_their_intervals(name: str) -> None:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for graph, node in integer_nodes(name):
        inputs = graph.input_tensors(node)
        for attempt in range(6):
            given = random_intervals(inputs, rng, wide=attempt > 0)
            if attempt == 1:
                given = [Interval.full(x.dtype, x.shape) if x.data is None else Interval.of(x.data) for x in inputs]
            intervals = node.op.intervals(inputs, given)
            assert [each.low.shape for each in intervals] == [y.shape[-1:] for y in graph.output_tensors(node)]
            for arrays in values(inputs, given, rng):
                for y, interval in zip(node.op.reference(*arrays), intervals, strict=True):
                    assert interval.holds(y)


# Their results are bounded, but not by the values that they get.
_LOOSE = (ArgMax, ArgMin, Cast, Div, FloatCubic, Gather)


def has_rule(op: Op) -> bool:
    return type(op).intervals is not Op.intervals and not isinstance(op, _LOOSE)


@pytest.mark.parametrize("name", NAMED)
def test_what_is_known_gives_what_is_known(name: str) -> None:
    """Of inputs with one value for each channel, rules tell the exact results; of others, they tell nothing."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for graph, node in integer_nodes(name):
        inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
        for _ in range(6):
            given = random_intervals(inputs, rng, wide=False)
            intervals = node.op.intervals(inputs, given)
            made = node.op.reference(*next(values(inputs, given, rng)))
            for y, tensor, interval in zip(made, outputs, intervals, strict=True):
                if has_rule(node.op) and all(_is_one_value(x) for x in inputs):
                    assert interval.is_same(Interval.of(y))
                elif type(node.op).intervals is Op.intervals:
                    assert interval.is_same(Interval.full(tensor.dtype, tensor.shape))


def _is_one_value(x: Tensor) -> bool:
    """Whether a constant, too, has one value for each channel; weights are a constant of another kind."""
    return x.data is None or bool(Interval.of(x.data).is_constant.all())


def test_most_families_have_a_rule() -> None:
    ruleless = {
        name
        for name in FAMILIES
        for case in list(named_cases(name))[:1]
        for _, node in integer_nodes(case)
        if type(node.op).intervals is Op.intervals
    }
    assert ruleless == {
        "batch_matmul", "float_softmax", "l2_normalization", "log_softmax", "lstm", "softmax", "softmax_int16", "svdf",
    }  # fmt: skip


# --- layers with weights ---------------------------------------------------------------------------------------------

WEIGHTED = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv")


@pytest.mark.parametrize("name", [name for family in WEIGHTED for name in named_cases(family)])
def test_accumulators_reach_their_ends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sum is made as large and as small as its input's interval lets it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    monkeypatch.setattr(Weighted, "finished", lambda op, acc, dtype: acc)
    for graph, node in integer_nodes(name):
        assert isinstance(node.op, Weighted)
        x, weights, bias = inputs = graph.input_tensors(node)
        (given, *_) = random_intervals(inputs, rng, wide=True)
        assert weights.data is not None and bias.data is not None

        def sums(difference: Array, op: Op = node.op, weights: Array = weights.data, bias: Array = bias.data) -> Array:
            (acc,) = op.reference(difference + op.zero_point, weights, bias)  # type: ignore[attr-defined]
            return np.asarray(acc)

        nothing = np.zeros(x.shape, np.int64)
        low = high = start = sums(nothing)
        ends = [np.broadcast_to(end, x.shape) - node.op.zero_point for end in (given.low, given.high)]
        for element in np.ndindex(x.shape):
            one = nothing.copy()
            one[element] = 1
            share = sums(one) - start
            low = low + np.minimum(*(share * end[element] for end in ends))
            high = high + np.maximum(*(share * end[element] for end in ends))
        acc = node.op.accumulators(inputs, given)
        if node.op.name == "FULLY_CONNECTED" and weights.shape[1] % x.shape[-1]:
            given = given.over(given.low.shape)  # rows end within pixels: channels are not told apart
        assert np.array_equal(acc.low, low.reshape(-1, low.shape[-1]).min(axis=0))
        assert np.array_equal(acc.high, high.reshape(-1, high.shape[-1]).max(axis=0))


def test_accumulators_of_a_node() -> None:
    graph = pipeline.decode(build_case(NAMED["conv_2d-grouped"]), "case.tflite").whole
    (node,) = graph.nodes
    found = accumulator_range(graph, node, tensor_intervals(graph))
    assert found is not None and isinstance(node.op, Weighted)
    x = graph.input_tensors(node)[0]
    assert found.is_same(node.op.accumulators(graph.input_tensors(node), Interval.full(x.dtype, x.shape)))


# --- graphs ----------------------------------------------------------------------------------------------------------


def counter(step: int, largest: int) -> Graph:
    """A state of two channels: the first is clamped, the second stays 5; the output is the state."""
    state, following, output = (Tensor(name, (1, 2), INT8) for name in ("state", "following", "output"))
    limit = Tensor("limit", (2,), INT8, data=read_only(np.array([largest, 5], np.int8)))
    step_tensor = Tensor("step", (2,), INT8, data=read_only(np.array([step, 0], np.int8)))
    raised = Tensor("raised", (1, 2), INT8)
    nodes = (
        Node("0", _sum(), ("state", "step"), ("raised",)),
        Node("1", Minimum(), ("raised", "limit"), ("following",)),
        Node("2", Minimum(), ("following", "limit"), ("output",)),
    )
    tensors = {t.name: t for t in (state, following, output, limit, step_tensor, raised)}
    first = State("state", "following", read_only(np.array([[0, 5]], np.int8)))
    return check(Graph("counter", tensors, nodes, (), ("output",), (first,)))


def _sum() -> Add:
    """a + b, saturated."""
    unit = Requant((1 << 30,), (1,))
    return Add(0, 0, 0, 0, unit, unit, unit, (-128, 127))


@pytest.mark.parametrize(("step", "largest"), [(1, 3), (1, 100), (40, 127), (-1, 7), (0, 9)])
def test_states_are_followed_until_nothing_changes(step: int, largest: int) -> None:
    graph = counter(step, largest)
    known = tensor_intervals(graph)["state"]
    reached = [0]
    for _ in range(300):
        reached.append(min(max(min(reached[-1] + step, 127), -128), largest))
    assert known.low[0] <= min(reached) and known.high[0] >= max(reached)
    assert (known.low[1], known.high[1]) == (5, 5)
    if len(set(reached)) < 5:  # what grows for long is taken to grow without end
        assert (known.low[0], known.high[0]) == (min(reached), max(reached))


def test_graphs_hold_their_own_tensors() -> None:
    for name in NAMED:
        graph = decoded(NAMED[name]).whole
        known = tensor_intervals(graph)
        integers = {name for name, tensor in graph.tensors.items() if np.issubdtype(tensor.dtype, np.integer)}
        assert known.keys() == integers
        zeros = [np.zeros(graph.tensors[name].shape, graph.tensors[name].dtype) for name in graph.inputs]
        for tensor, value in reference.evaluate(graph, zeros).items():
            assert tensor not in known or known[tensor].holds(value)


def test_tensors_note_their_bounds_where_they_do_not_reach_all_values() -> None:
    graph = note_bounds(counter(1, 3))
    known = tensor_intervals(graph)
    bounds = {name: tensor.bounds for name, tensor in graph.tensors.items()}
    assert bounds.pop("limit") is bounds.pop("step") is None
    assert all(found is not None and found.is_same(known[name]) for name, found in bounds.items())
    plain = decoded(NAMED["conv_2d-pointwise"]).graph
    assert all(plain.tensors[name].bounds is None for name in plain.inputs)
