"""Distances between inputs and outputs, against a simulation that overwrites bytes."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.access import Order, Spacing, by_channels, evenly, rows, spacing


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


def sweeps_are_safe(order: Order, channels: int, distance: int) -> bool:
    """The same for buffered steps over pixels of `channels` bytes, all of them for the first channel, then the next."""
    overwritten: set[int] = set()
    for channel in range(channels):
        for first, last, start, stop in zip(
            order.reads_from, order.reads_to, order.writes_from, order.writes_to, strict=True
        ):
            if overwritten & {pixel * channels + channel + distance for pixel in range(first, last)}:
                return False
            overwritten |= {pixel * channels + channel for pixel in range(start, stop)}
    return True


@given(orders(), st.integers(1, 4))
def test_channel_by_channel_the_place_is_safe_if_it_is_pixel_by_pixel(order: Order, channels: int) -> None:
    in_bytes = Order(*(ends * channels for ends in astuple(order)[:4]))
    assert sweeps_are_safe(order, channels, 0) or not by_channels(in_bytes).in_place


def test_channel_by_channel_only_the_very_place_is_safe() -> None:
    pixels = evenly(5, 1, 1)
    assert by_channels(evenly(5, 4, 4)) == Spacing(20, 20, in_place=True)
    assert [distance for distance in range(-3, 4) if sweeps_are_safe(pixels, 4, distance)] == [0]


def test_channel_by_channel_windows_of_later_pixels_keep_their_place() -> None:
    windows = rows(steps=9, row=8, window=3, stride=1, before=1, height=9, written=8)
    assert not by_channels(windows).in_place
    assert not sweeps_are_safe(Order(*(ends // 8 for ends in astuple(windows)[:4])), 8, 0)
