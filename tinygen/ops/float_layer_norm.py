"""LayerNormalization between DequantizeLinear and QuantizeLinear: in float32, as ONNX Runtime computes it on x86-64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.arrangement import numbers
from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, fused_multiply_add, quantize
from tinygen.interval import IntArray
from tinygen.ir import OUTPUT, Arranged, Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, Clamp, full_range
from tinygen.ops.real_scales import RealInput
from tinygen.ops.traits import Rowwise

LANES = 8
"""Of a vector of float32 with AVX: shorter rows are computed without."""
_LEAST_EPSILON = 1e-30
_SMALLEST, _LARGEST = 2.0**-40, 2.0**40
"""Scales of the input with which sums of real values are exact in float64, and squares no too small float32."""


@dataclass(frozen=True)
class FloatLayerNorm(Rowwise, RealInput):
    """y = clamp(rint(((x - mean) / sqrt(variance + epsilon) * gain + bias) / output_scale) + output_zero_point).

    Of each row of the last dimension, of real values x. int8; gain and bias are float32, one for each column. In
    float32, but for the mean, which is rounded once. Rows of eight values and more add up the squares of differences by
    lanes, and multiply by the root's reciprocal, by ``MlasLayerNormF32``; shorter ones follow Welford's algorithm.
    """

    name: ClassVar[str] = "LAYER_NORM"
    scale: float
    zero_point: int
    epsilon: float
    output_scale: float
    output_zero_point: int
    clamp: Clamp

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 sums, ties to even"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, the shapes of gain and bias, and what float32 cannot hold."""
        x, gain, bias = inputs
        yield from common.expect_dtype(x, "input", INT8)
        for constant, role in ((gain, "gain"), (bias, "bias")):
            yield from common.expect_dtype(constant, role, FLOAT32)
            yield from common.expect_constant(constant, role)
            if constant.shape != x.shape[-1:]:
                yield f"its {role} has the shape {constant.shape}, expected is one value for each of {x.shape[-1:]}"
        if not x.shape:
            yield "the input is a scalar"
        if not _SMALLEST <= self.scale <= _LARGEST:
            yield f"its scale {self.scale:g} is out of the range that float32 squares keep"
        if not self.epsilon >= _LEAST_EPSILON:
            yield f"its epsilon is {self.epsilon:g}, supported are numbers above {_LEAST_EPSILON:g}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Where rows stay rows; each has the same gain and bias."""
        x, *of_columns = inputs
        found = super().arranged((x,), place, order) if place in (OUTPUT, 0) else None
        if found is None:
            return None
        return found._replace(inputs=(*found.inputs, *(numbers(each.shape) for each in of_columns)))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Row by row."""
        x, gain, bias = inputs
        rows = self.reals()[x.astype(np.int64) + 128].reshape(-1, x.shape[-1])
        results = self._by_lanes(rows, gain, bias) if rows.shape[1] >= LANES else self._in_turn(rows, gain, bias)
        y = quantize(results, self.output_scale, self.output_zero_point, *self.clamp)
        return (y.astype(x.dtype).reshape(x.shape),)

    def _by_lanes(self, rows: FloatArray, gain: FloatArray, bias: FloatArray) -> FloatArray:
        count = rows.shape[1]
        mean = (rows.astype(np.float64).sum(axis=1) / count).astype(np.float32)
        differences = rows - mean[:, np.newaxis]
        end = count // LANES * LANES
        lanes = np.zeros((len(rows), LANES), np.float32)
        for start in range(0, end, LANES):
            part = differences[:, start : start + LANES]
            lanes = fused_multiply_add(part, part, lanes)
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        total = lanes[:, 0]
        for at in range(end, count):
            total = fused_multiply_add(differences[:, at], differences[:, at], total)
        factor = np.float32(1) / np.sqrt(total / np.float32(count) + np.float32(self.epsilon))
        return fused_multiply_add(differences * factor[:, np.newaxis], gain, bias)

    def _in_turn(self, rows: FloatArray, gain: FloatArray, bias: FloatArray) -> FloatArray:
        mean, total = (np.zeros(len(rows), np.float32) for _ in range(2))
        for at in range(rows.shape[1]):
            before = rows[:, at] - mean
            mean = mean + before / np.float32(at + 1)
            total = total + before * (rows[:, at] - mean)
        root = np.sqrt(total / np.float32(rows.shape[1]) + np.float32(self.epsilon))
        return np.asarray((rows - mean[:, np.newaxis]) / root[:, np.newaxis] * gain + bias)


def _prepare(site: Site) -> Body:
    op: FloatLayerNorm = site.op
    x, gain, bias = site.inputs
    assert gain.data is not None and bias.data is not None
    depth = x.shape[-1]
    values = {
        "rows": x.elements // depth,
        "depth": depth,
        "lanes": LANES,
        "by_lanes": depth >= LANES,
        "epsilon": float_literal(op.epsilon),
        "scale": float_literal(op.output_scale),
        "zero_point": op.output_zero_point,
        "low": op.clamp[0],
        "high": op.clamp[1],
    }
    constants = {"reals": op.reals(), "gain": gain.data, "bias": bias.data}
    helpers = {"clamp", "round_float", "square_root", *(["fused"] if depth >= LANES else [])}
    return Body(values, constants, frozenset(helpers))


KERNELS = (Kernel("float_layer_norm.direct", FloatLayerNorm, _prepare),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("rows", (5, 24)),
        _case("lanes_and_rest", (3, 2, 13)),
        _case("one_vector", (7, 8)),
        _case("short", (9, 7)),
        _case("pairs", (6, 2)),
        _case("alone", (4, 1)),
        _case("long", (2, 300), output_scale=0.02),
        _case("two_dimensions", (2, 3, 5), axis=1),
        _case("no_bias", (3, 17), with_bias=False),
        _case("uint8", (3, 33), dtype="uint8", zero_points=(3, 250)),
        _case("ties", (20, 16), scale=0.5, output_scale=0.125),
        _case("flat", (3, 12), scale=1e-4),
        _case("small_epsilon", (3, 12), epsilon=1e-12),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random normalisation."""
    dtype = str(rng.choice(["int8", "uint8"]))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        (int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 40))),
        axis=int(rng.choice([-1, -2])),
        dtype=dtype,
        scale=float(np.exp(rng.uniform(np.log(1e-3), np.log(1)))),
        zero_points=(int(zeros[0]), int(zeros[1])),
        with_bias=bool(rng.integers(2)),
    )


def _case(
    name: str,
    x: Shape,
    *,
    axis: int = -1,
    dtype: str = "int8",
    scale: float = 0.05,
    output_scale: float = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
    epsilon: float = 1e-5,
    with_bias: bool = True,
) -> Case:
    rng = np.random.default_rng(len(x) + x[-1])
    shape = x[axis % len(x) :]
    constants = [rng.normal(size=shape).astype(np.float32) for _ in range(2 if with_bias else 1)]
    return Case(
        name,
        "LayerNormalization",
        (CaseTensor(x, dtype, scale, zero_points[0]), *(CaseTensor(shape, "float32", data=part) for part in constants)),
        (CaseTensor(x, dtype, output_scale, zero_points[1]),),
        {"axis": axis, "epsilon": epsilon},
        suffix=ONNX,
    )
