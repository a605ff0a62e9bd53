"""What all layers share that multiply their input by constant weights: attributes, checks, and the kernels' frame."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import C_TYPES
from tinygen.fixedpoint import INT32_MAX, IntArray, RealRequant, Requant
from tinygen.ir import Array, Op, Tensor, packed
from tinygen.kernel import Body, Site
from tinygen.ops import common
from tinygen.ops.common import INT8, INT32, INT64, Clamp
from tinygen.ops.proved_finish import ProvedFinish, proved_finish


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
    requant: Requant | RealRequant
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

    def reach(self, inputs: Sequence[Tensor]) -> tuple[IntArray, IntArray]:
        """The least and the greatest accumulator of each channel, for any input."""
        return common.accumulator_range(*self._sums(inputs), common.full_range(inputs[0].dtype))

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
    return proved_finish(op.requant, op.output_zero_point, op.clamp, low, high, bound, site.objective)


def _narrowest(bias: IntArray) -> Array:
    """int32 where all values fit, which is half the flash of int64."""
    return bias.astype(np.int32 if np.abs(bias).max() <= INT32_MAX else np.int64)
