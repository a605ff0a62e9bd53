"""Cubic interpolation as ONNX Runtime's Resize computes it between DequantizeLinear and QuantizeLinear: in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, quantize
from tinygen.interval import Interval
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import INT8, Clamp, full_range
from tinygen.ops.real_scales import RealScales
from tinygen.ops.table_copy import offset_table
from tinygen.ops.traits import Channelwise
from tinygen.ops.work import Rates

TAPS = 4


@dataclass(frozen=True)
class CubicTaps:
    """What each position of an output axis is made of: four pixels in a row, those beyond an end repeating the last."""

    pixels: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    @staticmethod
    def of(source: FloatArray, size: int, a: float) -> CubicTaps:
        """``GetCubicCoeffs``: the convolution of Keys with the parameter `a`, of positions in the input."""
        below = np.floor(source)
        beyond, one, slope = source - below, np.float32(1), np.float32(a)

        def far(x: FloatArray) -> FloatArray:
            four, five, eight = np.float32(4), np.float32(5), np.float32(8)
            return np.asarray(((slope * x - five * slope) * x + eight * slope) * x - four * slope)

        def near(x: FloatArray) -> FloatArray:
            return np.asarray(((slope + np.float32(2)) * x - (slope + np.float32(3))) * x * x + one)

        shares = np.stack([far(beyond + one), near(beyond), near(one - beyond), far(np.float32(2) - beyond)], axis=1)
        pixels = np.clip(below.astype(np.int64)[:, np.newaxis] + np.arange(-1, TAPS - 1), 0, size - 1)
        return CubicTaps(tuple(map(tuple, pixels.tolist())), tuple(map(tuple, shares.tolist())))


@dataclass(frozen=True)
class FloatCubic(Channelwise, RealScales):
    """y = clamp(rint(sum of rows of four pixels, each times its share / output_scale) + output_zero_point), NHWC.

    Each step is in float32: four pixels of a row are added up from the left, each (x - zero_point) * scale times its
    share; then four rows, from above.
    """

    name: ClassVar[str] = "RESIZE_CUBIC"
    rows: CubicTaps
    columns: CubicTaps
    scale: float
    zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 shares, ties to even"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and scales."""
        yield from common.expect_dtype(inputs[0], "input", INT8)
        yield from common.expect_rank(inputs[0], "input", 4)
        sizes = [float(np.abs(taps.shares).sum(axis=1).max()) for taps in (self.rows, self.columns)]
        yield from self.scale_problems(int(np.ceil(sizes[0] * sizes[1])))

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As many rows and columns as there are positions."""
        (x,) = inputs
        return (TensorType((x.shape[0], len(self.rows.pixels), len(self.columns.pixels), x.shape[3]), INT8),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The clamp: shares can be negative."""
        (found,) = Op.intervals(self, inputs, given)
        return (found.clipped(*self.clamp),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Row by row, pixel by pixel."""
        reals = np.asarray(self.reals()[inputs[0].astype(np.int64) + 128])
        across = _added_up(reals, self.columns, 2)
        total = _added_up(across, self.rows, 1)
        return (quantize(total, self.output_scale, self.output_zero_point, *self.clamp).astype(np.int8),)


def _added_up(values: FloatArray, taps: CubicTaps, axis: int) -> FloatArray:
    """Along an axis of (n, h, w, c)."""
    each = [-1 if at == axis else 1 for at in range(values.ndim)]
    total: FloatArray | None = None
    for tap in range(TAPS):
        pixels = [pixel[tap] for pixel in taps.pixels]
        shares = np.array([share[tap] for share in taps.shares], np.float32).reshape(each)
        part = shares * np.take(values, pixels, axis)
        total = part if total is None else total + part
    assert total is not None
    return np.asarray(total, np.float32)


def _prepare(site: Site) -> Body:
    op: FloatCubic = site.op
    (x,), (y,) = site.inputs, site.outputs
    row = x.shape[2] * x.shape[3]
    values = {
        "batch": x.shape[0],
        "image_size": x.shape[1] * row,
        "height": y.shape[1],
        "width": y.shape[2],
        "channels": x.shape[3],
        "taps": TAPS,
        "scale": float_literal(op.output_scale),
        "zero_point": op.output_zero_point,
        "low": op.clamp[0],
        "high": op.clamp[1],
    }
    constants = {
        "reals": op.reals(),
        "rows": offset_table([pixel for pixels in op.rows.pixels for pixel in pixels], row),
        "of_rows": np.array(op.rows.shares, np.float32).reshape(-1),
        "columns": offset_table([pixel for pixels in op.columns.pixels for pixel in pixels], x.shape[3]),
        "of_columns": np.array(op.columns.shares, np.float32).reshape(-1),
    }
    return Body(values, constants, frozenset({"clamp", "round_float"}))


KERNELS = (Kernel("float_cubic.direct", FloatCubic, _prepare, work=Rates(200, output=300, in_float=True)),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("twice", (1, 3, 4, 5), (8, 10)),
        _case("twice_asymmetric", (1, 3, 4, 5), (8, 10), mode="asymmetric"),
        _case("twice_aligned", (1, 3, 4, 5), (8, 10), mode="align_corners", a=-0.5),
        _case("odd", (1, 2, 7, 5), (19, 3), output_scale=0.05),
        _case("to_one_pixel", (1, 3, 6, 7), (1, 1), mode="pytorch_half_pixel"),
        _case("of_one_pixel", (2, 3, 1, 1), (4, 3)),
        _case("uint8", (1, 3, 4, 5), (7, 9), dtype="uint8", zero_points=(3, 250)),
        _case("saturated", (1, 3, 4, 5), (7, 9), output_scale=0.004),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random size and mode."""
    dtype = str(rng.choice(["int8", "uint8"]))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        (1, *(int(dim) for dim in rng.integers(1, 8, 3))),
        (int(rng.integers(1, 14)), int(rng.integers(1, 14))),
        mode=str(rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])),
        a=float(rng.choice([-0.75, -0.5])),
        dtype=dtype,
        output_scale=float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))),
        zero_points=(int(zeros[0]), int(zeros[1])),
    )


def _case(
    name: str,
    x: Shape,
    size: tuple[int, int],
    *,
    mode: str = "half_pixel",
    a: float = -0.75,
    dtype: str = "int8",
    output_scale: float = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
) -> Case:
    y = (*x[:2], *size)
    wanted = CaseTensor((4,), "int64", data=np.array(y, np.int64))
    options: Mapping[str, object] = {"mode": "cubic", "coordinate_transformation_mode": mode, "cubic_coeff_a": a}
    inputs = (CaseTensor(x, dtype, 0.05, zero_points[0]), None, None, wanted)
    return Case(name, "Resize", inputs, (CaseTensor(y, dtype, output_scale, zero_points[1]),), options, suffix=ONNX)
