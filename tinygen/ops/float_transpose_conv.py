"""TRANSPOSE_CONV as ONNX Runtime's ConvTranspose computes it between DequantizeLinear and QuantizeLinear: in float32.

The C sums integers. Only where what float32 may have rounded away decides on a result are its sums taken, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, dequantize, fused_multiply_add, quantize
from tinygen.interval import BoolArray
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.float_channels import FloatWeighted
from tinygen.ops.float_sums import PROOF, Bounds, Deciding, operand_problems, scale_problems
from tinygen.ops.overlaps import Reach, by_pixel
from tinygen.ops.window import Axis, Window
from tinygen.ops.work import Rates

DEEPEST = 512
"""Channels whose products ONNX Runtime adds up one after the other; of more it adds up blocks."""


@dataclass(frozen=True)
class FloatTransposeConv(FloatWeighted):
    """y[n,i,j,o] = clamp(rint((sum (x[n,iy,ix,c] - zero_point) * w[o,ky,kx,c] * scales + bias[o]) / output_scale) + …).

    The sum is over all input pixels and taps with i = iy * stride - before + ky * dilation, and j likewise. Products of
    a tap are added up channel by channel, with fused multiply-adds, then the taps, row by row, then the bias. x
    (n, h, w, c), weights int8 (o, kh, kw, c / groups), their scales (o,) and the bias (o,) float32, all constants; y
    (n, *output_size, o) int8.
    """

    name: ClassVar[str] = "TRANSPOSE_CONV"
    window: Window
    output_size: tuple[int, int]

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and what the runtime would add up otherwise."""
        x, weights, scales, bias = inputs
        unlike = list(operand_problems(x, weights, scales, bias))
        yield from unlike
        if unlike:
            return
        depth = weights.shape[3]
        if depth > DEEPEST:
            yield f"its filters are {depth} channels deep: beyond {DEEPEST} the order of ONNX Runtime's sums is open"
        assert scales.data is not None
        broken = list(scale_problems(self.scale, self.output_scale, *scales.data.tolist()))
        yield from broken or bounds(self, inputs).problems(self.output_scale)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, *output_size, o)."""
        x, weights = inputs[:2]
        return (TensorType((x.shape[0], *self.output_size, weights.shape[0]), x.dtype),)

    def bounds(self, inputs: Sequence[Tensor]) -> Bounds:
        """What its sums can come to, whatever its input holds."""
        return bounds(self, inputs)

    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """By the phase of the stride, and at the borders."""
        rows = self.window.rows.scattered_tap_sets(x[1], self.output_size[0])
        return rows, self.window.columns.scattered_tap_sets(x[2], self.output_size[1])

    def lacking(self, terms: int) -> tuple[FloatTransposeConv, FloatTransposeConv]:
        """The rest is added up as before."""
        return self, self

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The sums, quantised."""
        y = quantize(self.sums(*inputs), self.output_scale, self.output_zero_point, *self.clamp)
        return (y.astype(inputs[0].dtype),)

    def sums(self, x: Array, weights: Array, scales: Array, bias: Array) -> FloatArray:
        """Real values of the output: channel by channel, then tap by tap, then the bias."""
        batch, height, width, channels = x.shape
        filters, depth = weights.shape[0], weights.shape[3]
        groups = channels // depth
        reals = dequantize(x.astype(np.int64), self.scale, self.zero_point).reshape(batch, height, width, groups, depth)
        differences = (weights.astype(np.int64) - self.weight_zero_point).astype(np.float32)
        taps = (differences * scales[:, np.newaxis, np.newaxis, np.newaxis]).reshape(groups, -1, *weights.shape[1:])
        rows, columns = self.window.rows, self.window.columns
        reached_height = max((height - 1) * rows.stride + rows.extent, rows.before + self.output_size[0])
        reached_width = max((width - 1) * columns.stride + columns.extent, columns.before + self.output_size[1])
        total = np.zeros((batch, reached_height, reached_width, filters), np.float32)
        for ky, kx, view in self.window.tap_views(total, height, width):
            products: FloatArray = np.zeros((batch, height, width, groups, filters // groups), np.float32)
            for channel in range(depth):
                products = fused_multiply_add(reals[..., channel, np.newaxis], taps[:, :, ky, kx, channel], products)
            view += products.reshape(view.shape)
        inside = total[:, rows.before :, columns.before :][:, : self.output_size[0], : self.output_size[1]]
        return np.asarray(inside + bias)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every input pixel goes through the whole filter, also where a tap lands outside the output."""
        x, weights = inputs[:2]
        return x.elements // x.shape[3] * weights.elements

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def bounds(op: FloatTransposeConv, inputs: Sequence[Tensor]) -> Bounds:
    """What the sums of an operator can come to, whatever its input holds."""
    _, weights, scales, bias = inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    sizes = np.abs(weights.data.astype(np.int64) - op.weight_zero_point).sum(axis=3)
    rows, columns = _phases(op.window.rows), _phases(op.window.columns)
    # Only taps of one phase of the stride meet in a pixel.
    met = [sizes[:, of_rows][:, :, of_columns].sum(axis=(1, 2)) for of_rows in rows for of_columns in columns]
    taps = max(len(phase) for phase in rows) * max(len(phase) for phase in columns)
    sums = np.max(met, axis=0) * max(127 - op.zero_point, op.zero_point + 128)
    roundings = weights.shape[3] + taps
    return Bounds.of(sums[:, np.newaxis], roundings, op.scale, scales.data, bias.data, op.output_scale)


def _phases(axis: Axis) -> list[list[int]]:
    """The taps that reach the same positions of the output."""
    phases: dict[int, list[int]] = {}
    for tap in range(axis.taps):
        phases.setdefault(tap * axis.dilation % axis.stride, []).append(tap)
    return list(phases.values())


def _prepare(site: Site) -> Body:
    op: FloatTransposeConv = site.op
    x, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    deciding = Deciding.of(bounds(op, site.inputs), op.scale, scales.data, bias.data, op.output_scale)
    _, height, width, channels = x.shape
    filters, _, _, depth = weights.shape
    values = {
        "rows": op.window.rows,
        "columns": op.window.columns,
        "batch": x.shape[0],
        "height": height,
        "width": width,
        "channels": channels,
        "depth": depth,
        "filter_count": filters,
        "filters_of_group": filters // (channels // depth),
        "out_height": op.output_size[0],
        "out_width": op.output_size[1],
        "zero_point": op.zero_point,
        "weight_zero_point": op.weight_zero_point,
        "scale": float_literal(op.scale),
        "output_scale": float_literal(op.output_scale),
        "output_zero_point": op.output_zero_point,
        "low": op.clamp[0],
        "high": op.clamp[1],
        "shift": deciding.shift,
    }
    constants = {"weights": weights.data, **deciding.constants}
    return Body(values, constants, frozenset({"clamp", "fused", "round_float"}), proof=PROOF)


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    op: FloatTransposeConv = site.op
    if max(op.window.rows.dilation, op.window.columns.dilation) > 1:
        return {}
    sizes = zip((op.window.rows, op.window.columns), site.inputs[0].shape[1:3], op.output_size, strict=True)
    rows, columns = (Reach.of_scattered(axis, size, wanted) for axis, size, wanted in sizes)
    return by_pixel(site, rows, columns, channelwise=False)


KERNELS = (
    Kernel(
        "float_transpose_conv.direct",
        FloatTransposeConv,
        _prepare,
        work=Rates(600, output=60, mac=11, in_float=True),
        overlaps=_overlaps,
    ),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("doubled", (1, 6, 4, 5), (6, 5, 2, 2), stride=2),
        _case("overlapping", (1, 6, 4, 5), (6, 5, 4, 3), stride=2, padding=1),
        _case("stride_one", (1, 3, 5, 4), (3, 4, 3, 3)),
        _case("stride_beyond_kernel", (1, 3, 3, 4), (3, 4, 2, 1), stride=3),
        _case("dilated", (1, 3, 3, 4), (3, 4, 2, 3), stride=2, dilation=2),
        _case("grown", (1, 3, 3, 4), (3, 4, 3, 3), stride=2, padding=1, grown=1),
        _case("groups", (1, 6, 4, 4), (6, 2, 3, 3), stride=2, groups=3),
        _case("depthwise", (1, 5, 4, 4), (5, 1, 4, 4), stride=2, padding=1, groups=5),
        _case("one_dimension", (1, 7, 9), (7, 4, 3), stride=2),
        _case("batch", (2, 3, 3, 4), (3, 4, 2, 2), stride=2),
        _case("one_scale", (1, 6, 4, 5), (6, 5, 2, 2), stride=2, per_channel=False),
        _case("no_bias", (1, 6, 4, 5), (6, 5, 2, 2), stride=2, bias=False),
        _case("uint8", (1, 6, 4, 5), (6, 5, 2, 2), stride=2, dtype="uint8"),
        _case("ties", (1, 8, 9, 9), (8, 8, 2, 2), stride=2, scales=(0.5, 0.25, 64.0), per_channel=False, bias=False),
        _case("saturated", (1, 6, 4, 5), (6, 5, 2, 2), stride=2, scales=(0.05, 0.02, 0.01)),
        _case("coarse", (1, 6, 4, 5), (6, 5, 2, 2), stride=2, scales=(0.05, 0.02, 40.0)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random transposed convolution."""
    groups = int(rng.choice([1, 1, 2, 3]))
    depth, filters, height, width, rows, columns = (int(size) for size in rng.integers(1, 6, 6))
    stride = int(rng.integers(1, 4))
    scales = np.exp(rng.uniform(np.log(0.003), np.log(0.3), 2))
    return _case(
        f"random_{rng.integers(1 << 30)}",
        (1, groups * depth, height + 1, width + 1),
        (groups * depth, filters, rows, columns),
        stride=stride,
        groups=groups,
        dilation=int(rng.integers(1, 3)),
        padding=int(rng.integers(0, 2)) if min(rows, columns) > 2 else 0,
        per_channel=bool(rng.random() < 0.5),
        bias=bool(rng.random() < 0.5),
        dtype=str(rng.choice(["int8", "uint8"])),
        scales=(float(scales[0]), float(scales[1]), float(scales.prod() * 60 * depth**0.5)),
        seed=int(rng.integers(1 << 30)),
    )


def _case(
    name: str,
    x: tuple[int, ...],
    weights: tuple[int, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: int = 0,
    grown: int = 0,
    groups: int = 1,
    per_channel: bool = True,
    bias: bool = True,
    dtype: str = "int8",
    scales: tuple[float, float, float] = (0.05, 0.004, 0.06),
    seed: int = 3,
) -> Case:
    rng = np.random.default_rng(seed)
    x_scale, weight_scale, y_scale = scales
    values = rng.integers(-127, 128, weights).astype(np.int8)
    filters, rank = weights[1] * groups, len(weights) - 2
    each = tuple((weight_scale * rng.uniform(0.3, 1, weights[1])).astype(np.float32).tolist())
    given = [CaseTensor(weights, "int8", each if per_channel else weight_scale, 0, 1, values)]
    if bias:
        data = rng.normal(0, 20 * y_scale, filters).astype(np.float32)
        given.append(CaseTensor((filters,), "float32", data=data))
    sizes = (
        (size - 1) * stride + (taps - 1) * dilation + 1 - 2 * padding + grown
        for size, taps in zip(x[2:], weights[2:], strict=True)
    )
    zero_points = (-9, 4) if dtype == "int8" else (131, 120)
    return Case(
        name,
        "ConvTranspose",
        (CaseTensor(x, dtype, x_scale, zero_points[0]), *given),
        (CaseTensor((x[0], filters, *sizes), dtype, y_scale, zero_points[1]),),
        {
            "strides": [stride] * rank,
            "dilations": [dilation] * rank,
            "pads": [padding] * 2 * rank,
            "output_padding": [grown] * rank,
            "group": groups,
        },
        suffix=ONNX,
    )
