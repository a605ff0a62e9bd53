"""What float32 values lie in, for each channel of a tensor's last dimension, through operations on them one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.float32 import FloatArray
from tinygen.interval import BoolArray, Interval


class RealRange(NamedTuple):
    """low <= value <= high, float32 of shapes that broadcast to (channels,).

    Where the ends are not finite nothing is known: they are minus infinity and infinity, and the value may be NaN.
    """

    low: FloatArray
    high: FloatArray

    @staticmethod
    def unknown() -> RealRange:
        """Of any channels."""
        return RealRange(np.asarray(-np.inf, np.float32), np.asarray(np.inf, np.float32))

    @staticmethod
    def of(values: npt.NDArray[Any] | None) -> RealRange:
        """The hull of a tensor's values; None: they are not known."""
        return RealRange.unknown() if values is None else _hull(values.reshape(-1, *values.shape[-1:]))

    @staticmethod
    def of_codes(reals: FloatArray, codes: Interval) -> RealRange:
        """Of what int8 values stand for: reals (256,), from -128 on."""
        ends = np.stack([codes.low, codes.high], axis=-1).reshape(-1, 2) + 128
        channels = [_hull(reals[low : high + 1]) for low, high in ends]
        low, high = (np.array(each, np.float32).reshape(codes.low.shape) for each in zip(*channels, strict=True))
        return RealRange(low, high)


def applied(compute: Callable[..., Any], operands: Sequence[RealRange], *, is_truth: bool) -> RealRange:
    """What a float32 operation, rounded to nearest, makes of its operands.

    While the others stay what they are, its exact result has to rise or fall all along each operand, from zero in
    either direction: its extremes are then those at the operands' ends and at what they hold nearest to zero. What is
    no number there, or infinite, as a quotient by zero, leaves the result unknown. Truth values (`is_truth`) are those
    of comparisons of two operands.
    """
    ends = [(low, high, np.clip(np.float32(0), low, high)) for low, high in operands]
    with np.errstate(all="ignore"):
        results = [np.asarray(compute(*each), np.float32) for each in itertools.product(*ends)]
    if is_truth:
        a, b = operands
        is_open = (a.low <= b.high) & (b.low <= a.high) & ((a.low < a.high) | (b.low < b.high))
        results += [np.where(is_open, np.float32(truth), results[0]) for truth in (0, 1)]
    is_known = np.isfinite(np.stack(np.broadcast_arrays(*results, *itertools.chain(*operands)))).all(axis=0)
    return _where(is_known, np.stack(np.broadcast_arrays(*results)))


def _hull(values: FloatArray) -> RealRange:
    """Of values (n, ...) along the first dimension."""
    return _where(np.isfinite(values).all(axis=0), values)


def _where(is_known: BoolArray | np.bool_, values: FloatArray) -> RealRange:
    """The hull of values (n, ...) along the first dimension; where it is not known, everything."""
    unknown = RealRange.unknown()
    low = np.where(is_known, values.min(axis=0), unknown.low)
    return RealRange(low, np.where(is_known, values.max(axis=0), unknown.high))
