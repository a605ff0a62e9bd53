"""SQUARED_DIFFERENCE of two tensors of different scales, with broadcasting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.kernel import Kernel
from tinygen.ops.case import Case
from tinygen.ops.common import full_range
from tinygen.ops.common_scale import CommonScale, prepare
from tinygen.ops.operand_cases import operand_case, random_shapes
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class SquaredDifference(CommonScale):
    """y = clamp(requant((a_requant((a - a_zero_point) << left_shift) - b_requant(…)) ** 2) + output_zero_point).

    Source: TensorFlow Lite Micro's ``squared_difference.cc``.
    """

    name: ClassVar[str] = "SQUARED_DIFFERENCE"

    def reach(self, widest: int) -> tuple[int, int]:
        """Squares are not negative."""
        return 0, widest**2

    def combined(self, a: IntArray, b: IntArray) -> IntArray:
        """The difference's square."""
        difference = a - b
        return difference**2


KERNELS = (
    Kernel(
        "squared_difference.direct",
        SquaredDifference,
        prepare,
        work=Rates(184, output=49),
        parameters=("a", "b"),
        overlaps=by_broadcast,
    ),
)


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
