"""DEPTHWISE_CONV_2D: each input channel with its own filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.interval import BoolArray
from tinygen.ir import Array, Tensor
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops.case import Case
from tinygen.ops.convolution import Convolution, convolution_body
from tinygen.ops.convolution_cases import convolution_case, random_convolution
from tinygen.ops.grouped import evened
from tinygen.ops.overlaps import by_window
from tinygen.ops.work import DEPTHWISE, DEPTHWISE_LOOPS, window_work

_UNROLLED_TAPS = 9
"""Windows up to 3x3 are written out; the loops of larger ones cost little beside their taps."""


@dataclass(frozen=True)
class DepthwiseConv2D(Convolution):
    """y[n,i,j,c*m+k] = clamp(requant(sum (x[..,c] - zero_point) * (w[ky,kx,c*m+k] - weight_zero_point) + b) + …).

    x (n, h, w, c), weights (1, kh, kw, c * m), bias (c * m); dtypes as in `Weighted`.
    """

    name: ClassVar[str] = "DEPTHWISE_CONV_2D"
    filter_axis: ClassVar[int] = 3

    def depth_problems(self, channels: int, weights: Sequence[int]) -> Iterator[str]:
        """Filters that do not divide into channels."""
        if weights[0] != 1 or channels == 0 or weights[3] % channels:
            yield f"a filter of shape {tuple(weights)} does not divide into {channels} input channels"

    def by_tap(self, taps: Array, x: Array) -> Array:
        """Each filter by its channel."""
        return np.asarray(taps[0] * np.repeat(x, taps.shape[3] // len(x)))

    def by_channel(self, taps: Array, x: Sequence[int]) -> Array:
        """Each filter for its own channel."""
        sums = taps.sum(axis=(0, 1, 2))
        whole = np.zeros((x[3], len(sums) // x[3], x[3]), sums.dtype)
        whole[np.arange(x[3]), :, np.arange(x[3])] = sums.reshape(x[3], -1)
        return whole.reshape(-1, x[3])

    def shaped(self, x: BoolArray, y: BoolArray, weights: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """As many filters for each channel that is left."""
        filters = y.reshape(len(x), -1)
        alive = x | filters.any(axis=1)
        return alive, evened(filters, alive).reshape(-1)

    def cut(self, weights: Array, x: BoolArray, y: BoolArray) -> Array:
        """The kept filters; those of channels that are gone are gone, too."""
        return np.asarray(weights[..., y])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One multiply-add of whole images per tap."""
        x, weights, bias = inputs
        filters = weights.shape[3]
        height, width = self.window.output_size(*x.shape[1:3])
        padded = self.window.pad(x.astype(np.int64) - self.zero_point, 0)
        repeated = np.repeat(padded, filters // x.shape[3], axis=3)
        acc = np.zeros((x.shape[0], height, width, filters), np.int64) + bias
        for ky, kx, view in self.window.tap_views(repeated, height, width):
            acc += view * (weights[0, ky, kx].astype(np.int64) - self.weight_zero_point)
        return (self.finished(acc, x.dtype),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a window over one channel."""
        return outputs[0].elements * self.window.taps


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    x, weights, _ = site.inputs
    return convolution_body(
        site,
        {
            "multiplier": weights.shape[3] // x.shape[3],
            "unrolled": op.window.taps <= _UNROLLED_TAPS and site.objective != "size",
        },
    )


def _work(site: Site) -> Work:
    taps = site.op.window.taps
    return window_work(site, DEPTHWISE if taps <= _UNROLLED_TAPS else DEPTHWISE_LOOPS, taps)


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    x, weights, _ = site.inputs
    return by_window(site, site.op.window, channelwise=weights.shape[3] == x.shape[3])


KERNELS = (Kernel("depthwise_conv_2d.direct", DepthwiseConv2D, _prepare, work=_work, overlaps=_overlaps),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("3x3", x=(1, 5, 6, 8), filters=8, kernel=(3, 3)),
        _case("multiplier", x=(1, 5, 4, 3), filters=12, kernel=(3, 3)),
        _case("even_rows", x=(1, 6, 9, 6), filters=6, kernel=(3, 3), activation="RELU", output_zero_point=-128),
        _case("stride_2_even", x=(1, 8, 10, 7), filters=7, kernel=(3, 3), stride=(2, 2), activation="RELU"),
        _case("stride_2_odd", x=(1, 9, 11, 2), filters=2, kernel=(3, 3), stride=(2, 2)),
        _case("columns_of_two", x=(1, 7, 5, 4), filters=4, kernel=(3, 2), padding="VALID", zero_point=11),
        _case("wide", x=(1, 12, 71, 5), filters=5, kernel=(3, 3)),
        _case("rather_wide", x=(1, 9, 24, 7), filters=7, kernel=(3, 3), activation="RELU"),
        _case("wide_stride_2", x=(1, 13, 70, 4), filters=4, kernel=(3, 3), stride=(2, 2), padding="VALID"),
        _case("six_columns", x=(1, 6, 6, 12), filters=12, kernel=(3, 3)),
        _case("halves", x=(1, 7, 12, 24), filters=24, kernel=(3, 3), activation="RELU", output_zero_point=-128),
        *(
            _case(
                name, x=x, filters=x[3], kernel=(3, 3), stride=(stride, stride), padding=padding, output_zero_point=-128
            )
            for name, x, stride, padding in (
                ("halves_inside", (1, 5, 10, 20), 1, "VALID"),
                ("halves_stride_2", (1, 9, 16, 21), 2, "SAME"),
                ("halves_above_and_below", (1, 8, 6, 23), 1, "SAME"),
                ("halves_above_and_below_inside", (1, 4, 8, 9), 1, "VALID"),
                ("halves_above_and_below_stride_2", (1, 12, 12, 17), 2, "SAME"),
                ("halves_in_bands", (1, 70, 32, 2), 1, "SAME"),
                ("halves_in_bands_stride_2", (1, 68, 32, 2), 2, "SAME"),
            )
        ),
        _case("large_kernel", x=(1, 10, 11, 5), filters=5, kernel=(9, 9)),
        _case("many_channels", x=(1, 4, 3, 1400), filters=1400, kernel=(3, 3)),
        _case("windows_inside", x=(1, 8, 7, 19), filters=19, kernel=(3, 3), stride=(2, 2), padding="VALID"),
        _case("column_inside", x=(1, 7, 1, 16), filters=16, kernel=(4, 1), padding="VALID", output_zero_point=-128),
        _case("rows_in_bands", x=(1, 24, 7, 10), filters=10, kernel=(3, 3)),
        _case("rows_in_bands_strided", x=(1, 26, 13, 19), filters=19, kernel=(3, 3), stride=(2, 2)),
        _case(
            "scale_of_its_own",
            x=(1, 5, 6, 9),
            filters=9,
            kernel=(3, 3),
            first_scale=3e-6,
            bias_limit=100_000,
            output_scale=0.01,
            output_zero_point=-128,
        ),
        _case("one_channel", x=(1, 9, 8, 1), filters=8, kernel=(5, 4), stride=(2, 2)),
        _case("one_pixel", x=(1, 1, 1, 5), filters=5, kernel=(3, 3)),
        _case("same_odd_total", x=(1, 6, 7, 3), filters=3, kernel=(4, 2)),
        _case("stride_beyond_kernel", x=(1, 11, 9, 2), filters=2, kernel=(2, 2), stride=(3, 4)),
        _case("dilated", x=(1, 9, 8, 3), filters=3, kernel=(3, 2), dilation=(2, 3)),
        _case("kernel_over_image", x=(1, 3, 2, 4), filters=4, kernel=(5, 7)),
        _case("whole_window_valid", x=(1, 7, 1, 6), filters=6, kernel=(7, 1), padding="VALID"),
        _case("inside", x=(1, 6, 7, 9), filters=9, kernel=(2, 3), stride=(2, 1), dilation=(2, 2), padding="VALID"),
        _case("relu6", x=(1, 4, 4, 4), filters=4, kernel=(3, 3), activation="RELU6", output_scale=0.02),
        _case("per_tensor", x=(1, 4, 5, 4), filters=4, kernel=(3, 3), per_channel=False),
        # Left out, as converters do: spelt as -1, it ends the original runtime's process.
        _case("no_bias", x=(1, 4, 5, 4), filters=4, kernel=(2, 2), bias=False),
        _case("batch", x=(2, 4, 3, 5), filters=5, kernel=(3, 3)),
        _case("zero_point_minus_128", x=(1, 4, 4, 2), filters=4, kernel=(3, 3), zero_point=-128),
        _case("gain_above_one", x=(1, 4, 4, 2), filters=2, kernel=(1, 1), output_scale=1e-4),
        _case("int16", x=(1, 5, 6, 7), filters=7, kernel=(3, 3), dtype="int16"),
        _case("int16_large_kernel", x=(1, 9, 9, 3), filters=6, kernel=(5, 4), dtype="int16", stride=(2, 2)),
        _case("int16_per_tensor", x=(1, 5, 6, 3), filters=3, kernel=(3, 3), dtype="int16", per_channel=False),
        _case("int16_dilated", x=(1, 9, 8, 3), filters=3, kernel=(3, 2), dtype="int16", dilation=(2, 3)),
        _case("int16_no_bias", x=(1, 4, 5, 4), filters=4, kernel=(2, 2), dtype="int16", bias=False),
        _case("int16_many_channels", x=(1, 3, 5, 290), filters=290, kernel=(3, 3), dtype="int16", stride=(1, 2)),
        _case("int16_one_column", x=(1, 6, 1, 16), filters=16, kernel=(3, 3), dtype="int16"),
        _case("int16_relu", x=(1, 4, 4, 4), filters=4, kernel=(3, 3), dtype="int16", activation="RELU"),
        _case(
            "int16_sums_int64",
            x=(1, 4, 4, 3),
            filters=3,
            kernel=(3, 3),
            dtype="int16",
            bias_limit=2**36,
            output_scale=900.0,
        ),
        _case("int4", x=(1, 5, 6, 3), filters=3, kernel=(3, 3), filter_dtype="int4", output_scale=0.02),
        _case("int4_large_kernel", x=(1, 9, 9, 1), filters=3, kernel=(5, 5), filter_dtype="int4", output_scale=0.02),
        _case(
            "int4_per_tensor",
            x=(1, 5, 6, 4),
            filters=8,
            kernel=(3, 3),
            filter_dtype="int4",
            per_channel=False,
            output_scale=0.02,
        ),
    )


def _case(name: str, **arguments: object) -> Case:
    return convolution_case(name, depthwise=True, **arguments)  # type: ignore[arg-type]


def random_case(rng: np.random.Generator) -> Case:
    """A random depthwise convolution."""
    return random_convolution(rng, depthwise=True)
