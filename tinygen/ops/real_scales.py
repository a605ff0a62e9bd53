"""What operators share that compute in float32 on what int8 values stand for: the real values, and their limits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from tinygen.float32 import FloatArray, dequantize
from tinygen.interval import Interval
from tinygen.ir import Array, Op, Tensor
from tinygen.ops import common
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.curve import CODES

LARGEST_QUOTIENT = 2.0**30
"""Of real values and the output's scale, so that it is rounded to an int32."""


class RealInput(Op):
    """An operator whose input's values stand for real ones: multiples of a scale, or a function of these."""

    scale: float
    zero_point: int
    curve: tuple[float, ...] = ()
    """(256,): what the values stand for, from -128 on, where they are a function's results; else empty."""

    def reals(self) -> FloatArray:
        """(256,): what the input's values stand for, from -128 on."""
        if self.curve:
            return np.array(self.curve, np.float32)
        return dequantize(CODES, self.scale, self.zero_point)

    def real_values(self, x: Array) -> FloatArray:
        """What an input stands for; one of float32 for itself."""
        return np.asarray(x if x.dtype == FLOAT32 else self.reals()[x.astype(np.int64) + 128])


class Averaging(RealInput):
    """One that reads images of int8, and whose results are means of real values, or sums."""

    input_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (INT8,)

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype and rank."""
        yield from common.expect_dtype(inputs[0], "input", *self.input_dtypes)
        yield from common.expect_rank(inputs[0], "input", 4)

    @abstractmethod
    def means(self, x: Array) -> FloatArray:
        """In float32, before they are rounded."""


class RealResults(Averaging):
    """The same where nothing quantises them; the values can be float32 as well."""

    input_dtypes = (INT8, FLOAT32)

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The means."""
        (x,) = inputs
        return (self.means(x),)


class RealScales(RealInput):
    """The same with results of int8 that do not fall when a real value rises."""

    output_scale: float

    def scale_problems(self, terms: int = 1) -> Iterator[str]:
        """Scales for which quotients of so many real values in a sum would not fit."""
        largest = float(np.abs(self.reals()).max()) * terms
        if not largest < LARGEST_QUOTIENT * self.output_scale:
            yield f"its values up to {largest:g} and the output's scale {self.output_scale:g} are too far apart"

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """Between the results of the lowest and of the highest real values."""
        (x,), (interval,), reals = inputs, given, self.reals()

        def filled(extreme: Callable[[FloatArray], np.intp]) -> Array:
            ends = np.stack([interval.low, interval.high], axis=-1).reshape(-1, 2)
            codes = [low + int(extreme(reals[low + 128 : high + 129])) for low, high in ends]
            return np.broadcast_to(np.array(codes, x.dtype).reshape(interval.low.shape), x.shape).copy()

        (low,), (high,) = (self.reference(filled(extreme)) for extreme in (np.argmin, np.argmax))
        return (Interval.between(low, high),)
