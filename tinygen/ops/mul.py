"""MUL of two tensors, with broadcasting."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.interval import Interval
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case
from tinygen.ops.common import INT8, INT16, Clamp, differences
from tinygen.ops.operand_cases import operand_case, random_operand_case
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.traits import Elementwise
from tinygen.ops.work import elementwise_work
from tinygen.rescaling import Rescaling


@dataclass(frozen=True)
class Mul(Elementwise):
    """y = clamp(requant((a - a_zero_point) * (b - b_zero_point)) + output_zero_point).

    Both inputs int8 or both int16, of shapes that broadcast.
    """

    name: ClassVar[str] = "MUL"
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    requant: Rescaling
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and the product's bound."""
        a, b = inputs
        broken = list(operand_problems(a, b, INT8, INT16))
        yield from broken
        if not broken:
            yield from common.rescaling_problems("the product", *self.reach(a, b), self.requant)

    def reach(self, a: Tensor, b: Tensor) -> tuple[int, int]:
        """Least and largest product."""
        pairs = itertools.product(differences(a, self.a_zero_point), differences(b, self.b_zero_point))
        products = [left * right for left, right in pairs]
        return min(products), max(products)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The products of all pairs of ends."""
        (y,) = self.output_types(inputs)
        a, b = given
        results = [
            self.requant.apply((left - self.a_zero_point) * (right - self.b_zero_point)) + self.output_zero_point
            for left, right in itertools.product((a.low, a.high), (b.low, b.high))
        ]
        return (Interval.around(results, y.shape[-1:]).clipped(*self.clamp),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        a, b = (x.astype(np.int64) for x in inputs)
        y = self.requant.apply((a - self.a_zero_point) * (b - self.b_zero_point)) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(inputs[0].dtype),)


def _prepare(site: Site) -> Body:
    op: Mul = site.op
    a, b = site.inputs
    final = finish_within(op.requant, op.output_zero_point, op.clamp, a.dtype, *op.reach(a, b))
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "finish": final.finish,
        },
        helpers=final.helpers,
        proof=final.proof,
    )


KERNELS = (Kernel("mul.direct", Mul, _prepare, parameters=("a", "b"), work=elementwise_work, overlaps=by_broadcast),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        operand_case("MUL", "same_shape", (1, 4, 3, 5), (1, 4, 3, 5)),
        operand_case("MUL", "scalar", (1, 4, 3, 5), ()),
        operand_case("MUL", "per_channel", (1, 4, 3, 5), (5,)),
        operand_case("MUL", "gate", (1, 4, 3, 5), (1, 1, 1, 5)),
        operand_case("MUL", "both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        operand_case("MUL", "first_is_smaller", (1, 1, 1, 5), (1, 4, 3, 5)),
        operand_case("MUL", "constant", (1, 4, 3, 5), (5,), constant=True),
        operand_case("MUL", "relu", (1, 17), (1, 17), activation="RELU"),
        operand_case("MUL", "relu6", (1, 17), (1, 17), activation="RELU6"),
        operand_case("MUL", "fine_output", (1, 33), (1, 33), output_scale=0.0005),
        operand_case("MUL", "coarse_output", (1, 33), (1, 33), output_scale=2.0),
        operand_case("MUL", "extreme_zero_points", (1, 33), (1, 33), zero_points=(-128, 127, -128)),
        _int16_case("int16", (1, 4, 3, 41), (1, 4, 3, 41)),
        _int16_case("int16_scalar", (1, 4, 3, 5), ()),
        _int16_case("int16_constant", (1, 4, 3, 5), (5,), constant=True),
        _int16_case("int16_gate", (1, 4, 3, 5), (1, 1, 1, 5), output_scale=0.9),
        _int16_case("int16_both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        _int16_case("int16_first_is_smaller", (1, 1, 1, 5), (1, 4, 3, 5)),
        _int16_case("int16_relu6", (1, 400), (1, 400), activation="RELU6"),
        _int16_case("int16_fine_output", (1, 400), (1, 400), output_scale=0.0033),
        _int16_case("int16_coarse_output", (1, 400), (1, 400), output_scale=90.0),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random product."""
    if rng.random() < 0.5:
        return random_operand_case(rng, "MUL", output_scale=_between(rng, 0.5, 200))
    return random_operand_case(rng, "MUL", _between(rng, 2, 60_000), "int16", zero_points=False)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _int16_case(name: str, a: Shape, b: Shape, **arguments: Any) -> Case:
    return operand_case("MUL", name, a, b, dtype="int16", **{"zero_points": (0, 0, 0), **arguments})
