"""int8 weights as words that SMLAD multiplies two at a time, at the cost of one SXTB16 for four of them.

A word holds four weights b0 b1 b2 b3 as two signed halfwords: 256 * b0 + b1 and 256 * b2 + b3. SXTB16 of it gives
(b1, b3). Four activations x0 x1 x2 x3 in a word w are expanded to

    X0 = SXTB16 w               (x0, x2)
    Y  = w EOR 0x007F007F       (256 * x1 + 127 - x0, 256 * x3 + 127 - x2), which are int16

so that SMLAD(word, X0) + SMLAD((b1, b3), Y) = 256 * (b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3) + 127 * (b1 + b3).

Weights of -128 may not fit. Such layers have plain words, of four bytes as they are, and take two SXTB16 for each;
their activations are expanded to 256 * x, so that the sums have the same scale. Sums of many products may not fit into
a register with that scale: then the words are plain, too, and the activations are expanded to 64, 32 or 16 * x.

Where weights are few, they may be wide: each four are two words, (256 * b1, 256 * b3) and (256 * b0, 256 * b2), which
meet (x1, x3) and (x0, x2). They have one of these factors where sums would not fit.

Where the expanded activations shall take no more memory than the bytes do, the words are crossed, for SMLSDX, which
subtracts one of its products. Activations are kept as

    M = w EOR 0x00800080        (256 * x1 + v0, 256 * x3 + v2), with v = x + 128

of which UXTB16 gives V = (v0, v2). A word of weights is W = (256 * b2 - b3, b1 - 256 * b0), of which SXTB16 gives
U = (-b3, b1). SMLSDX(W, V) + SMLSDX(M, U) = 256 * (b0 * v0 + b1 * x1 + b2 * v2 + b3 * x3): the products of low bytes
cancel out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array

SCALE = 256
"""What the sums of products are multiplied by, as a rule."""
DEEP_SCALES = (64, 32, 16)
"""The same where sums would not fit otherwise: a requantisation with a step is exact more often with large ones."""


def packs(weights: Array) -> bool:
    """Whether the halfwords of int8 weights (filters, depth) are int16: no even -128 stands before a negative one."""
    halves = _halves(weights)
    return bool(halves.min(initial=0) >= -(2**15))


def packed_words(weights: Array) -> npt.NDArray[np.uint32]:
    """int8 (filters, depth) to words (filters, ceil(depth / 4)); missing weights are zero."""
    halves = _halves(weights) & 0xFFFF
    return np.asarray(halves[:, 0::2] | halves[:, 1::2] << 16, np.uint32)


def plain_words(weights: Array) -> npt.NDArray[np.uint32]:
    """int8 (filters, depth) to words (filters, ceil(depth / 4)) of four bytes; missing weights are zero."""
    return np.ascontiguousarray(_padded(weights).astype(np.int8)).view("<u4").astype(np.uint32)


def wide_words(weights: Array, scale: int = SCALE) -> npt.NDArray[np.uint32]:
    """int8 (filters, depth) to words (filters, 2 * ceil(depth / 4)): of each four the second and last, then the others.

    Missing weights are zero; all are multiplied by `scale`, SCALE or one of DEEP_SCALES.
    """
    groups = (scale * _padded(weights)).reshape(len(weights), -1, 4) & 0xFFFF
    words = groups[:, :, [1, 0]] | groups[:, :, [3, 2]] << 16
    return np.asarray(words.reshape(len(weights), -1), np.uint32)


def crosses(weights: Array) -> bool:
    """Whether crossed halfwords of int8 weights (filters, depth) are int16, and -b3 is int8."""
    halves = _crossed_halves(weights)
    third = _padded(weights)[:, 3::4]
    return bool(abs(2 * halves + 1).max(initial=0) < 2**16 and third.min(initial=0) > -128)


def crossed_words(weights: Array) -> npt.NDArray[np.uint32]:
    """int8 (filters, depth) to crossed words (filters, ceil(depth / 4)); missing weights are zero."""
    halves = _crossed_halves(weights) & 0xFFFF
    return np.asarray(halves[:, 0::2] | halves[:, 1::2] << 16, np.uint32)


def crossed_excess(weights: Array) -> IntArray:
    """What each filter's sum contains beside SCALE times the products: 128 of v, times its even weights."""
    return np.asarray(128 * SCALE * weights[:, 0::2].astype(np.int64).sum(axis=1), np.int64)


def ending_together(weights: Array) -> Array:
    """(filters, depth) to (filters, n * 4): the last four belong to the last four values, some of which come twice.

    Whoever has read a run of values four by four reads its end as four bytes, too, and none beyond. What comes twice
    has a weight of zero the second time.
    """
    filters, depth = weights.shape
    rest = depth % 4
    if depth < 4 or rest == 0:
        return weights
    zeros = np.zeros((filters, 4 - rest), weights.dtype)
    return np.hstack([weights[:, : depth - rest], zeros, weights[:, depth - rest :]])


def excess(weights: Array) -> IntArray:
    """What each filter's sum contains beside SCALE times the products: 127 times its odd weights."""
    return np.asarray(127 * weights[:, 1::2].astype(np.int64).sum(axis=1), np.int64)


def _halves(weights: Array) -> IntArray:
    padded = _padded(weights)
    return np.asarray(256 * padded[:, 0::2] + padded[:, 1::2], np.int64)


def _crossed_halves(weights: Array) -> IntArray:
    groups = _padded(weights).reshape(len(weights), -1, 4)
    low, high = SCALE * groups[:, :, 2] - groups[:, :, 3], groups[:, :, 1] - SCALE * groups[:, :, 0]
    return np.asarray(np.stack([low, high], axis=2).reshape(len(weights), -1), np.int64)


def _padded(weights: Array) -> IntArray:
    filters, depth = weights.shape
    padded = np.zeros((filters, -(-depth // 4) * 4), np.int64)
    padded[:, :depth] = weights
    return padded
