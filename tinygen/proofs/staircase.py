"""What a requantisation is, whatever its formula: for each channel a staircase from accumulators to int8 outputs.

Rescaling, zero point and clamp keep the order. So the map is known by its ends and by where it takes its steps: two
formulas that keep the order are the same as soon as they agree on both sides of every step and at both ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.rescaling import Rescaling

Map = Callable[[IntArray], IntArray]
"""Accumulators of shape (..., channels) to outputs of the same shape."""

_NEAR = 4
"""No rounding rule moves a step by more than so many accumulators, mostly; where one does, the search is longer."""


@dataclass(frozen=True, eq=False)
class Staircases:
    """One staircase for each of `channels` channels, over the accumulators that the channel can reach."""

    low: IntArray
    """(channels,) the least accumulator"""
    high: IntArray
    """(channels,) the greatest"""
    first: IntArray
    """(channels,) the output at `low`"""
    last: IntArray
    """(channels,) the output at `high`"""
    values: IntArray
    """(n,) every output that some channel steps up to, ascending without gaps"""
    thresholds: IntArray
    """(channels, n) the least accumulator whose output is at least that value; high + 1 where none is"""

    @staticmethod
    def of(requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray) -> Staircases:
        """The staircases of clip(requant(acc) + zero_point) for acc from low to high, both (channels,).

        The requantisation has one factor for all channels, or one for each. Raises ValueError for a clamp to more
        than the 256 values of int8: int16 has too many steps to look at each.
        """
        if clamp[1] - clamp[0] > 255:
            raise ValueError(f"a staircase has at most 256 outputs, the clamp leaves {clamp[0]} to {clamp[1]}")

        def output(acc: IntArray) -> IntArray:
            return np.asarray(np.clip(requant.apply(acc) + zero_point, *clamp))

        low, high = np.asarray(low, np.int64), np.asarray(high, np.int64)
        first, last = output(low), output(high)
        values = np.arange(first.min() + 1, last.max() + 1)
        factors = np.maximum(np.array(requant.factors), np.finfo(np.float64).tiny)
        with np.errstate(over="ignore"):
            guess = np.clip((values[:, None] - zero_point - 0.5) / factors, low - 1, high + 1).astype(np.int64)
        return Staircases(low, high, first, last, values, _steps(output, values, guess, low, high).T)

    @property
    def reached(self) -> npt.NDArray[np.bool_]:
        """(channels, n): whether the channel takes the step up to the value within its range."""
        return np.asarray((self.thresholds > self.low[:, None]) & (self.thresholds <= self.high[:, None]))

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """(channels,): whether every accumulator gives the same output."""
        return np.asarray(self.first == self.last)

    def equal(self, other: Map) -> npt.NDArray[np.bool_]:
        """(channels,): whether a map that keeps the order is the same, over all that the channel can reach.

        Evaluates it at both ends and on both sides of every step; so that it has to keep the order, and no more.
        """
        ends = (other(self.low) == self.first) & (other(self.high) == self.last)
        at = np.clip(self.thresholds, self.low[:, None], self.high[:, None]).T
        before = np.maximum(at - 1, self.low)
        values = self.values[:, None]
        steps = (other(at) >= values) & (other(before) < values)
        return np.asarray(ends & (steps | ~self.reached.T).all(axis=0))


def _steps(output: Map, values: IntArray, guess: IntArray, low: IntArray, high: IntArray) -> IntArray:
    """(n, channels): by bisection from guesses, between accumulators below the step and ones at or after it."""
    below = np.clip(guess - _NEAR, low, high)
    below = np.where(output(below) < values[:, None], below, low - 1)
    after = np.clip(guess + _NEAR, low, high)
    after = np.where(output(after) >= values[:, None], after, high + 1)
    while (apart := after - below > 1).any():
        middle = (below + after) >> 1
        there = output(np.clip(middle, low, high)) >= values[:, None]
        after = np.where(apart & there, middle, after)
        below = np.where(apart & ~there, middle, below)
    return after
