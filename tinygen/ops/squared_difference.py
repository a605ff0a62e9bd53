"""SQUARED_DIFFERENCE of two tensors of different scales, with broadcasting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case
from tinygen.ops.common import INT8, INT16, differences, full_range
from tinygen.ops.operand_cases import operand_case, random_shapes


@dataclass(frozen=True)
class SquaredDifference(Op):
    """y = clamp(requant((a_requant((a - a_zero_point) << left_shift) - b_requant(…)) ** 2) + output_zero_point).

    Both inputs int8 or both int16, of shapes that broadcast; both are brought to twice the larger scale first. Source:
    TensorFlow Lite Micro's ``squared_difference.cc``.
    """

    name: ClassVar[str] = "SQUARED_DIFFERENCE"
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    left_shift: int
    a_requant: Requant
    b_requant: Requant
    requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and the square's bound."""
        a, b = inputs
        broken = list(operand_problems(a, b, INT8, INT16))
        yield from broken
        if not broken:
            # Rescaling at least halves each side.
            widest = max(map(abs, (*differences(a, self.a_zero_point), *differences(b, self.b_zero_point))))
            yield from common.rescaling_problems("the square", 0, (widest << self.left_shift) ** 2, self.requant)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        a, b = (x.astype(np.int64) for x in inputs)
        scaled_a = self.a_requant.apply((a - self.a_zero_point) << self.left_shift)
        scaled_b = self.b_requant.apply((b - self.b_zero_point) << self.left_shift)
        y = self.requant.apply((scaled_a - scaled_b) ** 2) + self.output_zero_point
        return (np.clip(y, *full_range(inputs[0].dtype)).astype(inputs[0].dtype),)


def _prepare(site: Site) -> Body:
    op: SquaredDifference = site.op
    a, b = site.inputs
    limits = full_range(a.dtype)
    final, _, helpers = common.finish(op.requant, op.output_zero_point, limits, a.dtype)
    a_final, _, a_helpers = common.finish(op.a_requant, 0, limits)
    b_final, _, b_helpers = common.finish(op.b_requant, 0, limits)
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "factor": 1 << op.left_shift,
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "a_finish": a_final,
            "b_finish": b_final,
            "finish": final,
        },
        helpers=helpers | a_helpers | b_helpers,
    )


KERNELS = (Kernel("squared_difference.direct", SquaredDifference, _prepare, parameters=("a", "b")),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    image = (1, 4, 3, 5)
    return (
        _case("same_shape", image, image),
        _case("scalar", image, ()),
        _case("per_channel", image, (5,)),
        _case("both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        _case("first_is_smaller", (5,), image),
        _case("constant", image, (1, 1, 1, 5), constant=True),
        _case("fine_output", (1, 40), (1, 40), output_scale=0.0002),
        _case("coarse_output", (1, 40), (1, 40), output_scale=4.0),
        _case("far_scales", (1, 40), (1, 40), a_scale=3.0, b_scale=0.0004, output_scale=5.0),
        _case("farthest_zero_points", (1, 40), (1, 40), zero_points=(-128, 127, -128)),
        _case("int16", (1, 4, 3, 41), (1, 4, 3, 41), dtype="int16", zero_points=(0, 0, 0), output_scale=0.5),
        _case("int16_per_channel", image, (5,), dtype="int16", zero_points=(0, 0, 0), output_scale=12.0),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random squared difference, whose output takes in at least a part of what its inputs can reach."""
    dtype = str(rng.choice(["int8", "int16"]))
    limits = full_range(np.dtype(dtype))
    a_scale, b_scale = (float(scale) for scale in np.exp(rng.uniform(np.log(0.005), np.log(0.5), 2)))
    largest = (2 * max(a_scale, b_scale)) ** 2 * (1 if dtype == "int8" else limits[1])
    return _case(
        f"random_{rng.integers(1 << 30)}",
        *random_shapes(rng),
        a_scale=a_scale,
        b_scale=b_scale,
        output_scale=largest * float(np.exp(rng.uniform(-1, 4))),
        zero_points=tuple(int(zero) for zero in rng.integers(*limits, 3)) if dtype == "int8" else (0, 0, 0),
        dtype=dtype,
    )


def _case(name: str, a: tuple[int, ...], b: tuple[int, ...], **changes: object) -> Case:
    return operand_case("SQUARED_DIFFERENCE", name, a, b, activation=None, **changes)  # type: ignore[arg-type]
