"""Functions of two int8 tensors that ONNX Runtime computes in float32, between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygen.c_text import float_literal
from tinygen.fixedpoint import IntArray
from tinygen.float32 import FloatArray, dequantize, quantize
from tinygen.interval import Interval
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import ONNX, Case
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.curve import CODES, FLOAT_TO_INT8
from tinygen.ops.operand_cases import operand_case, random_operand_case
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.proved_pairs import plane_kernel
from tinygen.ops.real_scales import LARGEST_QUOTIENT
from tinygen.ops.traits import Elementwise
from tinygen.ops.work import Rates


class _Function(NamedTuple):
    """A function that rises or falls all the way along each operand, but quotients where the divisor can be zero."""

    compute: Callable[[FloatArray, FloatArray], Any]
    c: str
    """The expression of a and b."""
    signs: tuple[int, int] | None = None
    """Of the operands, where it is a sum."""


FUNCTIONS: Mapping[str, _Function] = {
    "Add": _Function(np.add, "a + b", (1, 1)),
    "Sub": _Function(np.subtract, "a - b", (1, -1)),
    "Mul": _Function(np.multiply, "a * b"),
    "Div": _Function(np.divide, "a / b"),
}
"""By their names in ONNX."""


@dataclass(frozen=True)
class FloatPair(Elementwise):
    """y = clamp(rint(f(a, b) / output_scale) + output_zero_point), a and b dequantised, all in float32.

    Both inputs int8, of shapes that broadcast.
    """

    name: ClassVar[str] = "FLOAT_PAIR"
    function: str
    """One of FUNCTIONS"""
    a_scale: float
    a_zero_point: int
    b_scale: float
    b_zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp

    @property
    def rounding(self) -> str:
        """That of ``QuantizeLinear``."""
        return FLOAT_TO_INT8

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and shapes."""
        a, b = inputs
        yield from operand_problems(a, b, INT8)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The results of all pairs of ends; of quotients whose divisor may be zero or not, anything."""
        (y,) = self.output_types(inputs)
        a, b = given
        can_be_zero = (b.low <= self.b_zero_point) & (b.high >= self.b_zero_point) & ~b.is_constant
        if self.function == "Div" and np.any(can_be_zero):
            return (Interval.full(y.dtype, y.shape).clipped(*self.clamp),)
        pairs = itertools.product((a.low, a.high), (b.low, b.high))
        return (Interval.around([self._of(*pair) for pair in pairs], y.shape[-1:]),)

    @property
    def gains(self) -> tuple[float, float] | None:
        """The scales' ratios, of sums."""
        signs = FUNCTIONS[self.function].signs
        scales = (self.a_scale, self.b_scale)
        return (
            None
            if signs is None
            else (signs[0] * scales[0] / self.output_scale, signs[1] * scales[1] / self.output_scale)
        )

    def reals(self) -> tuple[FloatArray, FloatArray]:
        """(256,) each: what the operands' int8 values stand for, from -128 on."""
        return (
            dequantize(CODES, self.a_scale, self.a_zero_point),
            dequantize(CODES, self.b_scale, self.b_zero_point),
        )

    def _of(self, a: IntArray, b: IntArray) -> IntArray:
        of_a, of_b = self.reals()
        with np.errstate(divide="ignore", invalid="ignore"):
            results = FUNCTIONS[self.function].compute(of_a[a + 128], of_b[b + 128])
        return quantize(results, self.output_scale, self.output_zero_point, *self.clamp)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In float32."""
        a, b = (x.astype(np.int64) for x in inputs)
        return (self._of(a, b).astype(inputs[0].dtype),)

    def describe(self) -> str:
        """The function."""
        return self.function


def _prepare(site: Site) -> Body:
    op: FloatPair = site.op
    a, b = site.inputs
    of_a, of_b = op.reals()
    largest = [float(np.abs(values).max()) for values in (of_a, of_b)]
    most = max(sum(largest), largest[0] * largest[1]) / op.output_scale
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "expression": FUNCTIONS[op.function].c,
            "scale": float_literal(op.output_scale),
            "zero_point": op.output_zero_point,
            "can_be_far": op.function == "Div" or most > LARGEST_QUOTIENT,
            "low": op.clamp[0],
            "high": op.clamp[1],
        },
        constants={"of_a": of_a, "of_b": of_b},
        helpers=frozenset({"clamp", "round_float"}),
    )


KERNELS = (
    plane_kernel(FloatPair),
    Kernel(
        "float_pair.direct",
        FloatPair,
        _prepare,
        work=Rates(112, output=24, in_float=True),
        parameters=("a", "b"),
        overlaps=by_broadcast,
    ),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("Sub", "sub", (1, 4, 3, 5), (1, 4, 3, 5)),
        _case("Sub", "sub_scalar", (1, 4, 3, 5), ()),
        _case("Sub", "sub_both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        _case("Sub", "sub_uint8", (1, 19, 19), (1, 19, 19), dtype="uint8", zero_points=(3, 250, 100), constant=True),
        _case("Sub", "sub_ties", (1, 40, 40), (1, 40, 40), a_scale=0.05, b_scale=0.1, output_scale=0.1),
        _case("Sub", "sub_far", (1, 33), (1, 33), output_scale=1e-9),
        _case("Div", "div", (1, 40, 40), (1, 40, 40), output_scale=0.1),
        _case("Div", "div_broadcast", (1, 4, 3, 5), (5,), zero_points=(0, -128, 3)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random function."""
    dtype = str(rng.choice(["int8", "uint8"]))
    return random_operand_case(rng, str(rng.choice(["Sub", "Div"])), dtype=dtype, suffix=ONNX)


def _case(op: str, name: str, a: Shape, b: Shape, **arguments: Any) -> Case:
    return operand_case(op, name, a, b, suffix=ONNX, **arguments)
