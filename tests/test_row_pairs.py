"""Output rows of depthwise windows over pairs of rows: each is computed once, in a band that has its pairs."""

from __future__ import annotations

import itertools

import pytest

from tinygen.kernels.armv7em.row_pairs import Bands, Rows
from tinygen.ops.window import Axis

# Of each kind: the taps that meet input rows 2p, 2p + 1, 2p + 2 and 2p + 3.
TAPS = {
    "lower": ({0: 1, 1: 2},),
    "upper": ({0: 0, 1: 1},),
    "first": ({0: 0, 1: 1, 2: 2},),
    "second": ({1: 0, 2: 1, 3: 2},),
    "both": ({0: 0, 1: 1, 2: 2}, {1: 0, 2: 1, 3: 2}),
}

AXES = [
    (Axis(3, stride, 1, before, after), height)
    for stride, before, after, height in itertools.product((1, 2), (0, 1), (0, 1), range(1, 16))
    if Axis(3, stride, 1, before, after).output_size(height) > 0
]


def lines(rows: Rows) -> list[tuple[str, int]]:
    """(kind, pair) of all steps, in order."""
    head = [(rows.head, 0)] if rows.head else []
    tail = [(rows.tail, rows.count)] if rows.tail else []
    return [*head, *((rows.kind, pair) for pair in range(rows.count)), *tail]


@pytest.mark.parametrize(("axis", "height"), AXES)
def test_every_output_row_meets_its_input_rows(axis: Axis, height: int) -> None:
    rows = Rows.of(axis, height)
    assert rows is not None
    computed = [
        {2 * pair + place: tap for place, tap in taps.items() if 2 * pair + place < height}
        for kind, pair in lines(rows)
        for taps in TAPS[kind]
    ]
    expected = [
        {first + tap: tap for tap in range(3) if 0 <= first + tap < height}
        for first in range(-axis.before, axis.output_size(height) * axis.stride - axis.before, axis.stride)
    ]
    assert computed == expected


@pytest.mark.parametrize(("axis", "height"), AXES)
def test_every_band_has_its_pairs(axis: Axis, height: int) -> None:
    rows = Rows.of(axis, height)
    assert rows is not None
    assert rows.odd == (2 * rows.pairs > height)
    for steps in range(1, rows.count + 2):
        bands = Bands.of(rows, steps)
        assert (bands.count - 1) * bands.steps + bands.last_steps == rows.count
        last = {"": -1, "first": rows.count + 1, "upper": rows.count}[rows.tail]
        needed = max(rows.count if rows.count else 0, last)
        assert (bands.count - 1) * bands.steps + bands.last_pairs > needed
        assert bands.pairs >= bands.last_pairs
        assert bands.count == 1 or bands.pairs > bands.steps


@pytest.mark.parametrize(("axis", "height"), AXES)
def test_bands_write_what_they_have_read_and_what_was_handed_on(axis: Axis, height: int) -> None:
    rows = Rows.of(axis, height)
    assert rows is not None
    for steps in range(1, rows.count + 2):
        bands = Bands.of(rows, steps)
        order = bands.order(rows, height, in_row=1, out_row=1)
        assert order.reads_to[-1] == 2 * rows.pairs - rows.odd
        assert order.writes_to[-1] == axis.output_size(height)
        for band, (first, last) in enumerate(zip(order.writes_from, order.writes_to, strict=True)):
            # What bands are made of: their own reads, and the last pair of the band before.
            there = range(2 * bands.steps * band, int(order.reads_to[band]))
            taps = [row * axis.stride - axis.before + tap for row in range(first, last) for tap in range(axis.taps)]
            assert {row for row in taps if 0 <= row < height} <= set(there)
            assert len(there) <= 2 * bands.pairs


def test_other_windows_are_refused() -> None:
    refused = (Axis(5, 1), Axis(3, 3), Axis(3, 1, 2), Axis(3, 1, 1, 2, 0), Axis(3, 1, 1, 0, 2))
    assert [Rows.of(axis, 9) for axis in refused] == [None] * len(refused)
