"""Intervals of integers, one for each channel of a tensor's last dimension: what its values are proved to lie in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Interval:
    """low <= value <= high, int64 (channels,) each; () of a scalar."""

    low: IntArray
    high: IntArray

    @staticmethod
    def full(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Interval:
        """Everything that an integer dtype holds, for a tensor of this shape."""
        limits = np.iinfo(str(dtype))
        return Interval(np.full(shape[-1:], limits.min, np.int64), np.full(shape[-1:], limits.max, np.int64))

    @staticmethod
    def between(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Interval:
        """The hull of two tensors, all of whose elements bound those of a third."""
        before = tuple(range(low.ndim - 1))
        return Interval(low.min(before).astype(np.int64), high.max(before).astype(np.int64))

    @staticmethod
    def of(values: npt.NDArray[Any]) -> Interval:
        """The hull of a tensor's values."""
        return Interval.between(values, values)

    @staticmethod
    def around(results: Sequence[IntArray], channels: tuple[int, ...]) -> Interval:
        """The hull of results that each broadcast to a tensor with these last dimensions (one, or none)."""
        count = math.prod(channels)
        ends = (np.broadcast_to(choose(results, axis=0), (count,)) for choose in (np.min, np.max))
        return Interval(*(end.reshape(channels) for end in ends))

    def hull(self, other: Interval) -> Interval:
        """What holds both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def widened(self, grown: Interval, limits: Interval) -> Interval:
        """Where `grown` goes beyond an end, as far as the limits."""
        return Interval(
            np.where(grown.low < self.low, limits.low, self.low),
            np.where(grown.high > self.high, limits.high, self.high),
        )

    def clipped(self, low: int, high: int) -> Interval:
        """After a clamp."""
        return Interval(np.clip(self.low, low, high), np.clip(self.high, low, high))

    def over(self, channels: tuple[int, ...]) -> Interval:
        """Of a tensor with these last dimensions (one, or none) that holds the same values in any order."""
        return Interval(np.full(channels, self.low.min(), np.int64), np.full(channels, self.high.max(), np.int64))

    def holds(self, values: npt.NDArray[Any]) -> bool:
        """Whether a tensor's values all lie inside."""
        return bool((values >= self.low).all() and (values <= self.high).all())

    def is_same(self, other: Interval) -> bool:
        """Whether both have the same ends."""
        return np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)

    @property
    def is_constant(self) -> BoolArray:
        """Which channels have one value."""
        return np.asarray(self.low == self.high)
