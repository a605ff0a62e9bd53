"""ADD and SUB of two tensors of different scales, with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.ir import Shape
from tinygen.kernel import Kernel
from tinygen.ops.case import Case
from tinygen.ops.common_scale import CommonScale, gains, prepare
from tinygen.ops.operand_cases import operand_case, random_operand_case
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.proved_pairs import plane_kernel
from tinygen.ops.work import elementwise_work


@dataclass(frozen=True)
class Add(CommonScale):
    """y = clamp(requant(a_requant((a - a_zero_point) << left_shift) + b_requant(…)) + output_zero_point)."""

    name: ClassVar[str] = "ADD"

    def combined(self, a: IntArray, b: IntArray) -> IntArray:
        """The sum."""
        return a + b

    @property
    def gains(self) -> tuple[float, float]:
        """Both count."""
        return gains(self)


@dataclass(frozen=True)
class Sub(CommonScale):
    """y = clamp(requant(a_requant((a - a_zero_point) << left_shift) - b_requant(…)) + output_zero_point)."""

    name: ClassVar[str] = "SUB"

    def combined(self, a: IntArray, b: IntArray) -> IntArray:
        """The difference."""
        return a - b

    @property
    def gains(self) -> tuple[float, float]:
        """The second counts negatively."""
        a, b = gains(self)
        return a, -b


KERNELS = (
    plane_kernel(Add),
    Kernel("add.direct", Add, prepare, parameters=("a", "b"), work=elementwise_work, overlaps=by_broadcast),
    plane_kernel(Sub),
    Kernel("sub.direct", Sub, prepare, parameters=("a", "b"), work=elementwise_work, overlaps=by_broadcast),
)


_NO_ZEROS = (0, 0, 0)
_INT16_CASES: Mapping[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "int16": ((1, 4, 3, 41), (1, 4, 3, 41), {}),
    # Like all cases, with the option of power-of-two scales on: the runtime does not look at it.
    "int16_pot_scale": ((1, 4, 3, 41), (1, 4, 3, 41), {"a_scale": 1 / 4096, "b_scale": 1 / 1024, "output_scale": 1e-3}),
    "int16_scalar": ((1, 4, 3, 5), (), {}),
    "int16_per_channel": ((1, 4, 3, 5), (5,), {"constant": True}),
    "int16_both_broadcast": ((1, 4, 1, 5), (1, 1, 3, 1), {}),
    "int16_first_is_smaller": ((1, 1, 1, 5), (1, 4, 3, 5), {}),
    "int16_relu6": ((1, 400), (1, 400), {"activation": "RELU6", "output_scale": 0.0003}),
    "int16_far_scales": ((1, 400), (1, 400), {"a_scale": 3.0, "b_scale": 0.0004, "output_scale": 2.9}),
    "int16_fine_output": ((1, 400), (1, 400), {"output_scale": 0.0001}),
    "int16_zero_points": ((1, 400), (1, 400), {"zero_points": (-32768, 32767, 1000)}),
}


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        operand_case("ADD", "same_shape", (1, 4, 3, 5), (1, 4, 3, 5)),
        operand_case("ADD", "scalar", (1, 4, 3, 5), ()),
        operand_case("ADD", "per_channel", (1, 4, 3, 5), (5,)),
        operand_case("ADD", "per_pixel", (1, 4, 3, 5), (1, 4, 3, 1)),
        operand_case("ADD", "both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        operand_case("ADD", "first_is_smaller", (1, 1, 1, 5), (1, 4, 3, 5)),
        operand_case("ADD", "constant", (1, 4, 3, 5), (1, 4, 3, 5), constant=True),
        operand_case("ADD", "relu", (1, 17), (1, 17), activation="RELU"),
        operand_case("ADD", "relu6", (1, 17), (1, 17), activation="RELU6"),
        operand_case("ADD", "far_scales", (1, 33), (1, 33), a_scale=3.0, b_scale=0.0004),
        operand_case("ADD", "fine_output", (1, 33), (1, 33), output_scale=0.02),
        operand_case("SUB", "sub", (1, 4, 3, 5), (1, 4, 3, 5)),
        operand_case("SUB", "sub_from_smaller", (5,), (1, 4, 3, 5)),
        operand_case("SUB", "sub_both_broadcast", (1, 4, 1, 5), (1, 1, 3, 1)),
        operand_case("SUB", "sub_constant", (1, 4, 3, 5), (1, 4, 3, 5), constant=True),
        operand_case("SUB", "sub_relu6", (1, 17), (1, 17), activation="RELU6"),
        operand_case("SUB", "sub_far_scales", (1, 33), (1, 33), a_scale=3.0, b_scale=0.0004),
        *(
            operand_case(op, f"{op.lower()}_{name}", a, b, dtype="int16", **{"zero_points": _NO_ZEROS, **arguments})
            for op in ("ADD", "SUB")
            for name, (a, b, arguments) in _INT16_CASES.items()
        ),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random addition or subtraction."""
    return random_operand_case(rng, str(rng.choice(["ADD", "SUB"])), dtype=str(rng.choice(["int8", "int16"])))
