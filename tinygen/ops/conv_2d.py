"""CONV_2D: ordinary and grouped two-dimensional convolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.interval import BoolArray
from tinygen.ir import Array, Tensor
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common, grouped
from tinygen.ops.case import Case
from tinygen.ops.convolution import Convolution, convolution_body
from tinygen.ops.convolution_cases import convolution_case, random_convolution
from tinygen.ops.overlaps import by_window
from tinygen.ops.window import Axis, Window
from tinygen.ops.work import WINDOW, dot_product_work, window_work

_POINT = Window(Axis(1, 1), Axis(1, 1))


@dataclass(frozen=True)
class Conv2D(Convolution):
    """y[n,i,j,o] = clamp(requant(sum (x - zero_point) * (w[o,ky,kx,c] - weight_zero_point) + b[o]) + …).

    x (n, h, w, c), weights (o, kh, kw, c / groups), bias (o); dtypes as in `Weighted`.
    """

    name: ClassVar[str] = "CONV_2D"
    filter_axis: ClassVar[int] = 0

    def depth_problems(self, channels: int, weights: Sequence[int]) -> Iterator[str]:
        """Filters that make no groups."""
        filters, depth = weights[0], weights[3]
        if depth == 0 or channels % depth or filters % (channels // depth):
            yield f"{channels} input channels and {filters} filters of depth {depth} make no groups"

    def by_tap(self, taps: Array, x: Array) -> Array:
        """Each group's filters by its channels."""
        return grouped.by_tap(taps, x)

    def by_channel(self, taps: Array, x: Sequence[int]) -> Array:
        """Each group's filters for its own channels."""
        return grouped.by_channel(taps, x[3])

    def shaped(self, x: BoolArray, y: BoolArray, weights: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """Of each group as many channels, and as many filters, or none."""
        return grouped.shaped(x, y, weights[3])

    def cut(self, weights: Array, x: BoolArray, y: BoolArray) -> Array:
        """The kept filters, each of the kept channels of its group."""
        return grouped.cut(weights, x, y)

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
        flat = weights.reshape(filters, -1).astype(np.int32) - self.weight_zero_point
        columns = []
        for group in range(groups):
            patch = patches[..., group * depth : (group + 1) * depth].reshape(*patches.shape[:3], -1)
            columns.append(common.trailing_matmul(patch, flat[group * per_group : (group + 1) * per_group]))
        return (self.finished(np.concatenate(columns, axis=-1) + bias, x.dtype),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a full window over its group's channels."""
        return outputs[0].elements * self.window.taps * inputs[1].shape[3]


def _prepare(site: Site) -> Body:
    op: Conv2D = site.op
    x, weights, _ = site.inputs
    filters, kernel_h, kernel_w, depth = weights.shape
    groups = x.shape[3] // depth
    return convolution_body(
        site,
        {
            "depth": depth,
            "groups": groups,
            "group_filters": filters // groups,
            "filter_size": kernel_h * kernel_w * depth,
            "run": kernel_w * depth,
            "flat_pixels": 0 if op.window != _POINT else x.elements // depth,
            **common.blocks(filters, kernel_w * depth, site.objective),
        },
    )


def _is_pointwise(site: Site) -> bool:
    window: Window = site.op.window
    padding = (window.rows.before, window.rows.after, window.columns.before, window.columns.after)
    return is_contiguous(site) and window.taps == 1 and not any(padding)


def is_contiguous(site: Site) -> bool:
    """Whether a kernel row is one run of bytes, in the image as in the filter."""
    x, weights = site.inputs[:2]
    return x.shape[3] == weights.shape[3] and site.op.window.columns.dilation == 1


def _dot_product_work(site: Site) -> Work:
    return dot_product_work(site, site.inputs[0].shape[3])


def _window_work(site: Site) -> Work:
    return window_work(site, WINDOW, math.prod(site.inputs[1].shape[1:]))


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_window(site, site.op.window, channelwise=False)


KERNELS = (
    Kernel("conv_2d.pointwise", Conv2D, _prepare, accepts=_is_pointwise, work=_dot_product_work, overlaps=_overlaps),
    Kernel("conv_2d.direct", Conv2D, _prepare, accepts=is_contiguous, work=_window_work, overlaps=_overlaps),
    Kernel("conv_2d.general", Conv2D, _prepare, work=_window_work, overlaps=_overlaps),
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
        convolution_case("long_and_narrow", x=(1, 49, 10, 1), filters=3, kernel=(10, 4), stride=(2, 2)),
        convolution_case("rows_of_five", x=(1, 9, 11, 1), filters=5, kernel=(5, 5), stride=(2, 2)),
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
        convolution_case("pointwise_two_pixels", x=(1, 2, 1, 37), filters=11, kernel=(1, 1), activation="RELU"),
        convolution_case(
            "pointwise_relu", x=(1, 4, 4, 5), filters=7, kernel=(1, 1), activation="RELU", output_zero_point=-128
        ),
        convolution_case("pointwise_stride", x=(1, 7, 9, 6), filters=5, kernel=(1, 1), stride=(3, 2)),
        convolution_case("pointwise_one_pixel", x=(1, 1, 1, 43), filters=7, kernel=(1, 1)),
        convolution_case("pointwise_one_channel", x=(1, 5, 3, 1), filters=3, kernel=(1, 1)),
        convolution_case("pointwise_few_values", x=(1, 9, 13, 5), filters=3, kernel=(1, 1), activation="RELU"),
        convolution_case("pointwise_rows_in_bands", x=(1, 8, 9, 5), filters=3, kernel=(1, 1)),
        convolution_case("pointwise_pairs_in_bands", x=(1, 8, 8, 8), filters=8, kernel=(1, 1), activation="RELU"),
        convolution_case("pointwise_deep", x=(2, 3, 3, 203), filters=3, kernel=(1, 1), output_scale=1.0),
        convolution_case("pointwise_deeper", x=(1, 3, 3, 299), filters=3, kernel=(1, 1), output_scale=1.0),
        convolution_case("pointwise_many_weights", x=(1, 5, 5, 56), filters=57, kernel=(1, 1), output_scale=0.5),
        convolution_case("lowest_weights", x=(1, 5, 5, 22), filters=3, kernel=(1, 1), lowest=True),
        convolution_case("odd_3x3", x=(1, 5, 6, 9), filters=9, kernel=(3, 3), output_scale=0.3),
        convolution_case("of_16_channels_3x3", x=(1, 5, 6, 16), filters=5, kernel=(3, 3), output_scale=0.5),
        convolution_case("valid_3x3", x=(1, 6, 11, 12), filters=4, kernel=(3, 3), padding="VALID", activation="RELU"),
        convolution_case("lowest_weights_3x3", x=(1, 4, 5, 6), filters=3, kernel=(3, 3), lowest=True),
        convolution_case("one_column", x=(1, 20, 1, 12), filters=5, kernel=(5, 1), padding="VALID"),
        convolution_case("whole_image", x=(1, 3, 4, 8), filters=11, kernel=(3, 4), padding="VALID"),
        convolution_case("end_of_the_image", x=(1, 7, 1, 9), filters=4, kernel=(5, 1), stride=(9, 1), padding="VALID"),
        convolution_case("windows_in_a_row", x=(2, 4, 6, 4), filters=5, kernel=(1, 3), stride=(1, 3)),
        convolution_case("whole_rows", x=(1, 6, 3, 5), filters=6, kernel=(2, 3), stride=(2, 3), activation="RELU"),
        convolution_case("many_filters", x=(1, 1, 8, 1), filters=700, kernel=(1, 2), output_scale=0.1),
        convolution_case("deep_3x3", x=(1, 3, 4, 70), filters=3, kernel=(3, 3)),
        convolution_case("sums_beyond_23_bits_3x3", x=(1, 3, 4, 131), filters=3, kernel=(3, 3), output_scale=1.0),
        convolution_case(
            "pointwise_sums_beyond_23_bits", x=(1, 1, 3, 1231), filters=3, kernel=(1, 1), output_scale=1.0
        ),
        convolution_case("strided_3x3", x=(1, 9, 10, 9), filters=5, kernel=(3, 3), stride=(2, 2)),
        convolution_case(
            "strided_valid_3x3", x=(1, 6, 18, 8), filters=4, kernel=(3, 3), stride=(2, 2), padding="VALID"
        ),
        convolution_case("inside_of_a_border", x=(1, 261, 15, 3), filters=2, kernel=(3, 3)),
        convolution_case("many_taps", x=(1, 7, 14, 4), filters=3, kernel=(5, 5), output_scale=1.0),
        convolution_case("many_filters_3x3", x=(1, 4, 14, 3), filters=41, kernel=(3, 3), stride=(1, 2), lowest=True),
        convolution_case("int16", x=(1, 6, 7, 3), filters=6, kernel=(4, 2), dtype="int16"),
        convolution_case("int16_pointwise", x=(1, 5, 5, 8), filters=7, kernel=(1, 1), dtype="int16"),
        convolution_case(
            "int16_per_tensor", x=(1, 6, 7, 3), filters=5, kernel=(3, 3), dtype="int16", per_channel=False
        ),
        convolution_case("int16_grouped", x=(1, 5, 5, 6), filters=9, kernel=(3, 3), dtype="int16", groups=3),
        convolution_case("int16_dilated", x=(1, 9, 8, 3), filters=5, kernel=(3, 2), dtype="int16", dilation=(2, 3)),
        convolution_case("int16_no_bias", x=(1, 4, 5, 4), filters=6, kernel=(2, 2), dtype="int16", bias=False),
        convolution_case("int16_relu6", x=(1, 4, 4, 4), filters=8, kernel=(3, 3), dtype="int16", activation="RELU6"),
        convolution_case("int16_of_8_channels", x=(1, 5, 6, 8), filters=5, kernel=(3, 3), dtype="int16"),
        convolution_case("int16_one_channel", x=(1, 9, 8, 1), filters=7, kernel=(6, 4), dtype="int16", stride=(2, 2)),
        convolution_case("int16_few_channels", x=(1, 3, 3, 4), filters=3, kernel=(1, 1), dtype="int16"),
        convolution_case("int16_many_pixels", x=(1, 12, 16, 8), filters=3, kernel=(1, 1), dtype="int16"),
        convolution_case("int16_one_row", x=(1, 1, 1, 20), filters=11, kernel=(1, 1), dtype="int16"),
        # The runtime sums in int32, and rounds twice, where the bias is int32.
        convolution_case(
            "int16_bias_int32", x=(1, 4, 5, 4), filters=6, kernel=(2, 2), dtype="int16", bias_dtype="int32"
        ),
        convolution_case("int16_sums_int64", x=(1, 3, 4, 128), filters=5, kernel=(3, 3), dtype="int16"),
        convolution_case(
            "int16_sums_int64_general", x=(1, 7, 7, 128), filters=3, kernel=(3, 3), dtype="int16", dilation=(2, 2)
        ),
        convolution_case(
            "int16_bias_beyond_int32",
            x=(1, 4, 4, 3),
            filters=4,
            kernel=(1, 1),
            dtype="int16",
            bias_limit=2**36,
            output_scale=900.0,
        ),
        convolution_case(
            "int16_gain_above_one", x=(1, 4, 4, 2), filters=4, kernel=(1, 1), dtype="int16", output_scale=1e-4
        ),
        convolution_case("int4", x=(1, 6, 7, 3), filters=5, kernel=(3, 3), filter_dtype="int4", output_scale=0.05),
        convolution_case(
            "int4_pointwise", x=(1, 5, 5, 7), filters=5, kernel=(1, 1), filter_dtype="int4", output_scale=0.05
        ),
        convolution_case(
            "int4_per_tensor",
            x=(1, 5, 5, 2),
            filters=7,
            kernel=(3, 2),
            filter_dtype="int4",
            per_channel=False,
            output_scale=0.05,
        ),
        convolution_case(
            "int4_grouped", x=(1, 5, 5, 9), filters=9, kernel=(3, 3), filter_dtype="int4", groups=3, output_scale=0.05
        ),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random convolution."""
    return random_convolution(rng, depthwise=False)
