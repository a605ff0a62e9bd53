"""What kernels on real values share: float32 of int8 values, quotients, and what is rounded to int8.

`templates/armv81m/reals.j2` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ops.common import INT8, Clamp, full_range

_LARGEST = 2.0**60
"""Of scales, and of 1 / scale: then no rest of a quotient is so small that vectors have zero for it."""
_CLOSE = 2.0**-25
"""So far from one a divisor times its reciprocal may be: then the product with it is within a unit in the last place of
the quotient, and one correction gives the float nearest to that."""
_INTEGERS = 1.5 * 2**23
"""Floats around it are the integers: adding it rounds, ties to even."""
_ROOM = 0.25
"""More than float32 can be off by, in steps of the output."""


def are_in_range(*scales: float) -> bool:
    """Whether vectors have neither zero nor infinity for what is made of real values with these scales."""
    return all(1 / _LARGEST < scale < _LARGEST for scale in scales)


@dataclass(frozen=True)
class RealValues:
    """What int8 values stand for: (value - zero_point) * factor, rounded to float32."""

    zero_point: int
    factor: int
    """A float32, by its bits."""
    shift: int | None
    """-zero_point * factor likewise, where that is a float: then one fused operation gives the same."""

    @staticmethod
    def of(factor: np.float32, zero_point: int) -> RealValues:
        """For values of int8."""
        shift = np.float64(factor) * -zero_point
        is_fused = zero_point != 0 and np.float32(shift) == shift
        return RealValues(zero_point, _bits(factor), _bits(np.float32(shift)) if is_fused else None)


@dataclass(frozen=True)
class Quotient:
    """By one divisor, rounded to the nearest float32; the divisor is negative, all by their bits."""

    divisor: int
    reciprocal: int
    corrections: int
    """By the rest that a quotient leaves, which has no rounding."""

    @staticmethod
    def of(divisor: np.float32) -> Quotient:
        """For a divisor that is no power of two, or one."""
        reciprocal = np.float32(1) / divisor
        is_close = abs(np.float64(divisor) * np.float64(reciprocal) - 1) <= _CLOSE
        return Quotient(_bits(-divisor), _bits(reciprocal), 1 if is_close else 2)


@dataclass(frozen=True)
class Rounding:
    """clamp(rint(value + before) + after), of float32 values to int8."""

    before: int
    after: int
    stays: bool
    """Whether that is an int8 of all values that there can be, without saturation."""
    low: int | None
    high: int | None
    """Ends of the clamp that saturation does not give."""

    @staticmethod
    def of(before: int, after: int, ends: tuple[float, float], clamp: Clamp) -> Rounding:
        """`ends`: the least and the greatest result before it is rounded, about."""
        low, high = full_range(INT8)
        return Rounding(
            before,
            after,
            stays=low - _ROOM < min(ends) and max(ends) < high + _ROOM,
            low=None if clamp[0] == low else clamp[0],
            high=None if clamp[1] == high else clamp[1],
        )

    @property
    def integers(self) -> int | None:
        """A float32, by its bits, whose sum with the value has the result in its lowest byte; None: there is none."""
        if not self.stays or self.before or self.after % 2:
            return None
        return _bits(np.float32(_INTEGERS + self.after))

    @property
    def added(self) -> int | None:
        """A float32, by its bits, which is added first, if there is one."""
        return self.integers or (_bits(np.float32(self.before)) if self.before else None)

    @property
    def clips(self) -> bool:
        """Whether the clamp cuts more off than saturation does."""
        return self.low is not None or self.high is not None


def _bits(value: np.float32) -> int:
    return int(value.view(np.uint32))
