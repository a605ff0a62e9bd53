"""LOGISTIC and TANH by TensorFlow Lite's definition, which no importer chooses yet."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygen import fixedpoint
from tinygen.ir import Op
from tinygen.ops.float_curves import LogisticFloat, TanhFloat
from tinygen.ops.registry import kernels_for
from tinygen.ops.sigmoid import SIGMOID_INTEGER_BITS, Logistic, Tanh
from tinygen.rescaling import Requant

OUTPUTS = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
FLOAT = {"LOGISTIC": LogisticFloat, "TANH": TanhFloat}

# Scale, zero point, and the only input on which the runtimes differ: what TensorFlow Lite's interpreter (LiteRT 2.3.0,
# reference kernels) gave, and what TensorFlow Lite Micro's did.
DIFFERENT = {
    "LOGISTIC": (0.006895127240568399, -123, -90, 15, 14),
    "TANH": (0.00015420095587614924, -54, 22, 1, 2),
}


def table(op: Op) -> np.ndarray:
    (y,) = op.reference(np.arange(-128, 128).astype(np.int8))
    return y


def float_table(op: str, scale: float, zero_point: int) -> np.ndarray:
    return table(FLOAT[op](scale, zero_point, *OUTPUTS[op]))


def fixed_point_table(op: str, scale: float, zero_point: int) -> np.ndarray:
    multiplier, shift = fixedpoint.quantize_multiplier(scale * (1 << (31 - SIGMOID_INTEGER_BITS)))
    radius = fixedpoint.calculate_input_radius(SIGMOID_INTEGER_BITS, shift)
    requant = Requant((multiplier,), (shift,))
    return table((Logistic if op == "LOGISTIC" else Tanh)(zero_point, requant, radius))


@pytest.mark.parametrize("op", FLOAT)
def test_the_definitions_differ_where_the_runtimes_do(op: str) -> None:
    scale, zero_point, x, float_result, fixed_point_result = DIFFERENT[op]
    ours, micro = float_table(op, scale, zero_point), fixed_point_table(op, scale, zero_point)
    assert np.flatnonzero(ours != micro).tolist() == [x + 128]
    assert (ours[x + 128], micro[x + 128]) == (float_result, fixed_point_result)


@pytest.mark.parametrize("op", FLOAT)
def test_tables_are_the_rounded_curve(op: str) -> None:
    curve = {"LOGISTIC": lambda x: 1 / (1 + math.exp(-x)), "TANH": math.tanh}[op]
    output_scale, output_zero_point = OUTPUTS[op]
    for scale, zero_point in ((0.05, 4), (0.003, -128), (0.6, 127), (3.0, 0)):
        exact = [curve(float(np.float32(scale)) * (x - zero_point)) / output_scale for x in range(-128, 128)]
        wanted = [min(fixedpoint.round_half_away(value) + output_zero_point, 127) for value in exact]
        assert float_table(op, float(np.float32(scale)), zero_point).tolist() == wanted


@pytest.mark.parametrize("op", FLOAT)
def test_they_are_looked_up(op: str) -> None:
    names = [kernel.name for kernel in kernels_for(FLOAT[op](0.05, 4, *OUTPUTS[op]))]
    assert names == ["lookup.vectors", "lookup.words", "lookup.table"]
