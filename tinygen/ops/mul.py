"""MUL of two tensors, with broadcasting."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, Clamp

_LARGEST_PRODUCT = 255 * 255


@dataclass(frozen=True)
class Mul(Op):
    """y = clamp(requant((a - a_zero_point) * (b - b_zero_point)) + output_zero_point).

    Both inputs int8, of shapes that broadcast.
    """

    name: ClassVar[str] = "MUL"
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    requant: Requant
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and the product's bound."""
        a, b = inputs
        yield from operand_problems(a, b)
        limit = int(self.requant.largest_accumulator()[0])
        if limit < _LARGEST_PRODUCT:
            yield f"the product can reach {_LARGEST_PRODUCT}, its scale leaves {limit} of int32"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        a, b = (x.astype(np.int64) for x in inputs)
        y = self.requant.apply((a - self.a_zero_point) * (b - self.b_zero_point)) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(np.int8),)


def _prepare(site: Site) -> Body:
    op: Mul = site.op
    a, b = site.inputs
    final, _, helpers = common.finish(op.requant, op.output_zero_point, op.clamp)
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "finish": final,
        },
        helpers=helpers,
    )


KERNELS = (Kernel("mul.direct", Mul, _prepare, parameters=("a", "b")),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("same_shape", (1, 4, 3, 5), (1, 4, 3, 5)),
        _case("scalar", (1, 4, 3, 5), ()),
        _case("per_channel", (1, 4, 3, 5), (5,)),
        _case("gate", (1, 4, 3, 5), (1, 1, 1, 5)),
        _case("both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        _case("first_is_smaller", (1, 1, 1, 5), (1, 4, 3, 5)),
        _case("constant", (1, 4, 3, 5), (5,), constant=True),
        _case("relu", (1, 17), (1, 17), activation="RELU"),
        _case("relu6", (1, 17), (1, 17), activation="RELU6"),
        _case("fine_output", (1, 33), (1, 33), output_scale=0.0005),
        _case("coarse_output", (1, 33), (1, 33), output_scale=2.0),
        _case("extreme_zero_points", (1, 33), (1, 33), zero_points=(-128, 127, -128)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random product."""
    scales = np.exp(rng.uniform(np.log(0.005), np.log(0.5), 2))
    shape = tuple(int(dim) for dim in rng.integers(1, 6, 4))
    other = tuple(dim if rng.random() < 0.7 else 1 for dim in shape)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        shape,
        other,
        activation=str(rng.choice(["NONE", "RELU", "RELU6"])),
        a_scale=float(scales[0]),
        b_scale=float(scales[1]),
        output_scale=float(np.prod(scales) * np.exp(rng.uniform(np.log(0.5), np.log(200)))),
        zero_points=tuple(int(z) for z in rng.integers(-128, 128, 3)),
    )


def _case(
    name: str,
    a: Shape,
    b: Shape,
    *,
    activation: str = "NONE",
    a_scale: float = 0.031,
    b_scale: float = 0.052,
    output_scale: float = 0.071,
    zero_points: tuple[int, ...] = (-3, 12, 5),
    constant: bool = False,
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    data = rng.integers(-128, 127, b, np.int8, endpoint=True) if constant else None
    return Case(
        name,
        "MUL",
        (
            CaseTensor(a, scale=a_scale, zero_point=zero_points[0]),
            CaseTensor(b, scale=b_scale, zero_point=zero_points[1], data=data),
        ),
        (CaseTensor(np.broadcast_shapes(a, b), scale=output_scale, zero_point=zero_points[2]),),
        {"fused_activation_function": activation},
    )
