"""MAXIMUM and MINIMUM of two tensors, with broadcasting. Inputs and output share scale and zero point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32
from tinygen.ops.operand_cases import operand_case, random_shapes
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.traits import Elementwise, Increasing
from tinygen.ops.work import elementwise_work


@dataclass(frozen=True)
class _Extremum(Increasing, Elementwise):
    comparison: ClassVar[str]

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and shapes."""
        a, b = inputs
        yield from operand_problems(a, b, INT8, INT16, INT32, FLOAT32)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)


@dataclass(frozen=True)
class Maximum(_Extremum):
    """y = the larger of a and b, on raw values; b where they do not compare. All of one type."""

    name: ClassVar[str] = "MAXIMUM"
    comparison: ClassVar[str] = ">"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Raw values."""
        a, b = inputs
        return (np.where(a > b, a, b),)


@dataclass(frozen=True)
class Minimum(_Extremum):
    """y = the smaller of a and b, on raw values; b where they do not compare. All of one type."""

    name: ClassVar[str] = "MINIMUM"
    comparison: ClassVar[str] = "<"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Raw values."""
        a, b = inputs
        return (np.where(a < b, a, b),)


def _prepare(site: Site) -> Body:
    op: Maximum | Minimum = site.op
    a, b = site.inputs
    values = {"function": "larger" if op.name == "MAXIMUM" else "smaller", "comparison": op.comparison}
    return Body({**broadcast_values(a.shape, b.shape), **values})


KERNELS = (
    Kernel("maximum.direct", Maximum, _prepare, parameters=("a", "b"), work=elementwise_work, overlaps=by_broadcast),
    Kernel("minimum.direct", Minimum, _prepare, parameters=("a", "b"), work=elementwise_work, overlaps=by_broadcast),
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
        *(
            _case(f"{op.lower()}_{dtype}{suffix}", op, (1, 4, 1, 5), (1, 1, 3, 1), dtype=dtype, scale=scale)
            for op in ("MAXIMUM", "MINIMUM")
            for dtype, suffix, scale in (
                ("int8", "_no_scale", None),
                ("int16", "", 0.031),
                ("int32", "", 0.031),
                ("int32", "_no_scale", None),
                ("float32", "", None),
            )
        ),
        _case("maximum_int16_constant", "MAXIMUM", (1, 4, 3, 5), (5,), constant=True, dtype="int16"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random maximum or minimum."""
    a, b = random_shapes(rng)
    op, dtype = str(rng.choice(["MAXIMUM", "MINIMUM"])), str(rng.choice(["int8", "int16", "int32"]))
    return _case(f"random_{rng.integers(1 << 30)}", op, a, b, dtype=dtype)


def _case(
    name: str,
    op: str,
    a: Shape,
    b: Shape,
    *,
    constant: bool = False,
    dtype: str = "int8",
    scale: float | None = 0.031,
) -> Case:
    return operand_case(
        op,
        name,
        a,
        b,
        activation=None,
        a_scale=scale,
        b_scale=scale,
        output_scale=scale,
        zero_points=(-3, -3, -3),
        constant=constant,
        dtype=dtype,
    )
