"""Logarithms in 16 fraction bits, from a table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinygen.audio.integers import UINT16_MAX, IntArray, as_uint32, bit_length
from tinygen.ir import read_only

FRACTION_BITS = _BITS = 16
_HALF = 1 << _BITS - 1
_SEGMENT_BITS = 7
LN_2 = round(np.log(2) * 2**_BITS)


def corrections() -> npt.NDArray[np.uint16]:
    """uint16 (129,): log2(1 + x) - x for x = k / 128, in 16 fraction bits."""
    x = np.arange(2**_SEGMENT_BITS + 1) / 2**_SEGMENT_BITS
    return np.asarray(read_only(np.rint((np.log2(1 + x) - x) * 2**_BITS).astype(np.uint16)))


def binary_logarithms(x: IntArray) -> IntArray:
    """log2 of 1 <= x < 2**63, in 16 fraction bits."""
    whole = bit_length(x) - 1
    fraction = (x << np.maximum(_BITS - whole, 0) >> np.maximum(whole - _BITS, 0)) - (1 << _BITS)
    table = corrections().astype(np.int64)
    segment = fraction >> _BITS - _SEGMENT_BITS
    low, high = table[segment], table[segment + 1]
    rest = fraction & (1 << _BITS - _SEGMENT_BITS) - 1
    return np.asarray((whole << _BITS) + fraction + low + ((high - low) * rest >> _BITS), np.int64)


def logarithms(signal: IntArray, correction_bits: int, scale_shift: int) -> IntArray:
    """log(signal * 2**correction_bits) * 2**scale_shift, at most 65535; 0 for products up to 1. All are uint32."""
    value = as_uint32(signal << correction_bits)
    natural = LN_2 * binary_logarithms(np.maximum(value, 2)) + _HALF >> _BITS
    return np.where(value > 1, np.minimum((natural << scale_shift) + _HALF >> _BITS, UINT16_MAX), 0)
