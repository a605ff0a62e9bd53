"""The window: samples times coefficients, and how far the FFT's input can be shifted up."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinygen.audio.integers import IntArray, bit_length
from tinygen.ir import Array, read_only

COEFFICIENT_BITS = 12
"""Fraction bits of the coefficients."""


def coefficients(size: int) -> npt.NDArray[np.int16]:
    """int16 (size,), 0 to 4096: a Hann window, sampled between its ends, in the original's float32 steps."""
    half, step = np.float32(0.5), np.float32(math.pi) * np.float32(2) / np.float32(size)
    angles = step * (np.arange(size, dtype=np.float32) + half)
    # Through float64, for numpy's own float32 cosine is not correctly rounded.
    cosines = np.cos(angles.astype(np.float64)).astype(np.float32)
    scaled = (half - half * cosines) * np.float32(1 << COEFFICIENT_BITS)
    return np.asarray(read_only(np.floor(scaled + half).astype(np.int16)))


def windowed(samples: Array, window: Array) -> IntArray:
    """int16 (..., size) times the window, rounded down."""
    product = samples.astype(np.int64) * window
    return np.asarray(product >> COEFFICIENT_BITS, np.int64)


def headroom(values: IntArray) -> IntArray:
    """How many bits the values (..., size) can be shifted up and still be int16.

    The original takes the magnitude of -32768 in int16, where it is negative, and so not the largest.
    """
    magnitudes = np.where(values == -(2**15), 0, np.abs(values))
    return 15 - bit_length(magnitudes.max(axis=-1))
