"""Cubic interpolation as ONNX Runtime's Resize computes it between DequantizeLinear and QuantizeLinear: in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from tinygen.float32 import FloatArray
from tinygen.interval import Interval
from tinygen.ir import Op, Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.case import Case
from tinygen.ops.float_interpolation import Interpolation, interpolation_body, interpolation_case, random_interpolation
from tinygen.ops.table_copy import offset_table
from tinygen.ops.work import Rates

TAPS = 4


@dataclass(frozen=True)
class CubicTaps:
    """What each position of an output axis is made of: four pixels in a row, those beyond an end repeating the last."""

    pixels: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.pixels)

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
class FloatCubic(Interpolation):
    """Of four rows of four pixels: those of a row are added up from the left, then the rows from above."""

    name: ClassVar[str] = "RESIZE_CUBIC"
    rows: CubicTaps
    columns: CubicTaps

    @property
    def largest_share(self) -> int:
        """More than one: shares can be negative."""
        sizes = [float(np.abs(taps.shares).sum(axis=1).max()) for taps in (self.rows, self.columns)]
        return int(np.ceil(sizes[0] * sizes[1]))

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The clamp: shares can be negative."""
        (found,) = Op.intervals(self, inputs, given)
        return (found.clipped(*self.clamp),)

    def interpolated(self, reals: FloatArray) -> FloatArray:
        """Row by row, pixel by pixel."""
        return _added_up(_added_up(reals, self.columns, 2), self.rows, 1)


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
    _, _, width, channels = site.inputs[0].shape
    constants = {
        "rows": offset_table([pixel for pixels in op.rows.pixels for pixel in pixels], width * channels),
        "of_rows": np.array(op.rows.shares, np.float32).reshape(-1),
        "columns": offset_table([pixel for pixels in op.columns.pixels for pixel in pixels], channels),
        "of_columns": np.array(op.columns.shares, np.float32).reshape(-1),
    }
    return interpolation_body(site, constants, {"taps": TAPS})


KERNELS = (Kernel("float_cubic.direct", FloatCubic, _prepare, work=Rates(200, output=300, in_float=True)),)

_case = partial(interpolation_case, interpolation="cubic", options={"cubic_coeff_a": -0.75})


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("twice", (1, 3, 4, 5), (8, 10)),
        _case("twice_asymmetric", (1, 3, 4, 5), (8, 10), mode="asymmetric"),
        _case("twice_aligned", (1, 3, 4, 5), (8, 10), mode="align_corners", options={"cubic_coeff_a": -0.5}),
        _case("odd", (1, 2, 7, 5), (19, 3), output_scale=0.05),
        _case("to_one_pixel", (1, 3, 6, 7), (1, 1), mode="pytorch_half_pixel"),
        _case("of_one_pixel", (2, 3, 1, 1), (4, 3)),
        _case("uint8", (1, 3, 4, 5), (7, 9), dtype="uint8", zero_points=(3, 250)),
        _case("saturated", (1, 3, 4, 5), (7, 9), output_scale=0.004),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random size, mode and parameter."""
    return random_interpolation(rng, "cubic", {"cubic_coeff_a": float(rng.choice([-0.75, -0.5]))})
