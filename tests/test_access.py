"""Distances between inputs and outputs, against a simulation that overwrites bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.access import Order, Spacing, evenly, rows, spacing


def is_safe(order: Order, distance: int) -> bool:
    """Whether no byte is read after it was overwritten, with the input `distance` bytes after the output's beginning.

    Of a step that is not buffered, writes come first: the worst that can be.
    """
    overwritten: set[int] = set()
    for step in range(len(order.reads_from)):
        read = {
            int(order.reads_from[step]) + i + distance for i in range(order.reads_to[step] - order.reads_from[step])
        }
        written = set(range(int(order.writes_from[step]), int(order.writes_to[step])))
        if not order.buffered:
            overwritten |= written
        if read & overwritten:
            return False
        overwritten |= written
    return True


@st.composite
def orders(draw: st.DrawFn) -> Order:
    steps = draw(st.integers(1, 6))
    ends = [sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20)))) for _ in range(2 * steps)]
    starts, stops = np.array(ends, np.int64).T
    return Order(starts[:steps], stops[:steps], starts[steps:], stops[steps:], draw(st.booleans()))


@given(orders(), st.integers(0, 50))
def test_at_the_spacing_and_beyond_nothing_is_overwritten_too_early(order: Order, more: int) -> None:
    found = spacing(order)
    assert is_safe(order, found.input_above + more)
    assert is_safe(order, -found.output_above - more)


@pytest.mark.parametrize(
    "order",
    [
        evenly(8, 4, 4),
        evenly(8, 4, 2),
        evenly(8, 2, 4),
        evenly(8, 4, 4, buffered=False),
        rows(steps=9, row=8, window=3, stride=1, before=1, height=9, written=8),
        rows(steps=5, row=8, window=3, stride=2, before=0, height=10, written=16),
    ],
)
def test_a_byte_nearer_something_is_overwritten(order: Order) -> None:
    found = spacing(order)
    assert not is_safe(order, found.input_above - 1)
    assert not is_safe(order, -found.output_above + 1)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (evenly(10, 4, 4), Spacing(0, 40)),
        (evenly(10, 2, 4), Spacing(18, 20)),
        (evenly(10, 4, 2), Spacing(-2, 40)),
        (evenly(1, 40, 20), Spacing(-40, -20)),
        (rows(steps=9, row=8, window=3, stride=1, before=1, height=9, written=8), Spacing(8, 72)),
    ],
)
def test_known_distances(order: Order, expected: Spacing) -> None:
    assert spacing(order) == expected
