"""Sums of products that ONNX Runtime takes in float32: in which order, how far they can be off, and how C decides.

The C sums integers, which are exact. Only where what float32 may have rounded away decides on a result does it take the
float32 sums, too, in the runtime's order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.float32 import FloatArray, fused_multiply_add
from tinygen.ir import Array, Tensor
from tinygen.ops import common
from tinygen.ops.common import FLOAT32, INT8, Clamp

_UNIT = 2.0**-24
"""By how much float32 rounds, relatively, at most."""
_SMALLEST, _LARGEST = 2.0**-60, 2.0**60
"""Scales with which no float32 is too small or too large."""
_LARGEST_MARGIN = 0.45
_MORE_ROUNDINGS = 6
"""Of factors and product, of bias and quotient."""
_MOST_BITS = 62
_FRACTION = 32
LANES = 8
"""Of a vector of float32 with AVX."""
_FOUR = 4
PROOF = "integer sums, and float32 ones where these may decide"


Reals = npt.NDArray[np.float64]


class Way(Enum):
    """How ``MlasSgemmOperation`` adds up the products of one result."""

    CHAIN = "one after the other, by fused multiply-adds"
    FOURS = "by fours, rounded one by one"
    """Of a matrix with one row, by another that is not turned."""
    LANES = "every eighth in a sum of its own, rounded one by one"
    """Of a matrix with one row, by another that is turned."""


@dataclass(frozen=True)
class SumOrder:
    """The order of the `terms` products of each result, as they follow each other in memory there.

    Of a chain a new one begins after each `block`. Lanes are added up in a way of their own for results that come four
    at a time, for two that are left, and for one: `by_filter` results are counted by filter, else by pixel, and there
    are `results` of them. With `bias_first` the bias is what sums begin with; else it is added to them.
    """

    way: Way
    terms: int
    block: int = 0
    by_filter: bool = True
    results: int = 1
    bias_first: bool = False

    def with_bias_first(self) -> SumOrder:
        """The same, of sums that begin with the bias."""
        return dataclasses.replace(self, bias_first=self.way is not Way.LANES)

    def error(self, low: Reals, high: Reals, bias: Reals) -> Reals:
        """(n,): by how much sums of products from low to high (n, terms), which include zero, can be off.

        Each rounding is of a value whose size is known at most, and so by half of that size's last place (Higham,
        Accuracy and Stability of Numerical Algorithms, 2.2): two factors, a product that is not fused, sums, the bias.
        """
        grown = 1 + 4 * (self.terms + _MORE_ROUNDINGS) * _UNIT  # by what was rounded before
        sizes = np.maximum(high, -low)
        factors = (2 if self.way is Way.CHAIN else 3) * _UNIT * sizes.sum(axis=1)
        whole = np.maximum(high.sum(axis=1), -low.sum(axis=1))
        if self.way is Way.LANES:
            lanes = [_partial_sums(low[:, lane::LANES], high[:, lane::LANES]) for lane in range(LANES)]
            sums = np.concatenate([*lanes, np.repeat(whole[:, None], LANES - 1, axis=1)], axis=1)
        else:
            starts = np.flatnonzero(np.diff(self.parts, prepend=-1))
            ends = np.append(starts[1:], self.terms)
            inner = [_partial_sums(low[:, a:b], high[:, a:b]) for a, b in zip(starts, ends, strict=True)]
            outer = _partial_sums(np.add.reduceat(low, starts, axis=1), np.add.reduceat(high, starts, axis=1))
            first = np.abs(bias)[:, None] if self.bias_first else 0
            sums = np.concatenate([*inner, outer + first], axis=1)
        sums = np.concatenate([sums, (whole + np.abs(bias))[:, None]], axis=1)
        return np.asarray((factors + half_places(sums * grown).sum(axis=1)) * grown)

    @property
    def parts(self) -> IntArray:
        """Which products are added up before the result takes part in a sum of such: the number of each one's part."""
        at = np.arange(self.terms)
        if self.way is Way.CHAIN:
            return np.asarray(at // self.block)
        # Of three that are left, two come first.
        return np.asarray(at // _FOUR + ((self.terms % _FOUR == 3) & (at == self.terms - 1)))

    def sums(self, x: FloatArray, weights: FloatArray, bias: FloatArray, filters: IntArray, pixels: IntArray) -> Array:
        """Of values and weights (n, terms), and a bias (n,), for results that are counted so: (n,) float32."""
        if self.way is Way.LANES:
            lanes = np.zeros((LANES, len(x)), np.float32)
            for at in range(self.terms):
                lanes[at % LANES] += x[:, at] * weights[:, at]
            return np.asarray(self._reduced(lanes, filters if self.by_filter else pixels) + bias)
        total = bias if self.bias_first else np.zeros(len(x), np.float32)
        for part in np.split(np.arange(self.terms), np.flatnonzero(np.diff(self.parts)) + 1):
            found = np.zeros(len(x), np.float32)
            for at in part:
                if self.way is Way.CHAIN:
                    found = fused_multiply_add(x[:, at], weights[:, at], found)
                else:
                    found = found + x[:, at] * weights[:, at]
            total = found + total
        return np.asarray(total if self.bias_first else total + bias)

    def _reduced(self, lanes: FloatArray, places: IntArray) -> FloatArray:
        """Lanes (8, n) to sums (n,)."""
        low, high = lanes[:4], lanes[4:]
        by_four = [((half[0] + half[1]) + half[2]) + half[3] for half in (low, high)]
        by_two = [(low[k + 2] + low[k]) + (high[k + 2] + high[k]) for k in range(2)]
        alone = [(half[0] + half[1]) + (half[2] + half[3]) for half in (low, high)]
        choices = [a + b for a, b in (by_four, by_two, alone)]
        return np.select([places < self.fours, places < self.fours + self.twos], choices[:2], choices[2])

    @property
    def fours(self) -> int:
        """How many results come four at a time."""
        return self.results // _FOUR * _FOUR

    @property
    def twos(self) -> int:
        """How many come then two at a time."""
        return self.results % _FOUR & 2


def half_places(sizes: Reals) -> Reals:
    """By how much a float32 is rounded that is no larger than these: half of the last place of each."""
    return np.where(sizes > 0, np.ldexp(_UNIT, np.frexp(sizes)[1] - 1), 0.0)


def _partial_sums(low: Reals, high: Reals) -> Reals:
    """(n, terms): how large sums of the first products, the first two and so on can be."""
    return np.asarray(np.maximum(high.cumsum(axis=1), -low.cumsum(axis=1)))


def order_of_product(
    rows: int, columns: int, terms: int, *, is_turned: bool, stride: int, gap: int, of_filters: bool = True
) -> SumOrder:
    """``MlasSgemmOperation`` for a matrix (rows, terms) by one (terms, columns), or, turned, (columns, terms).

    `stride`: from one row of the second matrix to the next, `gap` from one of the result to the next. `of_filters`:
    whether rows are filters and columns pixels, as in convolutions; else rows are pixels.
    """
    if rows == 1:
        return SumOrder(Way.LANES if is_turned else Way.FOURS, terms, by_filter=not of_filters, results=columns)
    if columns == 1 and stride == 1 and gap == 1:
        return SumOrder(Way.LANES, terms, by_filter=of_filters, results=rows)
    return SumOrder(Way.CHAIN, terms, chain_block(columns, terms))


def chain_block(columns: int, terms: int) -> int:
    """Of how many products MLAS packs those of a panel."""
    width = depth = 128
    if columns >= terms:
        while depth // 2 >= terms:
            depth //= 2
    else:
        while width > 16 and width // 2 >= columns:
            width, depth = width // 2, depth * 2
    return depth


@dataclass(frozen=True)
class Bounds:
    """What integer sums, and float32 sums, can come to."""

    sum: int
    steps: Reals
    """(o,): of the output's scale, from sum and bias."""
    error: Reals
    """(o,): by how many steps float32 can be off.

    A product has three rounded factors at most, and takes part in some sums; bias and quotient follow (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1).
    """

    @staticmethod
    def of_order(
        order: SumOrder, weights: IntArray, x: Clamp, scale: float, scales: Array, bias: Array, output_scale: float
    ) -> Bounds:
        """For sums in that order of x, integers from below zero to above, times weights (o, terms)."""
        ends = np.stack([weights * end for end in x])
        low, high = ends.min(axis=0), ends.max(axis=0)
        units = (scale * scales.astype(np.float64))[:, None]
        sums = np.maximum(high.sum(axis=1), -low.sum(axis=1))
        steps = (sums * units[:, 0] + np.abs(bias)) / output_scale
        error = order.error(low * units, high * units, bias.astype(np.float64)) / output_scale
        return Bounds(int(np.abs(ends).max(axis=0).sum(axis=1).max()), steps, error + half_places(steps + error))

    @staticmethod
    def of(
        sizes: IntArray, roundings: int | IntArray, scale: float, scales: Array, bias: Array, output_scale: float
    ) -> Bounds:
        """For products of magnitudes (o, terms), each of which is rounded so often on its way into the sum."""
        sums = sizes.sum(axis=1)
        factors = scale * scales.astype(np.float64) / output_scale
        offsets = np.abs(bias).astype(np.float64) / output_scale
        most = np.max(roundings) + _MORE_ROUNDINGS
        each = (sizes * (np.asarray(roundings) + _MORE_ROUNDINGS)).sum(axis=1)
        error = (each * factors + offsets * most) * _UNIT / (1 - most * _UNIT)
        return Bounds(int(sums.max()), np.asarray(sums * factors + offsets), np.asarray(error))

    def problems(self, output_scale: float) -> Iterator[str]:
        """What the C does not decide."""
        if self.sum > INT32_MAX:
            yield "sums of products can leave int32"
        elif self.error.max() > _LARGEST_MARGIN:
            yield (
                f"float32 sums can be off by {self.error.max():.2f} steps of its output, supported are "
                f"{_LARGEST_MARGIN}: the output's scale {output_scale:g} is too fine for such sums"
            )


def operand_problems(x: Tensor, weights: Tensor, scales: Tensor, bias: Tensor) -> Iterator[str]:
    """Dtypes and shapes: int8 x (n, h, w, c); constants int8 (o, kh, kw, c / groups), float32 (o,) and (o,)."""
    broken = [
        *common.expect_dtype(x, "input", INT8),
        *common.expect_rank(x, "input", 4),
        *common.expect_dtype(weights, "filter", INT8),
        *common.expect_rank(weights, "filter", 4),
    ]
    for constant, role in ((weights, "filter"), (scales, "scales"), (bias, "bias")):
        broken += common.expect_constant(constant, role)
    yield from broken
    if broken:
        return
    filters, *_, depth = weights.shape
    if x.shape[3] % depth or filters % (x.shape[3] // depth):
        yield f"{x.shape[3]} channels do not make groups for {filters} filters of depth {depth}"
    elif scales.shape != (filters,) or bias.shape != (filters,) or {scales.dtype, bias.dtype} != {FLOAT32}:
        yield f"scales {scales.shape} and bias {bias.shape} are not float32, one for each of {filters} filters"


def scale_problems(*scales: float) -> Iterator[str]:
    """The first scale that makes a float32 too small or too large."""
    for scale in scales:
        if not _SMALLEST <= scale <= _LARGEST:
            yield f"its scale {scale:g} is out of the range that float32 sums keep"
            return


class Deciding(NamedTuple):
    """What the macros of `ops/float_sums.j2` take."""

    shift: int
    constants: Mapping[str, Array]

    @staticmethod
    def of(bounds: Bounds, scale: float, scales: Array, bias: Array, output_scale: float) -> Deciding:
        """Steps of the output are counted in units of 2**-shift, and half a step more, so that floor rounds them.

        Where their fraction is within `margins` (in units of 2**-32) of a whole number, float32 could round otherwise.
        """
        factors = scale * scales.astype(np.float64) / output_scale
        # As fine as int64 has room for the steps, and, if that is fine enough, int32 for the factors.
        room = _MOST_BITS - math.log2(float(bounds.steps.max()) + 1)
        shift = math.floor(min(room, max(_FRACTION + 1, 30 - math.log2(float(factors.max())))))
        units_of_sum = np.rint(factors * 2.0**shift).astype(np.int64)
        steps = bias.astype(np.float64) / output_scale + 0.5
        # Factors and offsets are rounded to integers, after a few roundings of doubles.
        units = (bounds.sum + 2) / 2.0**shift + bounds.steps * 2.0**-50
        constants = {
            "scales": scales,
            "bias": bias,
            "factors": units_of_sum.astype(np.int32) if units_of_sum.max() <= INT32_MAX else units_of_sum,
            "offsets": np.rint(steps * 2.0**shift).astype(np.int64),
            "margins": np.ceil((bounds.error + units) * 2.0**_FRACTION + 1).astype(np.uint32),
        }
        return Deciding(shift, constants)
