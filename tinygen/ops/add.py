"""ADD and SUB of two tensors of different scales, with broadcasting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.case import Case
from tinygen.ops.common import INT8, INT16, Clamp, differences
from tinygen.ops.operand_cases import operand_case, random_operand_case


@dataclass(frozen=True)
class _Sum(Op):
    sign: ClassVar[int]
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    left_shift: int
    a_requant: Requant
    b_requant: Requant
    requant: Requant
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and the sum's bound."""
        a, b = inputs
        broken = list(operand_problems(a, b, INT8, INT16))
        yield from broken
        if not broken:
            # Rescaling at least halves each side.
            widest = max(map(abs, (*differences(a, self.a_zero_point), *differences(b, self.b_zero_point))))
            bound = widest << self.left_shift
            yield from common.rescaling_problems("the sum", -bound, bound, self.requant)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        a, b = (x.astype(np.int64) for x in inputs)
        scaled_a = self.a_requant.apply((a - self.a_zero_point) << self.left_shift)
        scaled_b = self.b_requant.apply((b - self.b_zero_point) << self.left_shift)
        y = self.requant.apply(scaled_a + self.sign * scaled_b) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(inputs[0].dtype),)


@dataclass(frozen=True)
class Add(_Sum):
    """y = clamp(requant(a_requant((a - a_zero_point) << left_shift) + b_requant(…)) + output_zero_point).

    Both inputs int8 or both int16, of shapes that broadcast; both are brought to twice the larger scale first.
    """

    name: ClassVar[str] = "ADD"
    sign: ClassVar[int] = 1


@dataclass(frozen=True)
class Sub(_Sum):
    """y = clamp(requant(a_requant((a - a_zero_point) << left_shift) - b_requant(…)) + output_zero_point).

    Both inputs int8 or both int16, of shapes that broadcast; both are brought to twice the larger scale first.
    """

    name: ClassVar[str] = "SUB"
    sign: ClassVar[int] = -1


def _prepare(site: Site) -> Body:
    op: Add | Sub = site.op
    a, b = site.inputs
    final, _, helpers = common.finish(op.requant, op.output_zero_point, op.clamp, a.dtype)
    a_final, _, a_helpers = common.finish(op.a_requant, 0, op.clamp)
    b_final, _, b_helpers = common.finish(op.b_requant, 0, op.clamp)
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "sign": op.sign,
            "factor": 1 << op.left_shift,
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "a_finish": a_final,
            "b_finish": b_final,
            "finish": final,
        },
        helpers=helpers | a_helpers | b_helpers,
    )


KERNELS = (
    Kernel("add.direct", Add, _prepare, parameters=("a", "b")),
    Kernel("sub.direct", Sub, _prepare, parameters=("a", "b")),
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
