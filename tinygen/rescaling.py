"""Rules by which accumulators become outputs of another scale, one class for each runtime's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import (
    INT32_MAX,
    IntArray,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_int64,
    quantize_multiplier,
    reduced_multiplier,
)


class Rounding(Enum):
    """How acc * multiplier * 2**(shift - 31) becomes an integer; the values are what reports print."""

    DOUBLE = "double rounding"
    """``MultiplyByQuantizedMultiplier`` of an int32: rounded at bit 31, and again after the right shift."""
    INT64 = "int64, single rounding"
    """``MultiplyByQuantizedMultiplier`` of an int64: a 16-bit multiplier, rounded once, half up."""
    REAL = "float64, single rounding"
    """The product with a float64 factor, rounded once, ties away from zero."""
    FLOAT = "float32, ties to even"
    """The product with a float32 factor, in float32, then rounded to an integer, both with ties to even."""


@dataclass(frozen=True)
class Requant:
    """Accumulator to output scale, per channel of the last axis or one for all: acc * multiplier * 2**(shift - 31)."""

    multiplier: tuple[int, ...]
    shift: tuple[int, ...]
    rounding: Rounding = Rounding.DOUBLE

    @staticmethod
    def from_scales(scales: npt.ArrayLike, rounding: Rounding = Rounding.DOUBLE) -> Requant:
        """Quantise real factors (float64), one per channel."""
        pairs = [quantize_multiplier(float(scale)) for scale in np.atleast_1d(np.asarray(scales, np.float64))]
        return Requant(tuple(m for m, _ in pairs), tuple(s for _, s in pairs), rounding)

    @property
    def channels(self) -> int:
        """How many factors there are; one stands for all channels."""
        return len(self.multiplier)

    @property
    def per_channel(self) -> bool:
        """Whether channels differ in their scale."""
        return self.channels > 1

    @cached_property
    def factors(self) -> tuple[float, ...]:
        """The real factors, per channel or one for all; float64 holds them exactly."""
        multiplier, shift = self._arrays
        if self.rounding is Rounding.INT64:
            multiplier = reduced_multiplier(multiplier) << 16
        return tuple(np.ldexp(multiplier.astype(np.float64), shift - 31).tolist())

    @property
    def is_identity(self) -> bool:
        """Whether the result is the accumulator."""
        return (self.multiplier, self.shift, self.rounding) == ((1 << 30,), (1,), Rounding.DOUBLE)

    def of_channels(self, kept: npt.NDArray[np.bool_] | IntArray) -> Requant:
        """That of some channels, by mask or number."""
        if not self.per_channel:
            return self
        multiplier, shift = (tuple(np.array(values)[kept].tolist()) for values in (self.multiplier, self.shift))
        return Requant(multiplier, shift, self.rounding)

    @cached_property
    def _arrays(self) -> tuple[IntArray, IntArray]:
        return np.array(self.multiplier, np.int64), np.array(self.shift, np.int64)

    def apply(self, acc: IntArray) -> IntArray:
        """Rescale int64 accumulators of shape (..., channels)."""
        if self.rounding is Rounding.INT64:
            return multiply_by_quantized_multiplier_int64(acc, *self._arrays)
        return multiply_by_quantized_multiplier(acc, *self._arrays)

    def largest_accumulator(self) -> IntArray:
        """The largest |accumulator| per channel that the rule is defined for: no intermediate leaves its C type."""
        multiplier, shift = self._arrays
        if self.rounding is Rounding.INT64:
            # The result is cast to int32. A shift of 15 or more would leave none to round with.
            fits = (np.int64(INT32_MAX) << np.clip(15 - shift, 0, 31)) // np.maximum(reduced_multiplier(multiplier), 1)
            return np.where(shift < 15, np.minimum(fits, (1 << 47) - 1), 0)
        return INT32_MAX >> np.maximum(shift, 0)


@dataclass(frozen=True)
class _Factors:
    """Factors that accumulators are multiplied by, per channel of the last axis or one for all."""

    factors: tuple[float, ...]
    is_identity: ClassVar[bool] = False

    @property
    def channels(self) -> int:
        """How many factors there are; one stands for all channels."""
        return len(self.factors)

    @property
    def per_channel(self) -> bool:
        """Whether channels differ in their scale."""
        return self.channels > 1

    def of_channels(self, kept: npt.NDArray[np.bool_] | IntArray) -> Self:
        """That of some channels, by mask or number."""
        return replace(self, factors=tuple(np.array(self.factors)[kept].tolist())) if self.per_channel else self


@dataclass(frozen=True)
class RealRequant(_Factors):
    """Accumulator to output scale by float64 factors, per channel of the last axis or one for all: `Rounding.REAL`.

    What LiteRT's reference FULLY_CONNECTED does. `wide`: whether it sums in int64.
    """

    wide: bool = False
    rounding: ClassVar[Rounding] = Rounding.REAL
    error: ClassVar[float] = 0.0

    def apply(self, acc: IntArray) -> IntArray:
        """Rescale int64 accumulators of shape (..., channels)."""
        product = np.asarray(acc, np.int64).astype(np.float64) * np.array(self.factors)
        magnitude = np.floor(np.abs(product))
        magnitude += np.abs(product) - magnitude >= 0.5  # exact, where the sum with 0.5 might round up
        return np.asarray(np.copysign(magnitude, product).astype(np.int64))

    def largest_accumulator(self) -> IntArray:
        """The largest |accumulator| per channel that the rule is defined for: no intermediate leaves its C type."""
        results = np.floor((INT32_MAX - _ROOM_FOR_ZERO_POINT) / np.array(self.factors))
        sums = _LARGEST_EXACT_FLOAT64 if self.wide else INT32_MAX
        return np.minimum(results, sums).astype(np.int64)

    def in_integers(self, bounds: IntArray, reach: int) -> tuple[IntArray, IntArray] | None:
        """Multipliers and shifts (int64, one per factor) that give the same results in integers.

        `bounds`: what each channel's |accumulator| can reach. None: for some factor there are none.
        """
        return _integer_factors([RealRequant((factor,)) for factor in self.factors], bounds, reach)


@dataclass(frozen=True)
class FloatRequant(_Factors):
    """Accumulator to output scale by float32 factors, per channel of the last axis or one for all: `Rounding.FLOAT`.

    What ONNX Runtime does: rint(f32(f32(acc) * factor)), ties to even. Some of its operators add the output's zero
    point before they round; then it is `added`, and the result is rint(f32(f32(f32(acc) * factor) + added)) - added.
    """

    added: int = 0
    rounding: ClassVar[Rounding] = Rounding.FLOAT
    error: ClassVar[float] = 2.0**-21
    """More than a product can be off, relatively, before it becomes an integer."""

    @staticmethod
    def from_scales(x: np.float32, weights: npt.ArrayLike, y: np.float32) -> FloatRequant:
        """The factors of a product of scales, in float32: x * weights / y."""
        scales = np.atleast_1d(np.asarray(weights, np.float32))
        return FloatRequant(tuple((np.float32(x) * scales / np.float32(y)).tolist()))

    def apply(self, acc: IntArray) -> IntArray:
        """Rescale int64 accumulators of shape (..., channels)."""
        product = np.asarray(acc, np.int64).astype(np.float32) * np.array(self.factors, np.float32)
        rounded = np.rint(product + np.float32(self.added) if self.added else product)
        return np.asarray(np.clip(rounded, -_FAR, _FAR).astype(np.int64) - self.added)

    def largest_accumulator(self) -> IntArray:
        """The largest |accumulator| per channel that the rule is defined for: the result fits int32."""
        results = np.floor((INT32_MAX - _ROOM_FOR_ZERO_POINT) / np.array(self.factors))
        return np.minimum(results, INT32_MAX).astype(np.int64)

    def in_integers(self, bounds: IntArray, reach: int) -> tuple[IntArray, IntArray] | None:
        """Multipliers and shifts (int64, one per factor) that give the same results in integers, ties away from zero.

        `bounds`: what each channel's |accumulator| can reach. None: for some factor there are none.
        """
        if self.added:
            return None
        return _integer_factors([FloatRequant((factor,)) for factor in self.factors], bounds, reach)


@dataclass(frozen=True)
class FloatLine:
    """Accumulator to output by lines in float32, per channel of the last axis or one for all: `Rounding.FLOAT`.

    rint(f32(f32(f32(f32(acc) * gain) + offset) / scale)), ties to even: what becomes of integer sums in ONNX Runtime
    where Cast, Mul, Add and QuantizeLinear follow each other.
    """

    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    scale: float
    rounding: ClassVar[Rounding] = Rounding.FLOAT
    is_identity: ClassVar[bool] = False

    @property
    def channels(self) -> int:
        """How many lines there are; one stands for all channels."""
        return len(self.gains)

    @property
    def per_channel(self) -> bool:
        """Whether channels differ in their line."""
        return self.channels > 1

    @cached_property
    def factors(self) -> tuple[float, ...]:
        """How steep the lines are, in the output's steps."""
        return tuple((np.array(self.gains) / self.scale).tolist())

    def of_channels(self, kept: npt.NDArray[np.bool_] | IntArray) -> FloatLine:
        """That of some channels."""
        if not self.per_channel:
            return self
        gains, offsets = (tuple(np.array(values)[kept].tolist()) for values in (self.gains, self.offsets))
        return FloatLine(gains, offsets, self.scale)

    def apply(self, acc: IntArray) -> IntArray:
        """Rescale int64 accumulators of shape (..., channels)."""
        product = np.asarray(acc, np.int64).astype(np.float32) * np.array(self.gains, np.float32)
        quotient = (product + np.array(self.offsets, np.float32)) / np.float32(self.scale)
        return np.asarray(np.clip(np.rint(quotient), -_FAR, _FAR).astype(np.int64))

    def largest_accumulator(self) -> IntArray:
        """The largest |accumulator| per channel that the rule is defined for: the result fits int32."""
        steps = np.abs(np.array(self.offsets)) / self.scale
        results = np.floor((INT32_MAX - _ROOM_FOR_ZERO_POINT - steps) / np.array(self.factors))
        return np.asarray(np.clip(results, 0, INT32_MAX).astype(np.int64))


