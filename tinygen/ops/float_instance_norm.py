"""InstanceNormalization behind DequantizeLinear, of images and of groups: in float32, as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, Clamp, full_range
from tinygen.ops.float_mean import LANES, by_pairs
from tinygen.ops.real_output import RealOutput
from tinygen.ops.real_scales import RealInput
from tinygen.ops.work import Rates

_LEAST_EPSILON = 1e-30


@dataclass(frozen=True)
class FloatInstanceNorm(RealOutput, RealInput):
    """y[n, :, c] = x * factor + (bias - mean * factor), factor = gain / sqrt(variance + epsilon), of x[n, :, c].

    x int8, what its values stand for; y int8, quantised, or float32. gain and bias (channels,) are constants of
    float32, one for each index of c, or, where c is one, for one n after the other, again and again. Each step is in
    float32. Sums are taken by pairs of vectors, as `tinygen.ops.float_mean` says, those of squares of differences from
    the first value on.
    """

    name: ClassVar[str] = "INSTANCE_NORM"
    scale: float
    zero_point: int
    epsilon: float
    output_scale: float | None = None
    """None: the result stays float32."""
    output_zero_point: int = 0
    clamp: Clamp = (-128, 127)

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, ranks, the shapes of gain and bias, and what float32 cannot hold."""
        x, gain, bias = inputs
        yield from common.expect_dtype(x, "input", INT8)
        yield from common.expect_rank(x, "input", 3)
        for constant, role in ((gain, "gain"), (bias, "bias")):
            yield from common.expect_dtype(constant, role, FLOAT32)
            yield from common.expect_rank(constant, role, 1)
            yield from common.expect_constant(constant, role)
        if len(x.shape) == 3 and (gain.shape != bias.shape or x.shape[0] * x.shape[2] % max(gain.elements, 1)):
            yield f"its gain {gain.shape} and bias {bias.shape} are not one for each channel of {x.shape}"
        if not self.epsilon >= _LEAST_EPSILON:
            yield f"its epsilon is {self.epsilon:g}, supported are numbers above {_LEAST_EPSILON:g}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The input's shape."""
        return (TensorType(inputs[0].shape, self.output_dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Channel by channel."""
        x, gain, bias = inputs
        outer, pixels, channels = x.shape
        rows = self.reals()[np.moveaxis(x, 2, 1).reshape(outer * channels, pixels).astype(np.int64) + 128]
        repeats = len(rows) // len(gain)
        count = np.float32(pixels)
        mean = by_pairs(rows) / count
        differences = rows - mean[:, np.newaxis]
        variance = by_pairs(differences * differences, from_multiples=False) / count
        factor = np.float32(1) / np.sqrt(variance + np.float32(self.epsilon)) * np.tile(gain, repeats)
        moved = np.tile(bias, repeats) - mean * factor
        results = rows * factor[:, np.newaxis] + moved[:, np.newaxis]
        return (self.finished(np.moveaxis(results.reshape(outer, channels, pixels), 1, 2)),)

    def describe(self) -> str:
        """The result's type, where it is not int8."""
        return "to float32" if self.output_scale is None else ""


def _prepare(site: Site) -> Body:
    op: FloatInstanceNorm = site.op
    x, gain, bias = site.inputs
    assert gain.data is not None and bias.data is not None
    outer, pixels, channels = x.shape
    values = {
        "outer": outer,
        "pixels": pixels,
        "channels": channels,
        "constants": gain.elements,
        "has_skipped": pixels % LANES != 0 and outer * channels > 1,
        "epsilon": float_literal(op.epsilon),
        **op.output_values(),
    }
    constants = {"reals": op.reals(), "gain": gain.data, "bias": bias.data}
    return Body(values, constants, op.output_helpers | {"square_root"})


KERNELS = (
    Kernel("float_instance_norm.direct", FloatInstanceNorm, _prepare, work=Rates(900, output=60, in_float=True)),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("image", (1, 5, 6, 7)),
        _case("few_pixels", (2, 3, 1, 3)),
        _case("one_pixel", (1, 4, 1, 1)),
        _case("groups", (1, 4, 105)),
        _case("groups_of_several", (3, 2, 14)),
        _case("uint8", (1, 3, 5, 5), dtype="uint8", zero_points=(3, 250)),
        _case("flat", (1, 3, 4, 4), scale=1e-5),
        _case("small_steps", (1, 3, 4, 4), output_scale=1e-6),
        _case("to_float32", (1, 3, 5, 7), output_scale=None),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random normalisation."""
    dtype = str(rng.choice(["int8", "uint8"]))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        tuple(int(dim) for dim in rng.integers(1, 8, int(rng.integers(3, 5)))),
        dtype=dtype,
        scale=float(np.exp(rng.uniform(np.log(1e-3), np.log(1)))),
        zero_points=(int(zeros[0]), int(zeros[1])),
        output_scale=0.03 if rng.random() < 0.8 else None,
    )


def _case(
    name: str,
    x: Shape,
    *,
    dtype: str = "int8",
    scale: float = 0.05,
    output_scale: float | None = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
) -> Case:
    rng = np.random.default_rng(len(x) + x[-1])
    constants = [CaseTensor(x[1:2], "float32", data=rng.normal(size=x[1]).astype(np.float32)) for _ in range(2)]
    y = CaseTensor(x, dtype if output_scale else "float32", output_scale, zero_points[1])
    return Case(
        name, "InstanceNormalization", (CaseTensor(x, dtype, scale, zero_points[0]), *constants), (y,), suffix=ONNX
    )
