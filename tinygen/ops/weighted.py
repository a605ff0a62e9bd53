"""What all layers share that multiply their input by constant weights: attributes, checks, and the kernels' frame."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from tinygen.c_text import C_TYPES
from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.interval import BoolArray, Interval
from tinygen.ir import Array, Masks, Op, Tensor, packed, read_only
from tinygen.kernel import Body, Site
from tinygen.ops import common
from tinygen.ops.common import INT8, INT32, INT64, Clamp
from tinygen.ops.proved_finish import ProvedFinish, proved_finish
from tinygen.rescaling import Rescaling


@dataclass(frozen=True)
class Weighted(Op):
    """y = clamp(requant(acc) + output_zero_point) with acc = sum (x - zero_point) * (w - weight_zero_point) + b.

    x int8 or int16, w int8 and constant, b int32 or (beside int16) int64, one for each output channel; y is of x's
    dtype. The sums are int32; where int32 could overflow and the rounding rule takes it, int64.
    """

    filter_rank: ClassVar[int]
    filter_axis: ClassVar[int]
    """The filter's dimension of output channels."""
    zero_point: int
    weight_zero_point: int
    output_zero_point: int
    requant: Rescaling
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and ranks; if they hold, channel counts; then shapes; then accumulator bounds."""
        x, weights, bias = inputs
        broken = [*self.input_problems(x), *common.filter_problems(x, weights, bias, self.filter_rank)]
        if not broken:
            broken += common.channel_problems(bias, self.requant, weights.shape[self.filter_axis])
        if not broken:
            broken += self.shape_problems(x.shape, weights.shape)
        if not broken:
            broken += common.accumulator_problems(*self._sums(inputs), self.requant, x.dtype)
        yield from broken

    def input_problems(self, x: Tensor) -> Iterator[str]:
        """What of the input alone does not fit."""
        yield from ()

    @abstractmethod
    def shape_problems(self, x: Sequence[int], weights: Sequence[int]) -> Iterator[str]:
        """What of input and filter does not fit together."""

    def bound(self, inputs: Sequence[Tensor]) -> IntArray:
        """What each channel's |accumulator| can reach."""
        return common.accumulator_bound(*self._sums(inputs), inputs[0].dtype)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The accumulators' ends, rescaled: no rule of rounding changes an order."""
        acc = self.accumulators(inputs, given[0])
        dtype = inputs[0].dtype
        return (Interval(*(self.finished(end, dtype).astype(np.int64) for end in (acc.low, acc.high))),)

    def accumulators(self, inputs: Sequence[Tensor], x: Interval) -> Interval:
        """What the sums of each output channel lie in, over all output positions, for an input in `x`.

        Positions differ in the taps that lie inside the image: each such set has its own sums.
        """
        image, weights, bias = inputs
        assert weights.data is not None and bias.data is not None
        centred = weights.data.astype(np.float64) - self.weight_zero_point
        ends = x.low - self.zero_point, x.high - self.zero_point
        sums = extreme_sums(centred, *ends, self.tap_sets(image.shape), self.by_tap)
        return Interval(sums.low + bias.data, sums.high + bias.data)

    @abstractmethod
    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """Which rows (sets, rows) and columns (sets, columns) of taps a sum can consist of, for an input's shape.

        Any set of rows goes with any set of columns.
        """

    @abstractmethod
    def by_tap(self, taps: Array, x: Array) -> Array:
        """The sums over input channels of what is shaped as the filter, times `x`, one value for each input channel.

        As (rows, columns, output channels).
        """

    @abstractmethod
    def by_channel(self, taps: Array, x: Sequence[int]) -> Array:
        """What is shaped as the filter, as (output channels, input channels), summed over all taps."""

    @abstractmethod
    def cut(self, weights: Array, x: BoolArray, y: BoolArray) -> Array:
        """The filter of the kept input and output channels."""

    def shaped(self, x: BoolArray, y: BoolArray, weights: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """At least the input and output channels given, in a number that such a layer can have."""
        return x, y

    def kept_channels(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[BoolArray, ...] | None:
        """What the kept outputs read, unless it is a constant that every sum has the same share of."""
        x, weights, _ = inputs
        assert weights.data is not None
        reads = self.by_channel(weights.data != self.weight_zero_point, x.shape) != 0
        needed = reads[kept[-1]].any(axis=0)
        if given[0] is not None:
            folds = given[0].is_constant & ((given[0].low == self.zero_point) | self._sums_are_alike(x.shape))
            needed &= ~folds
        read, made = self.shaped(kept[0] | needed, kept[-1], weights.shape)
        return read, *kept[1:-1], made

    def _sums_are_alike(self, x: Sequence[int]) -> bool:
        """Whether all sums are over the same taps."""
        return all(len(sets) == 1 for sets in self.tap_sets(x))

    def narrowed(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[Op, tuple[Tensor, ...]] | None:
        """Without filters, and weights, that are gone; what constant channels add to every sum is in the bias.

        None where the bias would not fit its dtype.
        """
        x, weights, bias = inputs
        read, *_, made = kept
        assert weights.data is not None and bias.data is not None
        biases = bias.data.astype(np.int64)
        if given[0] is not None:
            biases += self._shares(inputs) @ np.where(read, 0, given[0].low - self.zero_point)
        limits = np.iinfo(str(bias.dtype))
        if (biases[made] < limits.min).any() or (biases[made] > limits.max).any():
            return None
        data = read_only(np.ascontiguousarray(self.cut(weights.data, read, made)))
        quant = weights.quant
        if quant is not None and quant.scale.size > 1:
            quant = quant.of_channels(made)
        return (
            dataclasses.replace(self, requant=self.requant.of_channels(made)),
            (
                x.cut(read),
                dataclasses.replace(weights, shape=data.shape, data=data, quant=quant),
                dataclasses.replace(bias, data=read_only(biases.astype(bias.dtype))).cut(made),
            ),
        )

    def _shares(self, inputs: Sequence[Tensor]) -> IntArray:
        """What each sum gets of each input channel that is 1: (output channels, input channels).

        Where not all sums are over the same taps, it is that of some.
        """
        x, weights, _ = inputs
        assert weights.data is not None
        rows, columns = (found[0] for found in self.tap_sets(x.shape))
        inside = rows[:, np.newaxis] & columns
        taps = weights.data.astype(np.int64) - self.weight_zero_point
        return np.asarray(self.by_channel(taps * inside[..., np.newaxis] if taps.ndim > 2 else taps, x.shape))

    def reach(self, inputs: Sequence[Tensor]) -> tuple[IntArray, IntArray]:
        """The least and the greatest accumulator of each channel, zero points and bias included, for any input."""
        return _reach(self, tuple(inputs))

    def _sums(self, inputs: Sequence[Tensor]) -> tuple[Array, Array, int, int]:
        _, weights, bias = inputs
        assert weights.data is not None and bias.data is not None
        return self._rows(weights.data), bias.data, self.zero_point, self.weight_zero_point

    def folded_bias(self, weights: Array, bias: Array) -> IntArray:
        """The bias of sums over all taps that leave the input's zero point out: sum x * w + folded."""
        sums = (self._rows(weights).astype(np.int64) - self.weight_zero_point).sum(axis=1)
        return np.asarray(bias.astype(np.int64) - self.zero_point * sums)

    def _rows(self, weights: Array) -> Array:
        """(channels, taps)."""
        return np.moveaxis(weights, self.filter_axis, 0).reshape(weights.shape[self.filter_axis], -1)

    def finished(self, acc: IntArray, dtype: np.dtype[np.generic]) -> Array:
        """Accumulators (..., channels) to outputs."""
        return np.clip(self.requant.apply(acc) + self.output_zero_point, *self.clamp).astype(dtype)


@lru_cache(maxsize=128)
def _reach(op: Weighted, inputs: tuple[Tensor, ...]) -> tuple[IntArray, IntArray]:
    """Every kernel asks for it, of the same few layers; tensors are the same if they are one object."""
    x = inputs[0]
    acc = op.accumulators(inputs, Interval.full(x.dtype, x.shape) if x.data is None else Interval.of(x.data))
    return read_only(acc.low), read_only(acc.high)


def extreme_sums(
    centred: Array, low: Array, high: Array, sets: tuple[BoolArray, BoolArray], by_tap: Callable[[Array, Array], Array]
) -> Interval:
    """What sums of products lie in, for weights less their zero point and values of each channel from low to high.

    The sums are over any of the sets of rows, and of columns, of taps. Float64 holds them exactly.
    """
    rising = np.maximum(centred.astype(np.float64), 0)
    falling = centred - rising
    low, high = low.astype(np.float64), high.astype(np.float64)
    ends = by_tap(rising, low) + by_tap(falling, high), by_tap(rising, high) + by_tap(falling, low)
    rows, columns = (found.astype(np.float64) for found in sets)
    sums = [np.einsum("rk,cl,klo->rco", rows, columns, taps, optimize=True).astype(np.int64) for taps in ends]
    return Interval(sums[0].min((0, 1)), sums[1].max((0, 1)))


@dataclass(frozen=True)
class Weights:
    """How a template reads a weight: an element, or half a byte of a packed array, less a zero point."""

    packed: bool
    zero_point: int


def weighted_body(
    site: Site, values: Mapping[str, object], biases: Mapping[str, IntArray], helpers: frozenset[str] = frozenset()
) -> Body:
    """The body of a kernel: its own values, and what all kernels of weighted layers need."""
    op: Weighted = site.op
    _, weights, _ = site.inputs
    assert weights.data is not None
    bound = op.bound(site.inputs)
    acc_dtype = INT32 if bound.max() <= INT32_MAX else INT64
    proved = _proved(site, bound)
    if proved is None:
        final, constants, needed = common.finish(
            op.requant, op.output_zero_point, op.clamp, site.outputs[0].dtype, bound
        )
    else:
        final, constants, needed = proved.finish, proved.constants, proved.helpers
        biases = {name: bias + proved.bias for name, bias in biases.items()}
    return Body(
        values={
            "zero_point": op.zero_point,
            "weights": Weights(weights.packed, op.weight_zero_point),
            "acc_type": C_TYPES[str(acc_dtype)],
            "finish": final,
            **values,
        },
        constants={
            "weights": packed(weights.data) if weights.packed else weights.data,
            **{name: _narrowest(bias) for name, bias in biases.items()},
            **constants,
        },
        helpers=helpers | needed | ({"int4"} if weights.packed else frozenset()),
        proof="" if proved is None else proved.proof,
    )


def _proved(site: Site, bound: IntArray) -> ProvedFinish | None:
    """A cheaper requantising step, for int8 and sums of 32 bits."""
    op: Weighted = site.op
    if site.outputs[0].dtype != INT8 or bound.max() > INT32_MAX:
        return None
    low, high = op.reach(site.inputs)
    return proved_finish(op.requant, op.output_zero_point, op.clamp, low, high, bound, site.objective, site.features)


def _narrowest(bias: IntArray) -> Array:
    """int32 where all values fit, which is half the flash of int64."""
    return bias.astype(np.int32 if np.abs(bias).max() <= INT32_MAX else np.int64)
