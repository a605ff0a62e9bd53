"""DEPTHWISE_CONV_2D: each input channel with its own filters."""

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
from tinygen.ops.window import Window, WindowLoops

_UNROLLED_TAPS = 9
"""Windows up to 3x3 are written out; the loops of larger ones cost little beside their taps."""


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    """y[n,i,j,c*m+k] = clamp(requant(sum (x[..,c] - zero_point) * w[ky,kx,c*m+k] + b[c*m+k]) + output_zero_point).

    x int8 (n, h, w, c), weights int8 (1, kh, kw, c * m), bias int32 (c * m); taps outside the image count as zero.
    """

    name: ClassVar[str] = "DEPTHWISE_CONV_2D"
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
        filters = weights.shape[3]
        broken = list(common.channel_problems(bias, self.requant, filters))
        if broken:
            yield from broken
        elif weights.shape[0] != 1 or x.shape[3] == 0 or filters % x.shape[3]:
            yield f"a filter of shape {weights.shape} does not divide into {x.shape[3]} input channels"
        elif min(self.window.output_size(*x.shape[1:3])) < 1:
            yield f"the {self.window.describe()} does not fit into the input {x.shape}"
        else:
            flat = weights.data.reshape(-1, filters).T
            yield from common.accumulator_problems(flat, bias.data, self.zero_point, 0, self.requant)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, c * m) int8."""
        x, weights, _ = inputs
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), weights.shape[3]), INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One multiply-add of whole images per tap."""
        x, weights, bias = inputs
        filters = weights.shape[3]
        height, width = self.window.output_size(*x.shape[1:3])
        padded = self.window.pad(x.astype(np.int64) - self.zero_point, 0)
        repeated = np.repeat(padded, filters // x.shape[3], axis=3)
        acc = np.zeros((x.shape[0], height, width, filters), np.int64) + bias
        for ky, kx, view in self.window.tap_views(repeated, height, width):
            acc += view * weights[0, ky, kx].astype(np.int64)
        y = np.clip(self.requant.apply(acc) + self.output_zero_point, *self.clamp)
        return (y.astype(np.int8),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a window over one channel."""
        return outputs[0].elements * self.window.taps

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    x, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    loops = WindowLoops.of(op.window, x.shape, site.outputs[0].shape)
    final, constants, helpers = common.finish(op.requant, op.output_zero_point, op.clamp)
    tap_sums = weights.data.astype(np.int64).sum(axis=(0, 1, 2))
    biases = {"bias": (bias.data - op.zero_point * tap_sums).astype(np.int32)} if loops.has_inside else {}
    if loops.has_edge:
        biases["edge_bias"] = bias.data
    return Body(
        values={
            "window": loops,
            "batch": x.shape[0],
            "zero_point": op.zero_point,
            "multiplier": weights.shape[3] // x.shape[3],
            "unrolled": loops.taps <= _UNROLLED_TAPS and site.objective != "size",
            "finish": final,
        },
        constants={"weights": weights.data, **biases, **constants},
        helpers=helpers | ({"taps"} if loops.has_edge else frozenset()),
    )


KERNELS = (Kernel("depthwise_conv_2d.direct", DepthwiseConv2D, _prepare),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("3x3", x=(1, 5, 6, 8), filters=8, kernel=(3, 3)),
        _case("multiplier", x=(1, 5, 4, 3), filters=12, kernel=(3, 3)),
        _case("one_channel", x=(1, 9, 8, 1), filters=8, kernel=(5, 4), stride=(2, 2)),
        _case("one_pixel", x=(1, 1, 1, 5), filters=5, kernel=(3, 3)),
        _case("same_odd_total", x=(1, 6, 7, 3), filters=3, kernel=(4, 2)),
        _case("stride_beyond_kernel", x=(1, 11, 9, 2), filters=2, kernel=(2, 2), stride=(3, 4)),
        _case("dilated", x=(1, 9, 8, 3), filters=3, kernel=(3, 2), dilation=(2, 3)),
        _case("kernel_over_image", x=(1, 3, 2, 4), filters=4, kernel=(5, 7)),
        _case("whole_window_valid", x=(1, 7, 1, 6), filters=6, kernel=(7, 1), padding="VALID"),
        _case("relu6", x=(1, 4, 4, 4), filters=4, kernel=(3, 3), activation="RELU6", output_scale=0.02),
        _case("per_tensor", x=(1, 4, 5, 4), filters=4, kernel=(3, 3), per_channel=False),
        _case("no_bias", x=(1, 4, 5, 4), filters=4, kernel=(2, 2), bias=False),
        _case("batch", x=(2, 4, 3, 5), filters=5, kernel=(3, 3)),
        _case("zero_point_minus_128", x=(1, 4, 4, 2), filters=4, kernel=(3, 3), zero_point=-128),
        _case("gain_above_one", x=(1, 4, 4, 2), filters=2, kernel=(1, 1), output_scale=1e-4),
    )


def _case(name: str, **arguments: object) -> Case:
    return convolution_case(name, depthwise=True, **arguments)  # type: ignore[arg-type]


def random_case(rng: np.random.Generator) -> Case:
    """A random depthwise convolution."""
    return random_convolution(rng, depthwise=True)
