"""Functions of two values as one sum, or product, of two integers from tables, proved on all pairs of values.

A float32 sum or product f(a) + g(b), f(a) * g(b), rescaled and rounded, is

    clip((F[a] + G[b]) >> shift, low, high)    or    clip((F[a] * G[b] + offset) >> shift, low, high)

with F near f in some unit, and G near g: for each b, every a bounds G[b] from both sides, and what lies within all
bounds gives all results. Where bounds leave nothing, G[b] is put between them, and F is moved into the bounds that G
sets then, and so on in turns. No rounding, nor its ties, has to be known for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import INT32_MAX, IntArray

Reals = npt.NDArray[np.float64]
_OPEN = 1 << 61
"""Beyond all bounds."""
_FRACTION_BITS = 22
"""Of sums, at the most."""
_FACTOR_BITS = (9, 15, 24)
"""Of F in products: those of two zero-based codes, halfwords, and whatever float32 holds."""
_LARGEST_SHIFT = 46
_MOST_TURNS = 12


@dataclass(frozen=True, eq=False)
class TablePairs:
    """Tables (m,) and (n,) of int32 values, and what is done with a pair of them."""

    first: IntArray
    second: IntArray
    is_product: bool
    offset: int
    shift: int
    low: int
    high: int

    @property
    def is_wide(self) -> bool:
        """Whether a product, with its offset, leaves int32."""
        largest = int(np.abs(self.first).max()) * int(np.abs(self.second).max()) + abs(self.offset)
        return self.is_product and largest > INT32_MAX

    def describe(self) -> str:
        """In words."""
        kind = "product" if self.is_product else "sum"
        return f"one {kind} of two table values, proved on all pairs"


def prove_sum(first: Reals, second: Reals, results: IntArray) -> TablePairs | None:
    """For results (m, n) of sums of these reals, in steps of the output, with its zero point; None where none fits."""
    largest = float(np.abs(first).max() + np.abs(second).max()) + 1
    if not largest < INT32_MAX >> 9:
        return None
    shift = min(30 - math.ceil(math.log2(largest)), _FRACTION_BITS)
    terms = np.rint(first * 2.0**shift).astype(np.int64), np.rint((second + 0.5) * 2.0**shift).astype(np.int64)
    return _fitted(*terms, results, _Form(False, 0, shift))


def prove_product(first: Reals, second: Reals, results: IntArray, zero_point: int) -> TablePairs | None:
    """For results (m, n) of products of these reals, in steps of the output without its zero point; or None."""
    for unit, bits in _units(first):
        largest = float(np.abs(second).max()) * unit
        if not 0 < largest < math.inf:
            return None
        # Of products of 32 bits, one is for their sign, and one for the offset.
        room = 31 if bits == _FACTOR_BITS[-1] else 30 - bits
        shift = min(room - 1 - math.ceil(math.log2(largest)), _LARGEST_SHIFT)
        if shift < 1:
            continue
        factors = np.rint(first / unit).astype(np.int64), np.rint(second * unit * 2.0**shift).astype(np.int64)
        found = _fitted(*factors, results, _Form(True, (2 * zero_point + 1) << (shift - 1), shift))
        if found is not None and (bits == _FACTOR_BITS[-1] or not found.is_wide):
            return found
    return None


def _units(reals: Reals) -> Iterator[tuple[float, int]]:
    """What the first factor may be rounded to multiples of, coarse ones first, and the bits that it has then."""
    largest = float(np.abs(reals).max())
    if not 0 < largest < math.inf:
        return
    least = float(np.abs(reals[reals != 0]).min())
    if largest / least < 1 << _FACTOR_BITS[0] and np.allclose(np.rint(reals / least) * least, reals, rtol=1e-6, atol=0):
        yield least, _FACTOR_BITS[0]
    for bits in _FACTOR_BITS[1:]:
        yield largest / ((1 << bits) - 1), bits


class _Form(NamedTuple):
    is_product: bool
    offset: int
    shift: int


def _fitted(first: IntArray, second: IntArray, results: IntArray, form: _Form) -> TablePairs | None:
    """The tables, moved until all results are right; None where no turn comes to that."""
    low, high = int(results.min()), int(results.max())
    least = np.where(results == low, -_OPEN, (results << form.shift) - form.offset)
    most = np.where(results == high, _OPEN, ((results + 1) << form.shift) - 1 - form.offset)
    limits = _limits_of_factor if form.is_product else _limits_of_term
    for turn in range(_MOST_TURNS):
        lowest, highest = limits(first, least, most)
        fits = bool(np.all(lowest <= highest))
        middle = lowest // 2 + highest // 2
        second = np.where(lowest <= highest, np.clip(second, lowest, highest), middle)
        if fits:
            tables = (first, second) if turn % 2 == 0 else (second, first)
            found = TablePairs(*tables, form.is_product, form.offset, form.shift, low, high)
            return found if max(int(np.abs(table).max()) for table in tables) <= INT32_MAX // 2 else None
        first, second, least, most = second, first, least.T, most.T
    return None


def _limits_of_term(first: IntArray, least: IntArray, most: IntArray) -> tuple[IntArray, IntArray]:
    """For each column, what every row leaves of a second term."""
    return (least - first[:, np.newaxis]).max(axis=0), (most - first[:, np.newaxis]).min(axis=0)


def _limits_of_factor(first: IntArray, least: IntArray, most: IntArray) -> tuple[IntArray, IntArray]:
    """For each column, what every row leaves of a second factor; nothing where a factor of zero is wrong."""
    factors = first[:, np.newaxis]
    is_negative, is_zero = factors < 0, factors == 0
    divisors = np.where(is_zero, 1, factors)
    # Of a negative factor, the bounds change places.
    from_below, from_above = np.where(is_negative, most, least), np.where(is_negative, least, most)
    is_wrong = is_zero & ((least > 0) | (most < 0))
    lowest = np.where(is_zero | (np.abs(from_below) >= _OPEN), -_OPEN, -(-from_below // divisors))
    highest = np.where(is_zero | (np.abs(from_above) >= _OPEN), _OPEN, from_above // divisors)
    return np.where(is_wrong, _OPEN, lowest).max(axis=0), np.where(is_wrong, -_OPEN, highest).min(axis=0)
