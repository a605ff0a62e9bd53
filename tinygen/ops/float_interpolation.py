"""Interpolation as ONNX Runtime's Resize computes it between DequantizeLinear and QuantizeLinear: in float32."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, quantize
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import INT8, Clamp, full_range
from tinygen.ops.real_scales import RealScales
from tinygen.ops.traits import Channelwise


@dataclass(frozen=True)
class Interpolation(Channelwise, RealScales):
    """y = clamp(rint(sum of pixels, each (x - zero_point) * scale times its share / output_scale) + output_zero_point).

    Images are NHWC. Each step is in float32.
    """

    rows: Sized
    """What each row of the output is made of, one for each."""
    columns: Sized
    scale: float
    zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 shares, ties to even"

    @property
    def largest_share(self) -> int:
        """What the absolute shares of a result's pixels do not exceed, added up."""
        return 1

    @abstractmethod
    def interpolated(self, reals: FloatArray) -> FloatArray:
        """Real values (n, h, w, c) to (n, oh, ow, c)."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and scales."""
        yield from common.expect_dtype(inputs[0], "input", INT8)
        yield from common.expect_rank(inputs[0], "input", 4)
        yield from self.scale_problems(self.largest_share)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As many rows and columns as there are positions."""
        (x,) = inputs
        return (TensorType((x.shape[0], len(self.rows), len(self.columns), x.shape[3]), INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Interpolated, then rounded."""
        total = self.interpolated(np.asarray(self.reals()[inputs[0].astype(np.int64) + 128]))
        return (quantize(total, self.output_scale, self.output_zero_point, *self.clamp).astype(np.int8),)


def interpolation_body(site: Site, constants: Mapping[str, Array], values: Mapping[str, object] | None = None) -> Body:
    """With constants and values of the operator's own."""
    op: Interpolation = site.op
    (x,), (y,) = site.inputs, site.outputs
    _, height, width, channels = x.shape
    shared = {
        "batch": x.shape[0],
        "image_size": height * width * channels,
        "height": y.shape[1],
        "width": y.shape[2],
        "channels": channels,
        "scale": float_literal(op.output_scale),
        "zero_point": op.output_zero_point,
        "low": op.clamp[0],
        "high": op.clamp[1],
    }
    return Body({**shared, **(values or {})}, {"reals": op.reals(), **constants}, frozenset({"clamp", "round_float"}))


def interpolation_case(
    name: str,
    x: Shape,
    size: tuple[int, int],
    *,
    interpolation: str,
    mode: str = "half_pixel",
    dtype: str = "int8",
    output_scale: float = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
    options: Mapping[str, object] | None = None,
) -> Case:
    """An image (n, c, h, w) resized to `size`; `options` are attributes beside the two modes."""
    y = (*x[:2], *size)
    wanted = CaseTensor((4,), "int64", data=np.array(y, np.int64))
    modes = {"mode": interpolation, "coordinate_transformation_mode": mode}
    inputs = (CaseTensor(x, dtype, 0.05, zero_points[0]), None, None, wanted)
    output = CaseTensor(y, dtype, output_scale, zero_points[1])
    return Case(name, "Resize", inputs, (output,), {**modes, **(options or {})}, suffix=ONNX)


def random_interpolation(
    rng: np.random.Generator, interpolation: str, options: Mapping[str, object] | None = None
) -> Case:
    """A random size and coordinate transformation."""
    dtype = str(rng.choice(["int8", "uint8"]))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return interpolation_case(
        f"random_{rng.integers(1 << 30)}",
        (1, *(int(dim) for dim in rng.integers(1, 8, 3))),
        (int(rng.integers(1, 14)), int(rng.integers(1, 14))),
        interpolation=interpolation,
        mode=str(rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])),
        dtype=dtype,
        output_scale=float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))),
        zero_points=(int(zeros[0]), int(zeros[1])),
        options=options,
    )
