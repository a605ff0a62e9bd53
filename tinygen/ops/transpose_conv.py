"""TRANSPOSE_CONV: a convolution backwards, from each pixel to a window of the output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.interval import BoolArray
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case
from tinygen.ops.convolution_cases import random_transposed, transposed_case
from tinygen.ops.overlaps import Reach, by_pixel
from tinygen.ops.weighted import Weighted, weighted_body
from tinygen.ops.window import Window
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class TransposeConv(Weighted):
    """y[n,i,j,o] = clamp(requant(sum (x[n,iy,ix,c] - zero_point) * (w[o,ky,kx,c] - weight_zero_point) + b[o]) + …).

    The sum is over all input pixels and taps with i = iy * stride - before + ky, and j likewise: `window` is that of
    the convolution that leads from the output to the input. x (n, h, w, c), weights (o, kh, kw, c), bias (o), y
    (n, *output_size, o); dtypes as in `Weighted`.
    """

    name: ClassVar[str] = "TRANSPOSE_CONV"
    filter_rank: ClassVar[int] = 4
    filter_axis: ClassVar[int] = 0
    window: Window
    output_size: tuple[int, int]

    def input_problems(self, x: Tensor) -> Iterator[str]:
        """The rank."""
        yield from common.expect_rank(x, "input", 4)

    def shape_problems(self, x: Sequence[int], weights: Sequence[int]) -> Iterator[str]:
        """A filter of another depth, or a window larger than the output."""
        if x[3] != weights[3]:
            yield f"the input has {x[3]} channels, the filters have a depth of {weights[3]}"
        elif min(self.window.output_size(*self.output_size)) < 1:
            yield f"the {self.window.describe()} does not fit into the output of {self.output_size} pixels"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, *output_size, o) of the input's dtype."""
        x, weights, _ = inputs
        return (TensorType((x.shape[0], *self.output_size, weights.shape[0]), x.dtype),)

    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """By the phase of the stride, and at the borders."""
        rows = self.window.rows.scattered_tap_sets(x[1], self.output_size[0])
        return rows, self.window.columns.scattered_tap_sets(x[2], self.output_size[1])

    def by_tap(self, taps: Array, x: Array) -> Array:
        """All filters by all channels."""
        return np.asarray((taps @ x).transpose(1, 2, 0))

    def by_channel(self, taps: Array, x: Sequence[int]) -> Array:
        """Summed over the window."""
        return np.asarray(taps.sum(axis=(1, 2)))

    def cut(self, weights: Array, x: BoolArray, y: BoolArray) -> Array:
        """The kept filters, of the kept depth."""
        return np.asarray(weights[y][..., x])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """For each tap, the whole input is added to every stride-th output pixel."""
        x, weights, bias = inputs
        batch, height, width, _ = x.shape
        rows, columns = self.window.rows, self.window.columns
        filters = weights.shape[0]
        # As large as what the taps reach, or as the padded output.
        padded_height = max((height - 1) * rows.stride + rows.taps, rows.before + self.output_size[0])
        padded_width = max((width - 1) * columns.stride + columns.taps, columns.before + self.output_size[1])
        acc = np.zeros((batch, padded_height, padded_width, filters), np.int64) + bias
        centred = x.astype(np.int32) - self.zero_point
        for ky, kx, view in self.window.tap_views(acc, height, width):
            view += common.trailing_matmul(centred, weights[:, ky, kx].astype(np.int32) - self.weight_zero_point)
        inside = acc[:, rows.before :, columns.before :][:, : self.output_size[0], : self.output_size[1]]
        return (self.finished(inside, x.dtype),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every input pixel goes through the whole filter, also where a tap lands outside the output."""
        return inputs[0].elements * self.window.taps * inputs[1].shape[0]

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def _prepare(site: Site) -> Body:
    op: TransposeConv = site.op
    x, weights, bias = site.inputs
    assert bias.data is not None
    batch, height, width, depth = x.shape
    filters = weights.shape[0]
    values = {
        "rows": op.window.rows,
        "columns": op.window.columns,
        "batch": batch,
        "height": height,
        "width": width,
        "depth": depth,
        "out_height": op.output_size[0],
        "out_width": op.output_size[1],
        "filter_count": filters,
        "filter_size": op.window.taps * depth,
        **common.blocks(filters, depth, site.objective),
    }
    # How many taps reach a pixel depends on its place: the zero point is taken from each input value.
    return weighted_body(site, values, {"bias": bias.data.astype(np.int64)}, frozenset({"sources"}))


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    op: TransposeConv = site.op
    sizes = zip((op.window.rows, op.window.columns), site.inputs[0].shape[1:3], op.output_size, strict=True)
    rows, columns = (Reach.of_scattered(axis, size, wanted) for axis, size, wanted in sizes)
    return by_pixel(site, rows, columns, channelwise=False)


KERNELS = (
    Kernel("transpose_conv.direct", TransposeConv, _prepare, work=Rates(700, output=12, mac=6), overlaps=_overlaps),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        transposed_case("same", x=(1, 4, 5, 3), filters=5, kernel=(3, 4), stride=(2, 2)),
        transposed_case("valid", x=(1, 4, 5, 3), filters=5, kernel=(3, 4), stride=(2, 2), padding="VALID"),
        transposed_case("stride_one", x=(1, 5, 4, 4), filters=4, kernel=(3, 3)),
        transposed_case(
            "stride_beyond_kernel", x=(1, 3, 4, 2), filters=3, kernel=(2, 1), stride=(3, 4), padding="VALID"
        ),
        transposed_case("same_stride_beyond_kernel", x=(1, 3, 4, 2), filters=3, kernel=(2, 1), stride=(3, 4)),
        transposed_case("one_pixel", x=(1, 1, 1, 3), filters=4, kernel=(3, 3), stride=(2, 2)),
        transposed_case("one_channel", x=(1, 4, 4, 1), filters=1, kernel=(4, 4), stride=(2, 2)),
        transposed_case("kernel_over_image", x=(1, 2, 3, 4), filters=4, kernel=(7, 5)),
        transposed_case("odd_size", x=(1, 4, 5, 3), filters=4, kernel=(3, 3), stride=(2, 2), size=(7, 9)),
        # The runtimes take any size: beyond the taps, it is the bias alone.
        transposed_case(
            "larger", x=(1, 3, 3, 2), filters=4, kernel=(2, 3), stride=(2, 2), padding="VALID", size=(9, 12)
        ),
        transposed_case(
            "smaller", x=(1, 5, 5, 2), filters=4, kernel=(3, 3), stride=(2, 2), padding="VALID", size=(6, 5)
        ),
        transposed_case(
            "shape_at_run_time", x=(1, 3, 3, 2), filters=4, kernel=(3, 3), stride=(2, 2), shape_at_run_time=True
        ),
        transposed_case("batch", x=(2, 3, 4, 3), filters=6, kernel=(3, 2), stride=(2, 1)),
        transposed_case("no_bias", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), stride=(2, 2), bias=False),
        transposed_case("per_tensor", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), stride=(2, 2), per_channel=False),
        transposed_case("relu", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), stride=(2, 2), activation="RELU"),
        transposed_case("relu6", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), activation="RELU6", output_scale=0.02),
        transposed_case("gain_above_one", x=(1, 3, 3, 2), filters=3, kernel=(2, 2), stride=(2, 2), output_scale=1e-4),
        transposed_case("zero_point_zero", x=(1, 3, 3, 2), filters=3, kernel=(3, 3), zero_point=0),
        transposed_case("int16", x=(1, 4, 5, 3), filters=5, kernel=(3, 4), stride=(2, 2), dtype="int16"),
        transposed_case(
            "int16_row", x=(1, 1, 9, 8), filters=4, kernel=(1, 4), stride=(1, 2), padding="VALID", dtype="int16"
        ),
        transposed_case("int16_no_bias", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), dtype="int16", bias=False),
        transposed_case(
            "int16_bias_int16",
            x=(1, 4, 4, 3),
            filters=5,
            kernel=(3, 3),
            dtype="int16",
            bias_dtype="int16",
            bias_limit=32767,
        ),
        transposed_case("int16_relu", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), dtype="int16", activation="RELU"),
        transposed_case("int16_per_tensor", x=(1, 4, 4, 3), filters=5, kernel=(3, 3), dtype="int16", per_channel=False),
        transposed_case("int16_sums_int64", x=(1, 3, 3, 130), filters=3, kernel=(3, 3), dtype="int16"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random transposed convolution."""
    return random_transposed(rng)