@dataclass(frozen=True)
class OpenLine(_Factors):
    """Accumulator to output by lines in exact numbers, per channel of the last axis, as sure as a runtime's sums are.

    floor(acc * factor + offset + 1/2), and where that is nearer than `errors` to another integer (all three in the
    output's steps), perhaps that one: float32 sums have it.
    """

    offsets: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    rounding: ClassVar[Rounding] = Rounding.FLOAT

    def of_channels(self, kept: npt.NDArray[np.bool_] | IntArray) -> OpenLine:
        """That of some channels."""
        found = (tuple(np.array(values)[kept].tolist()) for values in (self.factors, self.offsets, self.errors))
        return OpenLine(*found)

    def apply(self, acc: IntArray) -> IntArray:
        """Rescale int64 accumulators of shape (..., channels), as if the line were sure."""
        return np.asarray(np.floor(self._steps(acc) + 0.5).astype(np.int64))

    def is_open(self, acc: IntArray) -> npt.NDArray[np.bool_]:
        """Of which of these accumulators the result is not sure."""
        steps = self._steps(acc)
        return np.asarray(np.abs(steps - np.floor(steps) - 0.5) <= np.array(self.errors))

    def _steps(self, acc: IntArray) -> npt.NDArray[np.float64]:
        return np.asarray(np.asarray(acc, np.int64) * np.array(self.factors) + np.array(self.offsets))

    def largest_accumulator(self) -> IntArray:
        """The largest |accumulator| per channel that the rule is defined for: the result fits int32."""
        results = np.floor((INT32_MAX - _ROOM_FOR_ZERO_POINT - np.abs(self.offsets)) / np.array(self.factors))
        return np.asarray(np.clip(results, 0, INT32_MAX).astype(np.int64))


