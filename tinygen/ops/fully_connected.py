"""FULLY_CONNECTED: a matrix product over the last dimension."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.arrangement import numbers
from tinygen.interval import BoolArray, IntArray, Interval
from tinygen.ir import Arranged, Array, Masks, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.case import Case
from tinygen.ops.convolution_cases import declared_bias, filter_and_bias, input_tensor, output_tensor, random_dtypes
from tinygen.ops.overlaps import by_row
from tinygen.ops.weighted import Weighted, weighted_body
from tinygen.ops.work import dot_product_work


@dataclass(frozen=True)
class FullyConnected(Weighted):
    """y[r,o] = clamp(requant(sum (x[r,i] - zero_point) * (w[o,i] - weight_zero_point) + b[o]) + output_zero_point).

    x of any shape, read as rows of i elements; weights (o, i); bias (o); dtypes as in `Weighted`.
    """

    name: ClassVar[str] = "FULLY_CONNECTED"
    filter_rank: ClassVar[int] = 2
    filter_axis: ClassVar[int] = 0
    keep_num_dims: bool = False

    def shape_problems(self, x: Sequence[int], weights: Sequence[int]) -> Iterator[str]:
        """Inputs that are no rows."""
        depth = weights[1]
        if depth == 0 or math.prod(x) % depth or (self.keep_num_dims and tuple(x[-1:]) != (depth,)):
            yield f"the input {tuple(x)} does not divide into rows of {depth}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(rows, o), or the input's shape with its last dimension replaced, of the input's dtype."""
        x, weights, _ = inputs
        filters, depth = weights.shape
        shape: Shape = (*x.shape[:-1], filters) if self.keep_num_dims else (x.elements // depth, filters)
        return (TensorType(shape, x.dtype),)

    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """All weights, in all rows."""
        return np.ones((1, 1), np.bool_), np.ones((1, 1), np.bool_)

    def by_tap(self, taps: Array, x: Array) -> Array:
        """By the input's last dimension as often as it fits into a row; one tap."""
        return np.asarray(taps @ np.resize(x, taps.shape[1]))[np.newaxis, np.newaxis]

    def by_channel(self, taps: Array, x: Sequence[int]) -> Array:
        """A channel is as many columns as pixels make a row."""
        return np.asarray(taps.reshape(len(taps), -1, x[-1]).sum(axis=1))

    def kept_channels(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[BoolArray, ...] | None:
        """All, unless rows are made of whole pixels."""
        x, weights, _ = inputs
        return super().kept_channels(inputs, given, kept) if _has_whole_pixels(x, weights) else None

    def accumulators(self, inputs: Sequence[Tensor], x: Interval) -> Interval:
        """The same without telling channels apart unless rows are made of whole pixels."""
        image, weights, _ = inputs
        return super().accumulators(inputs, x if _has_whole_pixels(image, weights) else x.over((1,)))

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Rows whose elements are in another order, the same for all: the weights' columns are, too."""
        x, weights, bias = inputs
        if place != 0:
            return None
        rows, columns = np.divmod(order.reshape(-1, weights.shape[1]), weights.shape[1])
        if (rows != np.arange(len(rows))[:, np.newaxis]).any() or (columns != columns[:1]).any():
            return None
        (y,) = self.output_types(inputs)
        filter_order = numbers(weights.shape)[:, columns[0]]
        return Arranged(self, (order.reshape(x.shape), filter_order, numbers(bias.shape)), numbers(y.shape))

    def cut(self, weights: Array, x: BoolArray, y: BoolArray) -> Array:
        """The kept rows, of each pixel the kept columns."""
        return np.asarray(weights[y][:, np.resize(x, weights.shape[1])])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One exact matrix product."""
        x, weights, bias = inputs
        rows = x.reshape(-1, weights.shape[1]).astype(np.int32) - self.zero_point
        acc = common.trailing_matmul(rows, weights.astype(np.int32) - self.weight_zero_point) + bias
        shape = (*x.shape[:-1], weights.shape[0]) if self.keep_num_dims else acc.shape
        return (self.finished(acc, x.dtype).reshape(shape),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a row's dot product."""
        return outputs[0].elements * inputs[1].shape[1]


def _has_whole_pixels(x: Tensor, weights: Tensor) -> bool:
    return bool(x.shape) and weights.shape[1] % x.shape[-1] == 0


def _prepare(site: Site) -> Body:
    op: FullyConnected = site.op
    x, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    filters, depth = weights.shape
    values = {
        "rows": x.elements // depth,
        "depth": depth,
        "filters_count": filters,
        **common.blocks(filters, depth, site.objective),
    }
    return weighted_body(site, values, {"bias": op.folded_bias(weights.data, bias.data)})


def _work(site: Site) -> Work:
    return dot_product_work(site, site.inputs[1].shape[1])


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    filters, depth = site.inputs[1].shape
    return by_row(site, depth, filters)


KERNELS = (Kernel("fully_connected.direct", FullyConnected, _prepare, work=_work, overlaps=_overlaps),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("plain", (1, 13), 9),
        _case("one_by_one", (1, 1), 1),
        _case("rows", (5, 8), 6),
        _case("image", (1, 3, 4, 5), 7, depth=60),
        _case("keep_num_dims", (1, 3, 4), 7, keep_num_dims=True),
        _case("no_bias", (1, 12), 8, bias=False),
        _case("relu", (1, 12), 8, activation="RELU"),
        _case("relu6", (1, 12), 8, activation="RELU6", output_scale=0.02),
        _case("weight_zero_point", (2, 11), 6, weight_zero_point=5),
        _case("per_channel", (2, 11), 6, per_channel=True),
        _case("gain_above_one", (1, 4), 4, output_scale=1e-4),
        _case("deep", (1, 203), 9, output_scale=1.0),
        _case("sums_beyond_23_bits", (1, 1256), 5, output_scale=1.0),
        _case("deep_in_words", (1, 264), 7, output_scale=1.0),
        # The last results lie where half of the scratch memory may begin.
        _case("more_results_than_values", (1, 8), 19),
        _case("many_results", (1, 76), 131, output_scale=1.0),
        _case("many_results_per_channel", (1, 144), 173, per_channel=True, activation="RELU", output_scale=1.0),
        _case("few_values", (40, 7), 5, activation="RELU"),
        _case("lowest_weights", (1, 22), 3, lowest=True),
        _case("int16", (3, 13), 9, dtype="int16"),
        _case("int16_per_channel", (2, 11), 6, dtype="int16", per_channel=True),
        _case("int16_weight_zero_point", (2, 11), 6, dtype="int16", weight_zero_point=5),
        _case("int16_no_bias", (1, 12), 8, dtype="int16", bias=False),
        _case("int16_relu6", (1, 12), 8, dtype="int16", activation="RELU6"),
        _case("int16_deep", (1, 139), 11, dtype="int16"),
        _case("int16_deep_rows", (6, 147), 5, dtype="int16", per_channel=True, activation="RELU"),
        # The runtime sums in int32, and rounds twice, where the bias is int32.
        _case("int16_bias_int32", (2, 12), 8, dtype="int16", bias_dtype="int32"),
        _case("int16_sums_int64", (1, 1500), 5, dtype="int16"),
        _case("int4", (2, 13), 9, filter_dtype="int4", output_scale=0.05),
        _case("int4_weight_zero_point", (1, 12), 5, filter_dtype="int4", weight_zero_point=2, output_scale=0.05),
        _case("int4_no_bias", (1, 11), 5, filter_dtype="int4", bias=False, output_scale=0.05),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random layer."""
    return _case(
        f"random_{rng.integers(1 << 30)}",
        (int(rng.integers(1, 4)), int(rng.integers(1, 70))),
        int(rng.integers(1, 20)),
        activation=str(rng.choice(["NONE", "RELU", "RELU6"])),
        bias=bool(rng.random() < 0.8),
        zero_point=int(rng.integers(-128, 128)),
        output_scale=float(np.exp(rng.uniform(np.log(1e-3), np.log(5.0)))),
        **random_dtypes(rng, packed=True),
    )


def _case(
    name: str,
    x: Shape,
    filters: int,
    *,
    depth: int = 0,
    activation: str = "NONE",
    bias: bool = True,
    keep_num_dims: bool = False,
    zero_point: int = -5,
    weight_zero_point: int = 0,
    per_channel: bool = False,
    dtype: str = "int8",
    filter_dtype: str = "int8",
    bias_dtype: str = "",
    output_scale: float = 0.6,
    lowest: bool = False,
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    depth = depth or x[-1]
    weights, biases = filter_and_bias(
        rng,
        (filters, depth),
        0,
        dtype=dtype,
        filter_dtype=filter_dtype,
        per_channel=per_channel,
        bias_dtype=bias_dtype,
        lowest=lowest,
    )
    y = (*x[:-1], filters) if keep_num_dims else (math.prod(x) // depth, filters)
    return Case(
        name,
        "FULLY_CONNECTED",
        (
            input_tensor(x, dtype, zero_point),
            dataclasses.replace(weights, zero_point=weight_zero_point),
            biases if bias else None,
        ),
        (output_tensor(y, dtype, output_scale, -9),),
        {
            "fused_activation_function": activation,
            "keep_num_dims": keep_num_dims,
            **declared_bias(dtype, bias_dtype),
        },
    )
