"""What is known of the channels of sums in float32: what their results lie in, and which of them have no effect."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tinygen.interval import BoolArray, Interval
from tinygen.ir import Masks, Op, Tensor, read_only
from tinygen.ops import grouped
from tinygen.ops.common import Clamp
from tinygen.ops.float_sums import Bounds
from tinygen.ops.weighted import extreme_sums

_SLACK = 2.0**-20
"""Of steps of the output: more than float64 is off by."""


@dataclass(frozen=True)
class FloatWeighted(Op):
    """A sum over x int8 (n, h, w, c) and weights int8 (o, kh, kw, c / groups), their scales (o,) and a bias (o,).

    A product with zero leaves a float32 sum as it is. So channels go that are the zero point, or that meet weights of
    zero alone; another constant cannot be counted by the bias, as it takes part in roundings.
    """

    scale: float
    zero_point: int
    weight_zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 sums, ties to even"

    @abstractmethod
    def bounds(self, inputs: Sequence[Tensor]) -> Bounds:
        """What its sums can come to, whatever its input holds."""

    @abstractmethod
    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """As `Weighted.tap_sets`."""

    @abstractmethod
    def lacking(self, terms: int) -> tuple[Self | None, Self | None]:
        """The operator with filters gone, and with channels gone, so that `terms` products of each result are left.

        None where others would be added up in another order.
        """

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The sums' ends, rescaled, and as much further as float32 can be off."""
        x, weights, scales, bias = inputs
        assert weights.data is not None and scales.data is not None and bias.data is not None
        centred = weights.data.astype(np.float64) - self.weight_zero_point
        ends = given[0].low - self.zero_point, given[0].high - self.zero_point
        sums = extreme_sums(centred, *ends, self.tap_sets(x.shape), grouped.by_tap)
        off = self.bounds(inputs).error + _SLACK
        factors = self.scale * scales.data.astype(np.float64)
        low, high = (
            np.clip(np.rint((end * factors + bias.data) / self.output_scale + by).astype(np.int64), -(2**31), 2**31)
            for end, by in ((sums.low, -off), (sums.high, off))
        )
        zero = self.output_zero_point
        return (Interval(low + zero, high + zero).clipped(*self.clamp),)

    def kept_channels(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[BoolArray, ...] | None:
        """What the kept outputs read, unless it is the zero point."""
        x, weights, *_ = inputs
        assert weights.data is not None
        of_filters, of_channels = self.lacking(weights.elements // weights.shape[0])
        reads = grouped.by_channel(weights.data != self.weight_zero_point, x.shape[3]) != 0
        made = kept[-1] if of_filters is not None else np.ones_like(kept[-1])
        needed = reads[made].any(axis=0)
        if given[0] is not None:
            needed &= ~(given[0].is_constant & (given[0].low == self.zero_point))
        depth = weights.shape[3]
        read, made = grouped.shaped(kept[0] | needed, made, depth)
        if of_channels is None:
            read = read.reshape(-1, depth).any(axis=1).repeat(depth)
        return read, *kept[1:-1], made

    def narrowed(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[Op, tuple[Tensor, ...]] | None:
        """Without filters, and weights, that are gone."""
        x, weights, scales, bias = inputs
        read, *_, made = kept
        assert weights.data is not None
        data = read_only(np.ascontiguousarray(grouped.cut(weights.data, read, made)))
        quant = weights.quant
        if quant is not None and quant.scale.size > 1:
            quant = quant.of_channels(made)
        of_filters, of_channels = self.lacking(data.size // len(data))
        op = of_filters if data.shape[3] == weights.shape[3] else of_channels
        taken = dataclasses.replace(weights, shape=data.shape, data=data, quant=quant)
        return None if op is None else (op, (x.cut(read), taken, scales.cut(made), bias.cut(made)))
