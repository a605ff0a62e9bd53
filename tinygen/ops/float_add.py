"""The sum of two int8 tensors as ONNX Runtime adds them: by two fused multiply-adds in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygen.c_text import float_literal
from tinygen.fixedpoint import IntArray
from tinygen.float32 import FloatArray, fused_multiply_add
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import ONNX, Case
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.operand_cases import operand_case, random_operand_case
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.proved_pairs import plane_kernel
from tinygen.ops.traits import Elementwise, Increasing
from tinygen.ops.work import Rates

_LARGEST_SUM = 2**62


class Exact(NamedTuple):
    """What the fused multiply-adds work with, as integers: in units of 2**-bits, nothing is lost."""

    bits: int
    factor: int
    """Of a's codes"""
    table: IntArray
    """(256,): what each value of b contributes, with the output's zero point"""


@dataclass(frozen=True)
class FloatAdd(Increasing, Elementwise):
    """y = clamp(rint(fma(a, ra, fma(b, rb, fix)))), by ``MlasQLinearAdd``; shapes broadcast.

    ra and rb are the operands' scales by the output's, in float32. `fix` is what their zero points and the output's
    make, rounded three times on the way. Codes are those of the runtime, which may be the unsigned ones: then `offset`
    is 128, and they are so much larger than the int8 values here.
    """

    name: ClassVar[str] = "ADD"
    a_scale: float
    a_zero_point: int
    b_scale: float
    b_zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp
    offset: int = 0

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 fused multiply-adds, ties to even"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and scales so far apart that a step of one operand is nothing beside the other."""
        a, b = inputs
        yield from operand_problems(a, b, INT8)
        exact = self.exact
        if 256 * exact.factor + int(np.abs(exact.table.astype(np.float64)).max()) > _LARGEST_SUM:
            yield f"the scales {self.a_scale:g}, {self.b_scale:g} and {self.output_scale:g} are too far apart"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    @property
    def gains(self) -> tuple[float, float]:
        """The scales' ratios, float32 values."""
        scale = np.float32(self.output_scale)
        return float(np.float32(self.a_scale) / scale), float(np.float32(self.b_scale) / scale)

    def _of_b(self, b: IntArray) -> FloatArray:
        """The inner fused multiply-add of int8 values."""
        ra, rb = (np.float32(gain) for gain in self.gains)
        zero_points = (self.a_zero_point, self.b_zero_point, self.output_zero_point)
        a_zero, b_zero, y_zero = (np.float32(zero + self.offset) for zero in zero_points)
        fix = y_zero - fused_multiply_add(ra, a_zero, rb * b_zero)
        return fused_multiply_add((b + self.offset).astype(np.float32), rb, fix)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In float32."""
        a, b = (x.astype(np.int64) for x in inputs)
        codes = (a + self.offset).astype(np.float32)
        y = np.rint(fused_multiply_add(codes, np.float32(self.gains[0]), self._of_b(b))).astype(np.float64)
        return (np.clip(y - self.offset, *self.clamp).astype(inputs[0].dtype),)

    @cached_property
    def exact(self) -> Exact:
        """The same sums in integers."""
        factor = Fraction(self.gains[0])
        table = [Fraction(value) for value in self._of_b(np.arange(-128, 128)).tolist()]
        bits = max(value.denominator for value in (factor, *table)).bit_length() - 1
        bits = min(bits, 300)  # beyond any use; what is lost is refused
        offset = factor * self.offset
        sums = [int((value + offset) * (1 << bits)) for value in table]
        held = [max(min(value, _LARGEST_SUM), -_LARGEST_SUM) for value in sums]
        return Exact(bits, int(factor * (1 << bits)), np.array(held, np.int64))


def _prepare(site: Site) -> Body:
    op: FloatAdd = site.op
    a, b = site.inputs
    exact = op.exact
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "factor": exact.factor,
            "unit": float_literal(2.0**-exact.bits),
            "bits": exact.bits,
            "offset": op.offset,
            "low": op.clamp[0],
            "high": op.clamp[1],
        },
        constants={"of_b": exact.table},
        helpers=frozenset({"clamp", "round_float"}),
    )


KERNELS = (
    plane_kernel(FloatAdd),
    Kernel(
        "float_add.direct",
        FloatAdd,
        _prepare,
        work=Rates(112, output=51, in_float=True),
        parameters=("a", "b"),
        overlaps=by_broadcast,
    ),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("same_shape", (1, 4, 3, 5), (1, 4, 3, 5)),
        _case("scalar", (1, 4, 3, 5), ()),
        _case("first_is_scalar", (1,), (1, 4, 3, 5)),
        _case("per_channel", (1, 4, 3, 5), (1, 4, 1, 1)),
        _case("first_is_per_channel", (1, 4, 1, 1), (1, 4, 3, 5)),
        _case("both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        _case("constant", (1, 4, 3, 5), (5,), constant=True),
        _case("uint8", (1, 19, 19), (1, 19, 19), dtype="uint8", zero_points=(3, 250, 100), constant=True),
        # Where sums end in ties, no line takes all steps.
        _case("ties", (1, 40, 40), (1, 40, 40), a_scale=0.05, b_scale=0.1, output_scale=0.1),
        _case(
            "ties_uint8",
            (1, 40, 40),
            (1, 40, 40),
            a_scale=0.5,
            b_scale=0.25,
            output_scale=1.0,
            dtype="uint8",
            zero_points=(0, 255, 3),
            constant=True,
        ),
        _case("far_scales", (1, 33), (1, 33), a_scale=3.0, b_scale=0.00004, output_scale=2.9),
        _case("fine_output", (1, 33), (1, 33), output_scale=0.0005),
        _case("extreme_zero_points", (1, 33), (1, 33), zero_points=(-128, 127, -128)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random sum."""
    dtype = str(rng.choice(["int8", "uint8"]))
    return random_operand_case(rng, "Add", dtype=dtype, suffix=ONNX)


def _case(name: str, a: Shape, b: Shape, **arguments: Any) -> Case:
    return operand_case("Add", name, a, b, suffix=ONNX, **arguments)
