"""A table of exponentials by two short ones: e**(a - (i + j)) = e**(a - i) * e**-j, in integers of 32 bits.

    (float)(coarse[d >> bits] * fine[d & mask] >> 32) * scales[d >> bits]

The high half of the product has some bits more than a float32, and scales are powers of two, so that the conversion
alone rounds. What is found here is not trusted: every value of the table was computed so, and is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.float32 import FloatArray

Words = npt.NDArray[np.uint32]

_BITS = (4, 3)
"""Of what the fine table is for, the form of the fewest bytes first."""
_BIT_31, _BIAS = 31, 127
_NEAR = 200
"""How far from the nearest integer coarse values are tried: floats do not change at each."""


@dataclass(frozen=True, eq=False)
class SplitExponentials:
    """The two tables, and the powers of two of the coarse one."""

    bits: int
    coarse: Words
    fine: Words
    scales: FloatArray

    @property
    def mask(self) -> int:
        """Of what the fine table is for."""
        return (1 << self.bits) - 1

    @property
    def exponents(self) -> npt.NDArray[np.uint8]:
        """Of floats half as large as bit 31 of such a product, as their bits have it; of floats that are normal."""
        return (np.frexp(self.scales)[1] - 1 + _BIT_31 - 1 + _BIAS).astype(np.uint8)

    def values(self) -> FloatArray:
        """(n,): what the formula gives for 0, 1, ..."""
        return _values(self.coarse.astype(np.uint64), self.fine, self.scales).reshape(-1)


def split_exponentials(exact: npt.NDArray[np.float64]) -> SplitExponentials | None:
    """Tables for the float32 values next to `exact` (n,), a falling exponential, n a multiple of 16; None without."""
    table = exact.astype(np.float32)
    for bits in _BITS:
        found = _split(exact, table, bits)
        if found is not None and np.array_equal(found.values(), table):
            return found
    return None


def _split(exact: npt.NDArray[np.float64], table: FloatArray, bits: int) -> SplitExponentials | None:
    step = 1 << bits
    fine = np.minimum(np.rint(np.ldexp(exact[:step] / exact[0], 32)), 2.0**32 - 1).astype(np.uint32)
    mantissas, exponents = np.frexp(exact[::step])
    scales = np.ldexp(1.0, exponents - 32).astype(np.float32)
    nearest = np.ldexp(mantissas, 32).astype(np.int64)
    offsets = np.array(sorted(range(-_NEAR, _NEAR + 1), key=abs))
    tried = np.clip(nearest[:, None] + offsets, 0, (1 << 32) - 1).astype(np.uint64)
    same = (_values(tried, fine, scales[:, None]) == table.reshape(-1, 1, step)).all(axis=-1)
    if not same.any(axis=1).all():
        return None
    coarse = tried[np.arange(len(tried)), same.argmax(axis=1)].astype(np.uint32)
    return SplitExponentials(bits, coarse, fine, scales)


def _values(coarse: npt.NDArray[np.uint64], fine: Words, scales: FloatArray) -> FloatArray:
    products = coarse[..., None] * fine.astype(np.uint64) >> np.uint64(32)
    return np.asarray(products.astype(np.uint32).astype(np.float32) * scales[..., None])
