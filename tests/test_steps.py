"""Indices as loops: where loops are found, they yield the indices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinygen.ops.strided_copy import Loop, regular_loops

REGULAR = {
    "one": ([7], [Loop(1, 10)]),
    "in order": ([3, 4, 5], [Loop(3, 10)]),
    "a range": (range(2, 9, 3), [Loop(3, 30)]),
    "backwards": ([5, 3, 1], [Loop(3, -20)]),
    "the same": ([4, 4, 4], [Loop(3, 0)]),
    "each twice": ([4, 4, 5, 5, 6, 6], [Loop(3, 10), Loop(2, 0)]),
    "all twice": ([0, 1, 2, 0, 1, 2], [Loop(2, 0), Loop(3, 10)]),
    "pairs": ([0, 1, 3, 4, 6, 7], [Loop(3, 30), Loop(2, 10)]),
}


@pytest.mark.parametrize("name", REGULAR)
def test_regular_indices_become_loops(name: str) -> None:
    indices, loops = REGULAR[name]
    assert list(regular_loops(indices, 10) or ()) == loops


@pytest.mark.parametrize("indices", [[0, 0, 1], [2, 1, 0, 1, 2], [0, 1, 3], [0, 0, 1, 1, 3, 3], [0, 0, 1, 1, 2]])
def test_irregular_indices_do_not(indices: list[int]) -> None:
    assert regular_loops(indices, 10) is None


def test_loops_yield_the_indices() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(2000):
        indices = rng.integers(0, 3, rng.integers(1, 7)).tolist()
        loops = regular_loops(indices, 5)
        if loops is not None:
            steps = itertools.product(*(range(0, loop.trips) for loop in loops))
            offsets = [sum(i * loop.stride for i, loop in zip(step, loops, strict=True)) for step in steps]
            assert offsets == [(index - indices[0]) * 5 for index in indices]
            found += 1
    assert 500 < found < 2000
