"""CONV_2D and FULLY_CONNECTED as ONNX Runtime computes them where it does not fuse them: in float32.

The C sums integers. Only where what float32 may have rounded away decides on a result are its sums taken, too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.c_text import float_literal
from tinygen.fixedpoint import IntArray
from tinygen.float32 import FloatArray, dequantize, quantize
from tinygen.interval import BoolArray
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.conv_2d import is_contiguous
from tinygen.ops.float_channels import FloatWeighted
from tinygen.ops.float_closely import Closely, closely
from tinygen.ops.float_sums import PROOF, Bounds, Deciding, SumOrder, Way, operand_problems, scale_problems
from tinygen.ops.overlaps import by_window
from tinygen.ops.weighted import Weights
from tinygen.ops.window import Window, WindowLoops
from tinygen.ops.work import DEPTHWISE_LOOPS, WINDOW, dot_product_work, window_work

_OF_DECISION, _OF_SUM, _OF_TERM = 15, 70, 17
"""Instructions for a result by int64, and by float32, there beside those for each product."""
_CODE = 400
"""Bytes of both."""


@dataclass(frozen=True)
class FloatConv(FloatWeighted):
    """y[n,i,j,o] = clamp(rint((sum (x - zero_point) * scale * w[o,ky,kx,c] * scales[o] + bias[o]) / output_scale) + …).

    Every step is in float32. The sum is over channels, then rows, then columns of taps, added up as `order` says; taps
    outside the image are zeros. x (n, h, w, c), weights int8 (o, kh, kw, c / groups), their scales (o,) and the bias
    (o,) float32, all constants; y (n, oh, ow, o) int8.
    """

    name: ClassVar[str] = "CONV_2D"
    window: Window
    order: SumOrder

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and what the C does not decide."""
        x, weights, scales, bias = inputs
        broken = list(operand_problems(x, weights, scales, bias)) or list(self.window.problems(x.shape))
        yield from broken
        if not broken:
            assert scales.data is not None
            off = list(scale_problems(self.scale, self.output_scale, *scales.data.tolist()))
            yield from off or self.bounds(inputs).problems(self.output_scale)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, o)."""
        x, weights = inputs[:2]
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), weights.shape[0]), x.dtype),)

    def bounds(self, inputs: Sequence[Tensor]) -> Bounds:
        """What its sums can come to, whatever its input holds."""
        _, weights, scales, bias = inputs
        assert weights.data is not None and scales.data is not None and bias.data is not None
        rows, x = self._rows(weights.data), (-128 - self.zero_point, 127 - self.zero_point)
        return Bounds.of_order(self.order, rows, x, self.scale, scales.data, bias.data, self.output_scale)

    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """By where the window lies in the image."""
        return self.window.rows.tap_sets(x[1]), self.window.columns.tap_sets(x[2])

    def lacking(self, terms: int) -> tuple[FloatConv | None, FloatConv | None]:
        """Filters go where they are not counted, channels where no block begins after some."""
        order = self.order
        filters = self if order.way is not Way.LANES or not order.by_filter else None
        one_chain = order.way is Way.CHAIN and order.terms <= order.block
        return filters, dataclasses.replace(self, order=dataclasses.replace(order, terms=terms)) if one_chain else None

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The exact sums, quantised; those near to a tie as float32 has them."""
        x, weights, scales, bias = inputs
        tensors = [Tensor("", values.shape, values.dtype, None, values) for values in inputs]
        patches, rows = self._patches(x, weights.shape[3]), self._rows(weights)
        groups, filters = patches.shape[1], len(rows)
        totals = [common.trailing_matmul(patches[:, group], part) for group, part in enumerate(np.split(rows, groups))]
        factors = self.scale * scales.astype(np.float64)
        steps = (np.concatenate(totals, axis=-1) * factors + bias) / self.output_scale
        near = np.abs(steps - np.floor(steps) - 0.5) <= self.bounds(tensors).error + 2.0**-20
        y = np.clip(np.rint(steps).astype(np.int64) + self.output_zero_point, *self.clamp)
        found = self._float_sums(patches, rows, scales, bias, *np.nonzero(near))
        y[near] = quantize(found, self.output_scale, self.output_zero_point, *self.clamp)
        return (y.astype(x.dtype).reshape(x.shape[0], *self.window.output_size(*x.shape[1:3]), filters),)

    def sums(self, x: Array, weights: Array, scales: Array, bias: Array) -> FloatArray:
        """Real values of the output, all of them in the order of the runtime: (pixels, o)."""
        patches, rows = self._patches(x, weights.shape[3]), self._rows(weights)
        pixels, filters = np.indices((len(patches), len(rows))).reshape(2, -1)
        return self._float_sums(patches, rows, scales, bias, pixels, filters).reshape(len(patches), len(rows))

    def _float_sums(
        self, patches: IntArray, rows: IntArray, scales: Array, bias: Array, pixels: IntArray, filters: IntArray
    ) -> FloatArray:
        """(n,): of the pixels and filters given, both (n,)."""
        groups = patches.shape[1]
        of_group = len(rows) // groups
        reals = dequantize(patches[pixels, filters // of_group], self.scale, 0)
        factors = rows[filters].astype(np.float32) * scales[filters, np.newaxis]
        # An image's results, and a group's, are counted apart.
        places = filters % of_group, pixels % (len(patches) if self.order.by_filter else self.order.results)
        return np.asarray(self.order.sums(reals, factors, bias[filters], *places))

    def _patches(self, x: Array, depth: int) -> IntArray:
        """What each window holds, less the zero point: (pixels, groups, terms), terms by channel, row and column."""
        centred = x.astype(np.int64) - self.zero_point
        height, width = self.window.output_size(*x.shape[1:3])
        views = [view for _, _, view in self.window.tap_views(self.window.pad(centred, 0), height, width)]
        by_channel = np.stack(views, axis=-1)  # (n, oh, ow, c, taps)
        return by_channel.reshape(-1, x.shape[3] // depth, depth * self.window.taps)

    def _rows(self, weights: Array) -> IntArray:
        """(o, terms) in the same order."""
        centred = weights.astype(np.int64) - self.weight_zero_point
        return np.asarray(centred.transpose(0, 3, 1, 2).reshape(len(weights), -1))

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a full window over its group's channels."""
        return outputs[0].elements * self.window.taps * inputs[1].shape[3]

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def sum_values(site: Site) -> tuple[dict[str, object], frozenset[str]]:
    """What the C of sums in the runtime's order needs, and of its helpers: `templates/ops/float_conv.j2`."""
    op = site.op
    x, weights = site.inputs[:2]
    loops = WindowLoops.at(site)
    filters, *_, depth = weights.shape
    values: dict[str, object] = {
        "window": loops,
        "batch": x.shape[0],
        "depth": depth,
        "filter_size": op.window.taps * depth,
        "run": op.window.columns.taps * depth,
        "group_filters": filters // (x.shape[3] // depth),
        "order": op.order,
        "has_parts": op.order.way is not Way.LANES and int(op.order.parts[-1]) > 0,
        "way": op.order.way.name,
        "zero_point": op.zero_point,
        "weights": Weights(False, op.weight_zero_point),
        "scale": float_literal(op.scale),
    }
    return values, loops.helpers


def float_values(site: Site) -> tuple[dict[str, object], frozenset[str]]:
    """The same where sums decide between integers."""
    op: FloatConv = site.op
    values, helpers = sum_values(site)
    close = closely(site, op.bounds(site.inputs))
    more = {
        "output_scale": float_literal(op.output_scale),
        "output_zero_point": op.output_zero_point,
        "low": op.clamp[0],
        "high": op.clamp[1],
        "closely": close,
    }
    of_chain = {"fused_sum" if close else "fused"} if op.order.way is Way.CHAIN else set()
    return {**values, **more}, helpers | {"clamp", "round_float"} | of_chain


def _prepare(site: Site) -> Body:
    op: FloatConv = site.op
    _, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    deciding = Deciding.of(op.bounds(site.inputs), op.scale, scales.data, bias.data, op.output_scale)
    values, helpers = float_values(site)
    close = values["closely"]
    constants = close.constants if isinstance(close, Closely) else deciding.constants
    more = {
        "shift": deciding.shift,
        **common.blocks(len(weights.data), op.window.columns.taps * weights.shape[3], site.objective),
    }
    return Body({**values, **more}, {"weights": weights.data, **constants}, helpers, proof=PROOF)


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_window(site, site.op.window, channelwise=False)


def float_work(site: Site) -> int:
    """Instructions of the float32 sums on a Cortex-M4, about, if fractions of results are evenly spread."""
    op: FloatConv = site.op
    (y,) = site.outputs
    sums = y.elements * min(1.0, 2 * float(op.bounds(site.inputs).error.mean()))
    return round(sums * (_OF_SUM + _OF_TERM * op.window.taps * site.inputs[1].shape[3]))


def _work(site: Site) -> Work:
    """The sums of integers, as in ordinary convolutions; then each is decided in 64 bits, or in float32."""
    _, weights = site.inputs[:2]
    terms = math.prod(weights.shape[1:])
    if site.op.window.taps == 1:
        integers = dot_product_work(site, terms)
    else:
        lines = WINDOW if weights.shape[3] > 1 else DEPTHWISE_LOOPS
        integers = window_work(site, lines, terms)
    assert integers.instructions is not None
    decisions = _OF_DECISION * site.outputs[0].elements
    return Work(integers.instructions + decisions + float_work(site), integers.code + _CODE)


KERNELS = (
    Kernel("float_conv.direct", FloatConv, _prepare, accepts=is_contiguous, overlaps=_overlaps, work=_work),
    Kernel("float_conv.general", FloatConv, _prepare, overlaps=_overlaps, work=_work),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models: of int8, which ONNX Runtime does not fuse on x86."""
    return (
        conv_case("chain", (1, 6, 7, 8), (5, 6, 3, 3), padding=1),
        conv_case("blocks_of_128", (1, 30, 13, 12), (3, 30, 3, 3), padding=1),
        conv_case("groups", (2, 6, 9, 8), (9, 2, 3, 2), groups=3, padding=1, stride=2, dilation=2),
        conv_case("depthwise", (1, 7, 6, 5), (7, 1, 3, 3), groups=7, padding=1),
        conv_case("depthwise_of_6", (1, 6, 9, 7), (6, 1, 3, 3), groups=6, padding=1, stride=2),
        conv_case("depthwise_of_16", (1, 16, 5, 4), (16, 1, 3, 3), groups=16, padding=1),
        conv_case("pointwise_stride", (1, 6, 7, 9), (7, 6, 1, 1), stride=2),
        conv_case("pointwise_batch", (2, 37, 3, 4), (16, 37, 1, 1), lowest=True),
        conv_case("lowest", (1, 7, 6, 5), (5, 7, 3, 3), lowest=True),
        conv_case("many_taps", (1, 4, 7, 14), (3, 4, 5, 5), padding=2),
        conv_case("depthwise_three_left", (1, 3, 19), (3, 1, 3), groups=3, stride=2),
        conv_case("whole_rows", (1, 3, 9, 5), (3, 1, 3, 5), groups=3),
        conv_case("whole_image", (1, 6, 4, 4), (11, 6, 4, 4)),
        conv_case("whole_image_of_groups", (1, 18, 2, 2), (9, 6, 2, 2), groups=3, per_channel=False, bias=False),
        conv_case("ties", (1, 8, 19, 9), (8, 8, 2, 2), scales=(0.5, 0.25, 64.0), per_channel=False, bias=False),
        conv_case("saturated", (1, 6, 4, 5), (6, 6, 2, 2), scales=(0.05, 0.02, 0.01)),
        _product_case("product", (5, 40), 7),
        _product_case("product_of_one_row", (1, 43), 9),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random convolution."""
    groups = int(rng.choice([1, 1, 2, 3]))
    depth, filters, height, width, rows, columns = (int(size) for size in rng.integers(1, 7, 6))
    dilation = int(rng.integers(1, 3))
    scales = np.exp(rng.uniform(np.log(0.003), np.log(0.3), 2))
    sizes = ((rows - 1) * dilation + height, (columns - 1) * dilation + width)
    return conv_case(
        f"random_{rng.integers(1 << 30)}",
        (1, groups * depth, *sizes),
        (groups * filters, depth, rows, columns),
        stride=int(rng.integers(1, 4)),
        groups=groups,
        dilation=dilation,
        padding=int(rng.integers(0, 2)),
        per_channel=bool(rng.random() < 0.5),
        bias=bool(rng.random() < 0.5),
        scales=(float(scales[0]), float(scales[1]), float(scales.prod() * 60 * (depth * rows * columns) ** 0.5)),
        seed=int(rng.integers(1 << 30)),
    )


def conv_case(
    name: str,
    x: tuple[int, ...],
    weights: tuple[int, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: int = 0,
    groups: int = 1,
    per_channel: bool = True,
    bias: bool = True,
    scales: tuple[float, float, float] | None = None,
    lowest: bool = False,
    seed: int = 3,
) -> Case:
    """Of x (n, c, h, w), or (n, c, w), by weights (o, c / groups, kh, kw); scales are those of x, weights and y."""
    rng = np.random.default_rng(seed)
    filters, rank = weights[0], len(weights) - 2
    x_scale, weight_scale, y_scale = scales or (0.05, 0.004, 0.012 * math.prod(weights[1:]) ** 0.5)
    values = rng.integers(-127, 128, weights).astype(np.int8)
    values[:, :, :1] = -128 if lowest else values[:, :, :1]
    each = tuple((weight_scale * rng.uniform(0.3, 1, filters)).astype(np.float32).tolist())
    given = [CaseTensor(weights, "int8", each if per_channel else weight_scale, 0, 0, values)]
    if bias:
        data = rng.normal(0, 20 * y_scale, filters).astype(np.float32)
        given.append(CaseTensor((filters,), "float32", data=data))
    sizes = (
        (size + 2 * padding - (taps - 1) * dilation - 1) // stride + 1
        for size, taps in zip(x[2:], weights[2:], strict=True)
    )
    return Case(
        name,
        "Conv",
        (CaseTensor(x, "int8", x_scale, -9), *given),
        (CaseTensor((x[0], filters, *sizes), "int8", y_scale, 4),),
        {"strides": [stride] * rank, "dilations": [dilation] * rank, "pads": [padding] * 2 * rank, "group": groups},
        suffix=ONNX,
    )


def _product_case(name: str, x: tuple[int, int], filters: int) -> Case:
    values = np.random.default_rng(4).integers(-127, 128, (x[1], filters)).astype(np.int8)
    each = tuple(np.linspace(0.002, 0.004, filters, dtype=np.float32).tolist())
    return Case(
        name,
        "MatMul",
        (CaseTensor(x, "int8", 0.05, 7), CaseTensor(values.shape, "int8", each, 0, 1, values)),
        (CaseTensor((x[0], filters), "int8", 0.08, -3),),
        suffix=ONNX,
    )
