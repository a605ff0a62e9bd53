"""Test cases of two-operand operators: single-operator models, constants drawn from a seed in their name."""

from __future__ import annotations

import zlib

import numpy as np

from tinygen.ir import Shape
from tinygen.ops.case import TFLITE, Case, CaseTensor
from tinygen.ops.common import full_range


def operand_case(
    op: str,
    name: str,
    a: Shape,
    b: Shape,
    *,
    activation: str | None = "NONE",
    a_scale: float | None = 0.031,
    b_scale: float | None = 0.052,
    output_scale: float | None = 0.071,
    zero_points: tuple[int, ...] = (-3, 12, 5),
    constant: bool = False,
    dtype: str = "int8",
    suffix: str = TFLITE,
) -> Case:
    """`op` of a and b, which broadcast; `constant` makes b one. None as activation: the operator has no such option."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    data = rng.integers(*full_range(np.dtype(dtype)), b, dtype, endpoint=True) if constant else None
    return Case(
        name,
        op,
        (
            CaseTensor(a, dtype, scale=a_scale, zero_point=zero_points[0]),
            CaseTensor(b, dtype, scale=b_scale, zero_point=zero_points[1], data=data),
        ),
        (CaseTensor(np.broadcast_shapes(a, b), dtype, scale=output_scale, zero_point=zero_points[2]),),
        {} if activation is None or suffix != TFLITE else {"fused_activation_function": activation},
        suffix=suffix,
    )


def random_shapes(rng: np.random.Generator) -> tuple[Shape, Shape]:
    """Two shapes, the second with some of the first one's dimensions to be repeated."""
    shape = tuple(int(dim) for dim in rng.integers(1, 6, 4))
    return shape, tuple(dim if rng.random() < 0.7 else 1 for dim in shape)


def random_operand_case(
    rng: np.random.Generator,
    op: str,
    output_scale: float | None = None,
    dtype: str = "int8",
    zero_points: bool = True,
    suffix: str = TFLITE,
) -> Case:
    """A random operation on operands of one dtype; without `zero_points`, all are 0.

    The output's scale is drawn like the inputs', unless `output_scale` gives it as a factor of their product.
    """
    zeros = rng.integers(*full_range(np.dtype(dtype)), 3, endpoint=True)
    a_scale, b_scale, drawn = (float(scale) for scale in np.exp(rng.uniform(np.log(0.005), np.log(0.5), 3)))
    return operand_case(
        op,
        f"random_{rng.integers(1 << 30)}",
        *random_shapes(rng),
        activation=str(rng.choice(["NONE", "RELU", "RELU6"])),
        a_scale=a_scale,
        b_scale=b_scale,
        output_scale=drawn if output_scale is None else a_scale * b_scale * output_scale,
        zero_points=tuple(int(zero) for zero in zeros) if zero_points else (0, 0, 0),
        dtype=dtype,
        suffix=suffix,
    )
