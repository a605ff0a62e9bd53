"""Constants as kernels in assembly read them, one after the other: words of 32 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray

Words = npt.NDArray[np.uint32]


def words(values: IntArray) -> Words:
    """Integers of 32 bits, signed or not, or their sums modulo 2**32, as words."""
    return np.asarray(np.asarray(values, np.int64) & 0xFFFFFFFF, np.uint32)
