"""Integer arithmetic of the front end, on int64 arrays that hold what the original has in fewer bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

UINT16_MAX = 2**16 - 1
UINT32_MAX = 2**32 - 1


def as_int16(x: IntArray) -> IntArray:
    """The low 16 bits, signed: what a conversion to int16 leaves."""
    return np.asarray(x.astype(np.int16), np.int64)


def as_uint32(x: IntArray) -> IntArray:
    """The low 32 bits."""
    return np.asarray(x & UINT32_MAX, np.int64)


def bit_length(x: IntArray) -> IntArray:
    """Bits of each value from 0 to 2**63 - 1: 0 for 0, 1 for 1, 2 for 2 and 3."""
    is_long = x > UINT32_MAX  # of 53 bits and more, a float may be rounded up to the next length
    return np.asarray(np.frexp(np.where(is_long, x >> 32, x).astype(np.float64))[1] + 32 * is_long, np.int64)


def rounded_root(x: IntArray) -> IntArray:
    """Square roots of 0 <= x < 2**62, to nearest; those of numbers of 32 bits stay within 16 bits."""
    # The float is off by less than one.
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    nearest = root + (x - root * root > root)
    return np.where(x <= UINT32_MAX, np.minimum(nearest, UINT16_MAX), nearest)
