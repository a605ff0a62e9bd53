"""SOFTMAX over the last dimension, int8 to int8 or int16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import IntArray
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, full_range
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Rowwise
from tinygen.ops.work import Rates

DIFFERENCE_INTEGER_BITS = 5  # of the scaled difference, Q5.26
SUM_INTEGER_BITS = 12  # of the sum of exponentials, Q12.19
SUM_HALF = 1 << SUM_INTEGER_BITS - 1  # of what a step of the sum is in exponentials
_LONGEST_ROW = 2**SUM_INTEGER_BITS - 1


@dataclass(frozen=True)
class RowExponentials(Rowwise):
    """What works with exp(x - max) of rows of int8 values, in gemmlowp's fixed point.

    A difference d = x - max counts as exp(d * multiplier * 2**(left_shift - 31) in Q5.26); below `smallest_difference`
    it counts as zero.
    """

    multiplier: int
    left_shift: int
    smallest_difference: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the length that the sum's fixed point holds."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8)
        if not x.shape:
            yield "the input is a scalar"
        elif x.shape[-1] > _LONGEST_ROW:
            yield f"rows of {x.shape[-1]} overflow the sum, the limit is {_LONGEST_ROW}"

    def scaled_differences(self) -> IntArray:
        """-d in Q5.26 for d = 0, 1, … as far as a difference of int8 values reaches or counts."""
        differences = -np.arange(min(255, -self.smallest_difference) + 1, dtype=np.int64)
        return fixedpoint.saturating_rounding_doubling_high_mul(differences << self.left_shift, self.multiplier)

    def exponentials(self) -> Array:
        """exp(-d) in Q0.31, int32, of the same d."""
        return fixedpoint.exp_on_negative_values(self.scaled_differences(), DIFFERENCE_INTEGER_BITS).astype(np.int32)


@dataclass(frozen=True)
class Softmax(RowExponentials):
    """exp(x - max) / sum, in gemmlowp's fixed point; int8, or int16 if `dtype` says so.

    The output's scale is 1/256 or 1/65536 and its zero point the lowest value, so that its range stands for 0 to 1.
    """

    name: ClassVar[str] = "SOFTMAX"
    dtype: np.dtype[np.generic] = INT8

    @property
    def rounding(self) -> str:
        """Exponentials in Q5.26, as gemmlowp has them."""
        return "fixed-point exponentials"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The input's shape."""
        return (TensorType(inputs[0].shape, self.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers, by the table of exponentials."""
        (x,) = inputs
        rows = x.reshape(-1, x.shape[-1]).astype(np.int64)
        table = np.zeros(256, np.int64)
        exponentials = self.exponentials()
        table[: len(exponentials)] = exponentials
        counts = np.arange(256) < len(exponentials)
        difference = rows.max(axis=1, keepdims=True) - rows
        exp = table[difference]
        total = fixedpoint.rounding_divide_by_pot(exp, SUM_INTEGER_BITS).sum(axis=1, keepdims=True)
        headroom = np.array([[32 - int(value).bit_length()] for value in total[:, 0]], np.int64)
        reciprocal = fixedpoint.one_over_one_plus_x_for_x_in_0_1((total << headroom) - 2**31)
        product = fixedpoint.saturating_rounding_doubling_high_mul(reciprocal, exp)
        low, high = full_range(self.dtype)
        exponent = SUM_INTEGER_BITS - headroom + 31 - 8 * self.dtype.itemsize
        y = fixedpoint.rounding_divide_by_pot(product, exponent) + low
        y = np.where(counts[difference], np.clip(y, low, high), low)
        return (y.astype(self.dtype).reshape(x.shape),)


def _prepare(site: Site) -> Body:
    op: Softmax = site.op
    (x,) = site.inputs
    table = op.exponentials()
    # Smaller ones add nothing to the sum, nor do they reach an output above the lowest.
    table = table[: int(np.flatnonzero(table >= SUM_HALF).max()) + 1]
    low, high = full_range(op.dtype)
    return Body(
        values={
            "rows": x.elements // x.shape[-1],
            "depth": x.shape[-1],
            "entries": len(table),
            "sum_integer_bits": SUM_INTEGER_BITS,
            "sum_half": SUM_HALF,
            "y_bits": 8 * op.dtype.itemsize,
            "span": high - low,
            "low": low,
            "high": high,
            # Only with hundreds of equal maxima is the final shift of an int8 beyond the width of int32.
            "can_vanish": op.dtype == INT8 and x.shape[-1] >= 2 ** (SUM_INTEGER_BITS - 3),
        },
        constants={"exp": table},
        helpers=frozenset({"high_mul", "reciprocal"}),
    )


KERNELS = (Kernel("softmax.direct", Softmax, _prepare, work=Rates(320, output=50), overlaps=side_by_side),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("ten_classes", (1, 10), 0.1),
        _case("one_class", (1, 1), 0.1),
        _case("two_classes", (1, 2), 0.004),
        _case("rows", (3, 7), 0.05),
        _case("image", (1, 2, 3, 4), 0.05),
        _case("steep", (1, 10), 12.0),
        _case("flat", (1, 10), 1e-5),
        _case("beta", (1, 10), 0.1, beta=0.5),
        _case("long", (1, 600), 0.02),
        _case("very_long", (1, 1500), 0.02),
        _case("to_int16", (3, 10), 0.1, output=INT16),
        _case("to_int16_one_class", (1, 1), 0.1, output=INT16),
        _case("to_int16_steep", (3, 10), 12.0, output=INT16),
        _case("to_int16_flat", (1, 10), 1e-5, output=INT16),
        _case("to_int16_beta", (3, 10), 0.1, beta=2.0, output=INT16),
        _case("to_int16_long", (1, 1500), 0.02, output=INT16),
        _case("to_int16_65535", (1, 2), 0.07, output=INT16, steps=65535),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random softmax."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 40)))
    scale = float(np.exp(rng.uniform(np.log(1e-3), np.log(2.0))))
    return _case(f"random_{rng.integers(1 << 30)}", shape, scale, output=(INT8, INT16)[int(rng.integers(2))])


def _case(
    name: str,
    shape: Shape,
    scale: float,
    beta: float = 1.0,
    output: np.dtype[np.generic] = INT8,
    steps: int | None = None,
) -> Case:
    low, high = full_range(output)
    aborts = output == INT8 and shape[-1] >= 512
    return Case(
        name,
        "SOFTMAX",
        (CaseTensor(shape, scale=scale, zero_point=4),),
        (CaseTensor(shape, str(output), 1 / (steps or high - low + 1), low),),
        {"beta": beta},
        no_flat_inputs="it aborts when the sum of exponentials reaches 512" if aborts else "",
    )
