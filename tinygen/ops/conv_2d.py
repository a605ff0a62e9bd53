"""CONV_2D: ordinary and grouped two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.convolution_cases import convolution_case, random_convolution
from tinygen.ops.window import Axis, Window, WindowLoops

_POINT = Window(Axis(1, 1), Axis(1, 1))


@dataclass(frozen=True)
class Conv2D(Op):
    """y[n,i,j,o] = clamp(requant(sum (x - zero_point) * w[o,ky,kx,c] + b[o]) + output_zero_point).

    x int8 (n, h, w, c), weights int8 (o, kh, kw, c / groups), bias int32 (o); taps outside the image count as zero.
    """

    name: ClassVar[str] = "CONV_2D"
    window: Window
    zero_point: int
    output_zero_point: int
    requant: Requant
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, ranks, channel counts and accumulator bounds."""
        x, weights, bias = inputs
        broken = [*common.expect_rank(x, "input", 4), *common.filter_problems(x, weights, bias, rank=4)]
        yield from broken
        if broken or weights.data is None or bias.data is None:
            return
        filters, depth = weights.shape[0], weights.shape[3]
        broken = list(common.channel_problems(bias, self.requant, filters))
        if broken:
            yield from broken
        elif depth == 0 or x.shape[3] % depth or filters % (x.shape[3] // depth):
            yield f"{x.shape[3]} input channels and {filters} filters of depth {depth} make no groups"
        elif min(self.window.output_size(*x.shape[1:3])) < 1:
            yield f"the {self.window.describe()} does not fit into the input {x.shape}"
        else:
            flat = weights.data.reshape(filters, -1)
            yield from common.accumulator_problems(flat, bias.data, self.zero_point, 0, self.requant)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, o) int8."""
        x, weights, _ = inputs
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), weights.shape[0]), INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """im2col and one exact matrix product per group."""
        x, weights, bias = inputs
        filters, _, _, depth = weights.shape
        groups = x.shape[3] // depth
        centred = x.astype(np.int32) - self.zero_point
        height, width = self.window.output_size(*x.shape[1:3])
        views = [view for _, _, view in self.window.tap_views(self.window.pad(centred, 0), height, width)]
        patches = np.stack(views, axis=3)  # (n, oh, ow, taps, c)
        per_group = filters // groups
        flat = weights.reshape(filters, -1)
        columns = []
        for group in range(groups):
            patch = patches[..., group * depth : (group + 1) * depth].reshape(*patches.shape[:3], -1)
            columns.append(common.trailing_matmul(patch, flat[group * per_group : (group + 1) * per_group]))
        acc = np.concatenate(columns, axis=-1) + bias
        y = np.clip(self.requant.apply(acc) + self.output_zero_point, *self.clamp)
        return (y.astype(np.int8),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a full window over its group's channels."""
        return outputs[0].elements * self.window.taps * inputs[1].shape[3]

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def _prepare(site: Site) -> Body:
    op: Conv2D = site.op
    x, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    filters, kernel_h, kernel_w, depth = weights.shape
    groups = x.shape[3] // depth
    loops = WindowLoops.of(op.window, x.shape, site.outputs[0].shape)
    final, constants, helpers = common.finish(op.requant, op.output_zero_point, op.clamp)
    tap_sums = weights.data.astype(np.int64).sum(axis=(1, 2, 3))
    biases = {"bias": (bias.data - op.zero_point * tap_sums).astype(np.int32)} if loops.has_inside else {}
    if loops.has_edge:
        biases["edge_bias"] = bias.data
    return Body(
        values={
            "window": loops,
            "batch": x.shape[0],
            "zero_point": op.zero_point,
            "depth": depth,
            "groups": groups,
            "group_filters": filters // groups,
            "filter_size": kernel_h * kernel_w * depth,
            "run": kernel_w * depth,
            "flat_pixels": 0 if op.window != _POINT else x.elements // depth,
            "finish": final,
            **common.blocks(filters, kernel_w * depth, site.objective),
        },
        constants={"weights": weights.data, **biases, **constants},
        helpers=helpers | ({"taps"} if loops.has_edge else frozenset()),
    )


def _is_pointwise(site: Site) -> bool:
    window: Window = site.op.window
    padding = (window.rows.before, window.rows.after, window.columns.before, window.columns.after)
    return _is_contiguous(site) and window.taps == 1 and not any(padding)


def _is_contiguous(site: Site) -> bool:
    """Whether a kernel row is one run of bytes, in the image as in the filter."""
    x, weights, _ = site.inputs
    return x.shape[3] == weights.shape[3] and site.op.window.columns.dilation == 1


KERNELS = (
    Kernel("conv_2d.pointwise", Conv2D, _prepare, accepts=_is_pointwise),
    Kernel("conv_2d.direct", Conv2D, _prepare, accepts=_is_contiguous),
    Kernel("conv_2d.general", Conv2D, _prepare),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        convolution_case("pointwise", x=(1, 5, 5, 8), filters=4, kernel=(1, 1)),
        convolution_case("one_pixel", x=(1, 1, 1, 3), filters=5, kernel=(3, 3)),
        convolution_case("same_odd_total", x=(1, 6, 7, 3), filters=4, kernel=(4, 2)),
        convolution_case("stride_beyond_kernel", x=(1, 11, 9, 2), filters=3, kernel=(1, 2), stride=(3, 4)),
        convolution_case("dilated", x=(1, 9, 8, 3), filters=5, kernel=(3, 2), dilation=(2, 3)),
        convolution_case("dilated_valid", x=(1, 9, 8, 3), filters=4, kernel=(3, 3), dilation=(2, 2), padding="VALID"),
        convolution_case("kernel_over_image", x=(1, 3, 2, 4), filters=4, kernel=(5, 7)),
        convolution_case("first_layer", x=(1, 12, 10, 1), filters=6, kernel=(5, 4), stride=(2, 2)),
        convolution_case("relu6", x=(1, 4, 4, 4), filters=8, kernel=(3, 3), activation="RELU6", output_scale=0.02),
        convolution_case("relu_n1_to_1", x=(1, 4, 4, 4), filters=8, kernel=(3, 3), activation="RELU_N1_TO_1"),
        convolution_case("per_tensor", x=(1, 4, 5, 4), filters=6, kernel=(3, 3), per_channel=False),
        convolution_case("no_bias", x=(1, 4, 5, 4), filters=6, kernel=(2, 2), bias=False),
        convolution_case("grouped", x=(1, 5, 5, 6), filters=9, kernel=(3, 3), groups=3),
        convolution_case("batch", x=(2, 4, 3, 5), filters=3, kernel=(2, 3), stride=(1, 2)),
        convolution_case("gain_above_one", x=(1, 4, 4, 2), filters=4, kernel=(1, 1), output_scale=1e-4),
        convolution_case("tiny_scale", x=(1, 4, 4, 2), filters=4, kernel=(3, 3), output_scale=900.0),
        convolution_case("zero_point_zero", x=(1, 4, 4, 2), filters=4, kernel=(3, 3), zero_point=0),
        convolution_case("zero_point_127", x=(1, 4, 4, 2), filters=4, kernel=(3, 3), zero_point=127),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random convolution."""
    return random_convolution(rng, depthwise=False)
