"""DIV of two int8 tensors, with broadcasting."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.operand_cases import random_shapes
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.traits import Elementwise
from tinygen.ops.work import Rates

# Dividends are shifted left by 23 (255) to 31 (-1), divisors have up to 7 bits beyond the first: with a shift within
# these, what is left to shift right is 0 to 31.
_SHIFTS = (7, 23)
_MOST_DIMENSIONS = 5


@dataclass(frozen=True)
class Div(Elementwise):
    """y = clamp((a - a_zero_point) / (b - b_zero_point) * multiplier * 2**(shift - 31) + output_zero_point), int8.

    A divisor of zero, for which the runtime's result is undefined, counts as one step of b. The reciprocal is that of
    gemmlowp. Source: ``reference/div.h``.
    """

    name: ClassVar[str] = "DIV"
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and scales within what the runtime defines."""
        a, b = inputs
        yield from operand_problems(a, b, INT8)
        if max(len(a.shape), len(b.shape)) > _MOST_DIMENSIONS:
            yield f"the inputs {a.shape} and {b.shape} have more than {_MOST_DIMENSIONS} dimensions"
        low, high = _SHIFTS
        if not low <= self.shift <= high:
            yield (
                f"the output's scale is too {'coarse' if self.shift < low else 'fine'} for the inputs': one step of a "
                f"divided by one of b is about 2**{self.shift} steps, the runtime defines 2**{low} to 2**{high}"
            )

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """What the clamp leaves."""
        (y,) = super().intervals(inputs, given)
        return (y.clipped(*self.clamp),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        high_mul = fixedpoint.saturating_rounding_doubling_high_mul
        a = inputs[0].astype(np.int64) - self.a_zero_point
        b = inputs[1].astype(np.int64) - self.b_zero_point
        dividend, divisor = np.broadcast_arrays(np.where(b < 0, -1, 1) * a, np.maximum(np.abs(b), 1))
        bits = _bits(divisor) - 1
        reciprocal = fixedpoint.one_over_one_plus_x_for_x_in_0_1((divisor << (31 - bits)) - (1 << 31))
        # The sign bit fits what a negative power of two needs less.
        headroom = 31 - np.where(dividend < 0, _bits(-dividend - 1), _bits(dividend))
        quotient = high_mul(high_mul(dividend << headroom, reciprocal), self.multiplier)
        exponent = np.clip(headroom + bits - self.shift, 0, 31)  # beyond only for a dividend of 0
        y = fixedpoint.rounding_divide_by_pot(quotient, exponent) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(np.int8),)


def _bits(value: IntArray) -> IntArray:
    """Of a number that is not negative, without leading zeros."""
    return np.frexp(np.maximum(value, 0).astype(np.float64))[1].astype(np.int64)


def _prepare(site: Site) -> Body:
    op: Div = site.op
    a, b = site.inputs
    values = {
        **broadcast_values(a.shape, b.shape),
        "a_zero_point": op.a_zero_point,
        "b_zero_point": op.b_zero_point,
        "output_zero_point": op.output_zero_point,
        "multiplier": op.multiplier,
        "shift": op.shift,
        "zero": min(max(op.output_zero_point, op.clamp[0]), op.clamp[1]),
        "low": op.clamp[0],
        "high": op.clamp[1],
    }
    return Body(values, helpers=frozenset({"clamp", "high_mul", "divide_by_pot", "reciprocal"}))


KERNELS = (
    Kernel("div.direct", Div, _prepare, work=Rates(356, output=290), parameters=("a", "b"), overlaps=by_broadcast),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models. Divisors of zero are not among the inputs."""
    return (
        _case("positive", (1, 400), (1, 400)),
        _case("scalar", (1, 4, 3, 5), ()),
        _case("per_channel", (1, 4, 3, 5), (5,), constant=True),
        _case("both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        _case("of_a_scalar", (), (1, 400)),
        _case("negative_divisors", (1, 400), (1, 400), constant=True, zero_points=(-3, 127, 5)),
        _case("divisors_of_both_signs", (1, 400), (1, 400), constant=True, zero_points=(127, -3, -128)),
        _case("negative_dividends", (1, 400), (1, 400), zero_points=(127, -128, 0)),
        _case("relu6", (1, 400), (1, 400), activation="RELU6"),
        _case("fine_output", (1, 400), (1, 400), output_scale=2e-7),
        _case("coarse_output", (1, 400), (1, 400), output_scale=0.0093),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random quotient."""
    a, b = random_shapes(rng)
    constant = bool(rng.random() < 0.5)
    zeros = [int(zero) for zero in rng.integers(-128, 128, 3)]
    return _case(
        f"random_{rng.integers(1 << 30)}",
        a,
        b,
        constant=constant,
        zero_points=(zeros[0], zeros[1] if constant else -128, zeros[2]),
        activation=str(rng.choice(["NONE", "RELU", "RELU6"])),
        output_scale=float(np.exp(rng.uniform(np.log(1e-5), np.log(0.009)))),
    )


def _case(
    name: str,
    a: Shape,
    b: Shape,
    *,
    constant: bool = False,
    zero_points: tuple[int, int, int] = (-3, -128, 5),
    activation: str = "NONE",
    output_scale: float = 0.003,
) -> Case:
    data = None
    if constant:
        data = np.random.default_rng(zlib.crc32(name.encode())).integers(-128, 127, b).astype(np.int8)
        data = np.asarray(np.where(data == zero_points[1], np.int8(zero_points[1] ^ 1), data), np.int8)
    return Case(
        name,
        "DIV",
        (
            CaseTensor(a, scale=0.05, zero_point=zero_points[0]),
            CaseTensor(b, scale=0.05, zero_point=zero_points[1], data=data),
        ),
        (CaseTensor(np.broadcast_shapes(a, b), scale=output_scale, zero_point=zero_points[2]),),
        {"fused_activation_function": activation},
        lowest_input=None if constant else -127,
    )