Rescaling = Requant | RealRequant | FloatRequant | FloatLine | OpenLine
"""How accumulators become results, by the rule of one runtime or another."""

_FAR = 2.0**62
_ROOM_FOR_ZERO_POINT = 1 << 16
_LARGEST_EXACT_FLOAT64 = 2**53
_CHANNELS = 1 << 16
"""Of a whole network, about: each layer is looked at several times."""


def _integer_factors(
    requants: Sequence[RealRequant | FloatRequant], bounds: IntArray, reach: int
) -> tuple[IntArray, IntArray] | None:
    """For each of one factor: multiplier and shift of `integer_factor`; None where some have none."""
    bounds = np.asarray(bounds) if len(requants) > 1 else np.asarray(bounds).max(keepdims=True)
    pairs = [integer_factor(requant, int(bound), reach) for requant, bound in zip(requants, bounds, strict=True)]
    found = [pair for pair in pairs if pair is not None]
    if len(found) < len(pairs):
        return None
    return np.array([m for m, _ in found], np.int64), np.array([s for _, s in found], np.int64)


@lru_cache(maxsize=_CHANNELS)
def integer_factor(requant: RealRequant | FloatRequant, bound: int, reach: int) -> tuple[int, int] | None:
    """The smallest multiplier, and its shift, that stand for the factor of a rule that is odd: f(-a) = -f(a).

    For every |a| <= `bound`, a * multiplier * 2**-shift, rounded to integers with ties away from zero, is the rule's
    result, as far as results of `reach` and beyond need not be told apart. The product with the multiplier fits int64,
    with its rounding. None: there is no such multiplier.

    Rounding keeps the order, so that a rule is known by the least accumulator of each result. The factors that have
    the same ones form an interval, given exactly by its ends.
    """
    (factor,) = requant.factors
    largest = min(int(requant.apply(np.array([bound]))[0]), reach)
    results = np.arange(1, largest + 1)
    halves = results - 0.5  # where results 1, 2, ... begin, nearly
    first = np.maximum(np.ceil(halves / factor * (1 - requant.error)) - 2, 0).astype(np.int64)
    while (short := requant.apply(first) < results).any():  # this takes few steps
        first += short
    least = _extreme_quotient(halves, first, max)
    before = first > 1
    most = _extreme_quotient(halves[before], first[before] - 1, min)
    if largest < reach:  # the bound itself stays below the next result
        most = min(filter(None, (most, Fraction(2 * largest + 1, 2 * max(bound, 1)))))
    least = least or Fraction(0)
    for shift in range(1, 63):
        multiplier = -(-(least.numerator << shift) // least.denominator)
        if bound * multiplier + (1 << (shift - 1)) >= 1 << 63:
            return None
        if most is None or multiplier * most.denominator < most.numerator << shift:
            return multiplier, shift
    return None


def _extreme_quotient(
    halves: npt.NDArray[np.floating[Any]],
    accumulators: IntArray,
    choose: Callable[[Iterable[Fraction]], Fraction],
) -> Fraction | None:
    """The largest or smallest of exact quotients; float64 ones say which of them to look at."""
    if not halves.size:
        return None
    rounded = halves / accumulators
    extreme = rounded.max() if choose is max else rounded.min()
    near = np.abs(rounded - extreme) <= extreme * 2.0**-50
    pairs = zip(halves[near].tolist(), accumulators[near].tolist(), strict=True)
    return choose(Fraction(int(2 * half), 2 * int(accumulator)) for half, accumulator in pairs)
