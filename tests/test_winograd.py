"""Winograd's transforms of filters: with those of tiles and sums they are convolution, exactly, and fit their types."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.fixedpoint import IntArray
from tinygen.kernels.armv7em.winograd_points import F2, F2_RUN_TIME, F2_STRIDE_2, F4, Transform, filter_pairs

INT16_MAX = 2**15 - 1

# B' and A' as the kernels' templates have them.
B2 = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
A2 = [[1, 1, 1, 0], [0, 1, -1, -1]]
B2_RUN_TIME = [[2, 0, -2, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 2, 0, -2]]
B2_STRIDE_2 = [[1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, -1, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
A2_STRIDE_2 = [[1, 1, 0, 1, 0], [0, 1, 1, 0, 1]]
B4 = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
B4_ROWS = [*B4[:-1], [2 * value for value in B4[-1]]]
A4 = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 2]]
A4_ROWS = [*A4[:-1], [0, 1, -1, 8, -8, 1]]

Matrix = list[list[int]]

# For rows and for columns: of F4's rows, the last one is doubled in B' instead of A'.
TILES: dict[str, tuple[Transform, Matrix, Matrix, Matrix, Matrix]] = {
    "F2": (F2, B2, B2, A2, A2),
    "F2_RUN_TIME": (F2_RUN_TIME, B2_RUN_TIME, B2_RUN_TIME, A2, A2),
    "F2_STRIDE_2": (F2_STRIDE_2, B2_STRIDE_2, B2_STRIDE_2, A2_STRIDE_2, A2_STRIDE_2),
    "F4": (F4, B4_ROWS, B4, A4_ROWS, A4),
}


def all_points(transform: Transform, weights: IntArray) -> IntArray:
    """(size, size, filters, depth), rows first, in their own order; a row that is stored once is there again."""
    points = transform.points(weights.astype(np.int8))
    if transform.stride == 2:
        points = np.concatenate([points, points[:, 2:3]], axis=1)
    inverse = np.argsort(transform.order)
    return np.asarray(points[np.ix_(inverse, inverse)].swapaxes(0, 1), np.int64)


@pytest.mark.parametrize("name", TILES)
def test_it_is_convolution(name: str) -> None:
    transform, *matrices = TILES[name]
    rows, columns, out_rows, out_columns = (np.array(matrix) for matrix in matrices)
    rng = np.random.default_rng(0)
    size = transform.stride * (transform.tile - 1) + 3
    x = rng.integers(-128, 128, (size, size, 5))
    weights = rng.integers(-128, 128, (3, 3, 3, 5))
    tile = np.einsum("ia,abc,jb->ijc", rows, x, columns)
    sums = np.einsum("ijc,ijoc->ijo", tile, all_points(transform, weights))
    found = np.einsum("ri,ijo,sj->rso", out_rows, sums, out_columns)
    starts = range(0, transform.stride * transform.tile, transform.stride)
    expected = [[np.einsum("abc,oabc->o", x[r : r + 3, s : s + 3], weights) for s in starts] for r in starts]
    assert np.array_equal(found, transform.scale * np.array(expected))


@pytest.mark.parametrize("name", TILES)
def test_points_are_int16_whatever_the_values(name: str) -> None:
    transform, rows, columns, *_ = TILES[name]
    farthest = np.einsum("ia,jb->ijab", np.abs(rows), np.abs(columns)).sum(axis=(2, 3)) * 128
    assert farthest.max() <= INT16_MAX
    matrix = np.abs(np.array(transform.filter_matrix)).sum(axis=1)
    assert 128 * matrix.max() ** 2 <= INT16_MAX


@pytest.mark.parametrize("filters", range(2, 9))
def test_pairs_cover_all_filters(filters: int) -> None:
    pairs = filter_pairs(filters)
    assert sorted({index for pair in pairs for index in pair}) == list(range(filters))
    assert all(second == first + 1 for first, second in pairs)
    assert len(pairs) == -(-filters // 2)
