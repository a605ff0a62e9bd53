"""Transposes that cancel each other, or go where fewer bytes are: the same results, and never more bytes moved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from arranged_nets import FULL, IrNet, random_graph

from tinygen import reference
from tinygen.arrangement import composed, inverse, is_known_as_plain, numbers, transposed
from tinygen.arranging.cut import FIRST, SECOND, Cut
from tinygen.arranging.movement import all_moved
from tinygen.arranging.views import visits_all
from tinygen.check import check
from tinygen.ir import Graph
from tinygen.ops.common import INT8
from tinygen.ops.extremum import Maximum
from tinygen.ops.pad import Pad
from tinygen.ops.pool_2d import MaxPool2D
from tinygen.ops.quantize import Requantize
from tinygen.ops.reduce import Mean
from tinygen.ops.strided_copy import Loop, Slice
from tinygen.ops.window import Axis, Window
from tinygen.passes.arrange import arrange
from tinygen.rescaling import Requant


def arranged(graph: Graph) -> Graph:
    """The graph after the pass, which computes the same and moves no more."""
    found = check(arrange(check(graph)))
    assert found.inputs == graph.inputs and found.outputs == graph.outputs
    rng = np.random.default_rng(1)
    for low in (-128, -20):
        inputs = [rng.integers(low, 127, graph.tensors[name].shape, np.int8, endpoint=True) for name in graph.inputs]
        before, after = (reference.evaluate(each, inputs) for each in (graph, found))
        # Whatever has kept its name has kept its content.
        for name in before.keys() & after.keys():
            assert np.array_equal(before[name], after[name]) and before[name].shape == after[name].shape
        assert set(graph.outputs) <= after.keys()
    assert all_moved(found).bytes <= all_moved(graph).bytes
    assert found is graph or all_moved(found).work < all_moved(graph).work
    return found


@pytest.mark.parametrize("seed", range(150))
def test_random_graphs_compute_the_same_and_move_no_more(seed: int) -> None:
    arranged(random_graph(np.random.default_rng(seed)))


TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
IMAGE = (1, 5, 6, 4)
"""Channels last."""


def net() -> IrNet:
    return IrNet(np.random.default_rng(5))


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in arranged(graph).nodes]


def pooled(net: IrNet, x: str) -> str:
    """Something that has its channels last, and is computed in no other order."""
    return net.add(MaxPool2D(Window(Axis(2, 1, 1), Axis(2, 1, 1)), FULL), x)


def rescaled(net: IrNet, x: str) -> str:
    return net.add(Requantize(1, 2, Requant.from_scales(0.7), INT8), x)


def first(net: IrNet, x: str) -> str:
    return net.transpose(x, TO_FIRST)


def last(net: IrNet, x: str) -> str:
    return net.transpose(x, TO_LAST)


def test_transposes_around_what_goes_in_any_order_cancel() -> None:
    a = net()
    x = a.tensor(IMAGE)
    left, right = rescaled(a, first(a, pooled(a, x))), first(a, pooled(a, x))
    scaled = a.add(Maximum(), left, a.constant((4, 1, 1)))
    joined = a.joined([scaled, right, a.constant((1, 4, 4, 5))], 1)
    half = a.box(joined, Slice, 1, 2, 8, 1)
    padded = a.add(Pad((0, 0, 1, 0), (0, 1, 0, 2), 3), half)
    y = pooled(a, last(a, padded))
    assert "TRANSPOSE" not in names(a.graph(y))


@pytest.mark.parametrize("keep_dims", [False, True])
def test_a_mean_over_rows_and_columns_takes_them_where_they_are(keep_dims: bool) -> None:
    a = net()
    mean = Mean((2, 3), keep_dims, 1, 2, Requant.from_scales(0.04))
    y = rescaled(a, a.add(mean, first(a, pooled(a, a.tensor(IMAGE)))))
    assert "TRANSPOSE" not in names(a.graph(y))


def test_a_dense_layer_reads_channels_where_they_are() -> None:
    a = net()
    flat = a.reshape(rescaled(a, first(a, pooled(a, a.tensor(IMAGE)))), (1, 80))
    graph = a.graph(a.dense(flat, 3))
    assert names(graph) == ["MAX_POOL_2D", "QUANTIZE", "RESHAPE", "FULLY_CONNECTED"]


def test_a_transpose_goes_where_the_fewest_bytes_are() -> None:
    a = net()
    small = a.box(first(a, a.tensor(IMAGE)), Slice, 3, 1, 2, 1)
    grown = a.add(Pad((0, 0, 0, 0), (0, 2, 3, 4), 3), rescaled(a, small))
    found = arranged(a.graph(grown))
    (moved,) = (node for node in found.nodes if node.op.name == "TRANSPOSE")
    assert found.tensors[moved.outputs[0]].elements == 5 * 4


def test_the_model_keeps_the_order_of_its_inputs_and_outputs() -> None:
    a = net()
    y = first(a, rescaled(a, pooled(a, last(a, a.tensor((1, 4, 5, 6))))))
    assert names(a.graph(y)) == ["TRANSPOSE", "MAX_POOL_2D", "QUANTIZE", "TRANSPOSE"]


def test_an_order_that_many_read_is_made_once() -> None:
    a = net()
    x = a.tensor((1, 4, 5, 6))
    graph = a.graph(*(pooled(a, last(a, x)) for _ in range(3)))
    assert names(graph).count("TRANSPOSE") == 1


def test_what_has_nothing_to_gain_stays_as_it_is() -> None:
    a = net()
    x = a.tensor((1, 4, 5, 6))
    graph = a.graph(rescaled(a, pooled(a, rescaled(a, last(a, rescaled(a, x))))))
    assert arrange(graph) is graph


def test_loops_that_visit_every_element_are_told_by_their_strides() -> None:
    strides, found = range(-6, 7), 0
    for trips in ((2, 2), (2, 3), (3, 2), (2, 2, 2), (6,), (1, 4)):
        for steps in product(strides, repeat=len(trips)):
            visited = np.array([np.dot(at, steps) for at in np.ndindex(trips)])
            if visited.max() - visited.min() < len(visited):  # inside of a tensor of as many elements
                is_each = len(np.unique(visited)) == len(visited)
                assert visits_all([Loop(*loop) for loop in zip(trips, steps, strict=True)]) == is_each
                found += is_each
    assert found > 50


def test_equal_orders_are_one_array_while_somebody_has_it() -> None:
    held = transposed((2, 3, 4), (0, 2, 1))
    assert transposed((2, 3, 4), (0, 2, 1)) is held and not held.flags.writeable
    assert is_known_as_plain(numbers((2, 3))) and not is_known_as_plain(held)
    assert np.array_equal(composed(held, inverse(held)).reshape(-1), np.arange(24))


def test_a_cut_costs_the_least_of_all_choices() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        count = int(rng.integers(1, 6))
        vertices = [FIRST, SECOND, *range(count)]
        terms = []
        for _ in range(int(rng.integers(1, 9))):
            one, *others = (vertices[int(index)] for index in rng.integers(0, len(vertices), int(rng.integers(2, 5))))
            terms.append((bool(rng.random() < 0.5), one, others, int(rng.integers(1, 9))))
        cut = Cut()
        for goes_first, one, others, cost in terms:
            (cut.costs if goes_first else cut.costs_back)(one, others, cost)
        choices = [{SECOND, *chosen} for size in range(count + 1) for chosen in combinations(range(count), size)]
        least = min(_cost(terms, seconds) for seconds in choices)
        assert _cost(terms, cut.seconds() & {*vertices}) == least


def _cost(terms: Sequence[tuple[bool, object, Sequence[object], int]], seconds: set[object]) -> int:
    return sum(
        cost
        for goes_first, one, others, cost in terms
        if (one in seconds) != goes_first and any((other in seconds) == goes_first for other in others)
    )
