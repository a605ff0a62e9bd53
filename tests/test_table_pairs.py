"""Sums and products of table values give the results that they were made for, all of them, or there are none."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.proofs.table_pairs import TablePairs, prove_product, prove_sum


def _results(pairs: TablePairs) -> np.ndarray:
    a, b = pairs.first[:, np.newaxis], pairs.second[np.newaxis]
    values = a * b + pairs.offset if pairs.is_product else a + b
    assert int(np.abs(pairs.first).max()) + int(np.abs(pairs.second).max()) < 2**31
    assert pairs.is_wide or int(np.abs(values).max()) < 2**31
    return np.clip(values >> pairs.shift, pairs.low, pairs.high)


def _rounded(reals: np.ndarray, zero_point: int) -> np.ndarray:
    return np.clip(np.rint(reals.astype(np.float32)) + zero_point, -128, 127).astype(np.int64)


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=256) * rng.uniform(1, 100), rng.normal(size=int(rng.integers(1, 300))) * 40
    results = _rounded(a[:, np.newaxis] + b, 7)
    pairs = prove_sum(a, b + 7, results)
    assert pairs is not None and np.array_equal(_results(pairs), results)


@pytest.mark.parametrize("seed", range(20))
def test_products_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    linear = (np.arange(256) - int(rng.integers(256))) * 0.031
    a = linear if seed % 2 else rng.normal(size=256)
    b = rng.normal(size=int(rng.integers(1, 300))) * 30
    results = _rounded(a[:, np.newaxis] * b, -5)
    pairs = prove_product(a, b, results, -5)
    assert pairs is not None and np.array_equal(_results(pairs), results)
    assert pairs.is_wide or seed % 2


def test_results_of_no_sum_have_none() -> None:
    a, b = np.arange(4.0), np.arange(4.0)
    assert prove_sum(a, b, np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])) is None
    assert prove_product(a, b, np.array([[1, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]), 0) is None


def test_sums_near_ties_are_moved_apart() -> None:
    """Of the same exact sum, one is rounded up and the other down: tables can tell them apart."""
    a, b = np.array([0.0, 0.25, 10.0]), np.array([0.5, 0.25, 0.75])
    results = np.array([[0, 0, 1], [1, 1, 1], [10, 10, 11]])
    pairs = prove_sum(a, b, results)
    assert pairs is not None and np.array_equal(_results(pairs), results)
