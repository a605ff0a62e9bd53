"""RESIZE_BILINEAR as ONNX Runtime's Resize computes it between DequantizeLinear and QuantizeLinear: in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, quantize
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import INT8, Clamp, full_range
from tinygen.ops.real_scales import RealScales
from tinygen.ops.table_copy import offset_table
from tinygen.ops.traits import Channelwise
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class Neighbours:
    """Where the positions of an output axis lie in the input: between `first` and `second`, with the share of each."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    share_of_first: tuple[float, ...]
    share_of_second: tuple[float, ...]

    @staticmethod
    def of(source: FloatArray, size: int) -> Neighbours:
        """``SetupUpsampleBilinear``, for positions in the input before they are brought inside."""
        inside = np.clip(source, np.float32(0), np.float32(size - 1))
        first = inside.astype(np.int64)
        second = np.minimum(first + 1, size - 1)
        half = np.float32(0.5)
        of_first = np.where(first == second, half, np.abs(inside - second.astype(np.float32)))
        of_second = np.where(first == second, half, np.abs(inside - first.astype(np.float32)))
        return Neighbours(*(tuple(part.tolist()) for part in (first, second, of_first, of_second)))


@dataclass(frozen=True)
class FloatResize(Channelwise, RealScales):
    """y = clamp(rint(sum of four neighbours times their shares / output_scale) + output_zero_point), NHWC.

    Each step is in float32; neighbours count with (x - zero_point) * scale, those above first, and of these the left.
    """

    name: ClassVar[str] = "RESIZE_BILINEAR"
    rows: Neighbours
    columns: Neighbours
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
        yield from self.scale_problems()

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As many rows and columns as there are positions."""
        (x,) = inputs
        return (TensorType((x.shape[0], len(self.rows.first), len(self.columns.first), x.shape[3]), INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Neighbour by neighbour."""
        reals = np.asarray(self.reals()[inputs[0].astype(np.int64) + 128])
        total: FloatArray | None = None
        for row, down in ((self.rows.first, self.rows.share_of_first), (self.rows.second, self.rows.share_of_second)):
            shares = np.array(down, np.float32)[:, np.newaxis, np.newaxis]
            for column, across in (
                (self.columns.first, self.columns.share_of_first),
                (self.columns.second, self.columns.share_of_second),
            ):
                part = np.array(across, np.float32)[:, np.newaxis] * shares * reals[:, list(row)][:, :, list(column)]
                total = part if total is None else total + part
        assert total is not None
        return (quantize(total, self.output_scale, self.output_zero_point, *self.clamp).astype(np.int8),)

    def describe(self) -> str:
        """Nothing that the shapes do not say."""
        return ""


def _prepare(site: Site) -> Body:
    op: FloatResize = site.op
    (x,), (y,) = site.inputs, site.outputs
    row = x.shape[2] * x.shape[3]
    values = {
        "batch": x.shape[0],
        "image_size": x.shape[1] * row,
        "height": y.shape[1],
        "width": y.shape[2],
        "channels": x.shape[3],
        "scale": float_literal(op.output_scale),
        "zero_point": op.output_zero_point,
        "low": op.clamp[0],
        "high": op.clamp[1],
    }
    constants = {
        "reals": op.reals(),
        "top": offset_table(op.rows.first, row),
        "bottom": offset_table(op.rows.second, row),
        "of_top": np.array(op.rows.share_of_first, np.float32),
        "of_bottom": np.array(op.rows.share_of_second, np.float32),
        "left": offset_table(op.columns.first, x.shape[3]),
        "right": offset_table(op.columns.second, x.shape[3]),
        "of_left": np.array(op.columns.share_of_first, np.float32),
        "of_right": np.array(op.columns.share_of_second, np.float32),
    }
    return Body(values, constants, frozenset({"clamp", "round_float"}))


KERNELS = (Kernel("float_resize.direct", FloatResize, _prepare, work=Rates(220, output=62, in_float=True)),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("twice", (1, 3, 4, 5), (8, 10)),
        _case("twice_asymmetric", (1, 3, 4, 5), (8, 10), mode="asymmetric"),
        _case("twice_aligned", (1, 3, 4, 5), (8, 10), mode="align_corners"),
        _case("odd", (1, 2, 7, 5), (19, 23), output_scale=0.05),
        _case("odd_pytorch", (1, 2, 7, 5), (19, 1), mode="pytorch_half_pixel"),
        _case("smaller", (1, 1, 9, 8), (7, 3)),
        _case("rows", (1, 4, 3, 6), (9, 6)),
        _case("batch", (2, 3, 2, 3), (3, 5), mode="align_corners"),
        _case("to_one_pixel", (1, 3, 6, 7), (1, 1), mode="align_corners"),
        _case("of_one_pixel", (1, 3, 1, 1), (4, 3)),
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
    dtype: str = "int8",
    output_scale: float = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
) -> Case:
    y = (*x[:2], *size)
    wanted = CaseTensor((4,), "int64", data=np.array(y, np.int64))
    options: Mapping[str, object] = {"mode": "linear", "coordinate_transformation_mode": mode}
    inputs = (CaseTensor(x, dtype, 0.05, zero_points[0]), None, None, wanted)
    return Case(name, "Resize", inputs, (CaseTensor(y, dtype, output_scale, zero_points[1]),), options, suffix=ONNX)
