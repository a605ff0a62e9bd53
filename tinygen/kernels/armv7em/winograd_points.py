"""The transforms of filters for Winograd convolution, in integers, and their order in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernels import streams
from tinygen.kernels.armv7em import finishing
from tinygen.proofs.high_product import HighProduct

_INT16_MAX = 2**15 - 1


@dataclass(frozen=True)
class Transform:
    """F(tile x tile, 3x3): what filters are multiplied by from both sides, and the order of points."""

    tile: int
    stride: int
    filter_matrix: tuple[tuple[int, int, int], ...]
    """G, scaled to integers."""
    order: tuple[int, ...]
    """In this order rows and columns of points follow each other: those that are used together are neighbours."""
    scale: int
    """What the outputs are multiplied by."""

    def points(self, weights: Array) -> IntArray:
        """int8 (filters, 3, 3, depth) to (columns, rows, filters, depth) of points.

        With stride 2 the last row is left out: it is the same as the one two before.
        """
        matrix = np.array(self.filter_matrix)[list(self.order)]
        rows = matrix if self.stride == 1 else matrix[:-1]
        return np.asarray(np.einsum("ia,oabc,jb->jioc", rows, weights.astype(np.int64), matrix), np.int64)


F2 = Transform(2, 1, ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)), (1, 2, 0, 3), 4)
"""Points of tiles are below 2**10."""

F2_RUN_TIME = Transform(2, 1, ((1, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 1)), (1, 2, 0, 3), 4)
"""The same for less work with filters: rows 0 and 3 of tiles are doubled instead. Points of tiles are below 2**12."""

F2_STRIDE_2 = Transform(2, 2, ((1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0)), (1, 0, 3, 2, 4), 1)
"""Even inputs meet taps 0 and 2, by F(2, 2); odd ones meet tap 1. Points of tiles are below 2**10."""

F4 = Transform(
    4, 1, ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 12)), (1, 2, 0, 3, 4, 5), 24 * 24
)
"""Factors of the output transform that are no powers of two are here. Points of tiles are below 2**15.

A row of B' sums to 10 in magnitude, twice that for the last one: 20 * 10 * 128 = 25,600. Of G it is 12.
"""


def room(points: IntArray) -> int:
    """What points can be multiplied by and remain int16."""
    return _INT16_MAX // max(int(np.abs(points).max(initial=0)), 1)


def point_words(points: IntArray, groups: int) -> npt.NDArray[np.uint32]:
    """(columns, rows, filters, depth) to words (columns * rows, groups, filters, 2): channels 0 and 2, then 1 and 3."""
    filters, depth = points.shape[2:]
    padded = np.zeros((*points.shape[:3], 4 * groups), np.int64)
    padded[..., :depth] = points
    halves = padded.reshape(-1, filters, groups, 2, 2) & 0xFFFF
    words = halves[..., 0, :] | halves[..., 1, :] << 16
    return np.asarray(words.transpose(0, 2, 1, 3), np.uint32)


def tap_words(weights: Array, groups: int) -> npt.NDArray[np.uint32]:
    """int8 (filters, 3, 3, depth) to (groups, filters, 9), four channels in a word."""
    filters, depth = len(weights), weights.shape[3]
    padded = np.zeros((filters, 9, 4 * groups), np.int8)
    padded[..., :depth] = weights.reshape(filters, 9, depth)
    return padded.view("<u4").transpose(2, 0, 1)


def stream(words: npt.NDArray[np.uint32], start: IntArray, product: HighProduct) -> npt.NDArray[np.uint32]:
    """For each pair of filters its words, of (..., filters, n); for each filter start value, M, Z, and S if any.

    For an odd number of filters bytes to the next pair's outputs follow.
    """
    filters = words.shape[-2]
    finish = np.hstack([streams.words(start)[:, None], finishing.constants(product)])
    pairs = filter_pairs(filters)
    parts: list[npt.NDArray[np.uint32]] = []
    for index, pair in enumerate(pairs):
        parts += [words[..., pair, :].reshape(-1), finish[list(pair)].reshape(-1)]
        if filters % 2:
            following = pairs[index + 1][0] if index + 1 < len(pairs) else filters
            parts.append(np.array([following - pair[0]], np.uint32))
    return np.concatenate(parts)


def filter_pairs(filters: int) -> list[tuple[int, int]]:
    """Two by two; of an odd number the second filter comes twice."""
    return [(first, first + 1) for first in (range(0, filters, 2) if filters % 2 == 0 else (0, *range(1, filters, 2)))]
