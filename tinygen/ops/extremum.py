"""MAXIMUM and MINIMUM of two tensors, with broadcasting. Inputs and output share scale and zero point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case
from tinygen.ops.common import INT8
from tinygen.ops.operand_cases import operand_case, random_shapes


@dataclass(frozen=True)
class _Extremum(Op):
    comparison: ClassVar[str]

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and shapes."""
        a, b = inputs
        yield from operand_problems(a, b)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, INT8),)


@dataclass(frozen=True)
class Maximum(_Extremum):
    """y = the larger of a and b, on raw values."""

    name: ClassVar[str] = "MAXIMUM"
    comparison: ClassVar[str] = ">"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Raw values."""
        a, b = inputs
        return (np.maximum(a, b),)


@dataclass(frozen=True)
class Minimum(_Extremum):
    """y = the smaller of a and b, on raw values."""

    name: ClassVar[str] = "MINIMUM"
    comparison: ClassVar[str] = "<"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Raw values."""
        a, b = inputs
        return (np.minimum(a, b),)


def _prepare(site: Site) -> Body:
    op: Maximum | Minimum = site.op
    a, b = site.inputs
    values = {"function": "larger" if op.name == "MAXIMUM" else "smaller", "comparison": op.comparison}
    return Body({**broadcast_values(a.shape, b.shape), **values})


KERNELS = (
    Kernel("maximum.direct", Maximum, _prepare, parameters=("a", "b")),
    Kernel("minimum.direct", Minimum, _prepare, parameters=("a", "b")),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("maximum", "MAXIMUM", (1, 4, 3, 5), (1, 4, 3, 5)),
        _case("maximum_both_broadcast", "MAXIMUM", (1, 4, 1, 5), (1, 1, 3, 1)),
        _case("maximum_constant", "MAXIMUM", (1, 4, 3, 5), (5,), constant=True),
        _case("minimum", "MINIMUM", (1, 4, 3, 5), (1, 4, 3, 5)),
        _case("minimum_scalar", "MINIMUM", (1, 4, 3, 5), ()),
        _case("minimum_first_is_smaller", "MINIMUM", (1, 1, 1, 5), (1, 4, 3, 5)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random maximum or minimum."""
    a, b = random_shapes(rng)
    return _case(f"random_{rng.integers(1 << 30)}", str(rng.choice(["MAXIMUM", "MINIMUM"])), a, b)


def _case(name: str, op: str, a: Shape, b: Shape, *, constant: bool = False) -> Case:
    scales = {"a_scale": 0.031, "b_scale": 0.031, "output_scale": 0.031}
    return operand_case(op, name, a, b, activation=None, zero_points=(-3, -3, -3), constant=constant, **scales)
