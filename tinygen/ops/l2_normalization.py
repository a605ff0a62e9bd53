"""L2_NORMALIZATION over the last dimension, int8 to int8."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import INT32_MAX
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, full_range
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Rowwise
from tinygen.ops.work import Rates

_OUTPUT_FRACTION_BITS = 7
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class L2Normalization(Rowwise):
    """y = clamp(128 (x - zero_point) / sqrt(sum of (x - zero_point) ** 2)), the sum along the last dimension, in int32.

    The output's scale is 1/128 and its zero point 0. Source: ``integer_ops/l2normalization.h``.
    """

    name: ClassVar[str] = "L2_NORMALIZATION"
    zero_point: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, dimensions, and the length that leaves the sum in int32."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8)
        if not 1 <= len(x.shape) <= _MOST_DIMENSIONS:
            yield f"the input has {len(x.shape)} dimensions {x.shape}, supported are 1 to {_MOST_DIMENSIONS}"
        elif x.dtype == INT8:
            limit = INT32_MAX // max(abs(value - self.zero_point) for value in full_range(INT8)) ** 2
            if x.shape[-1] > limit:
                yield f"rows of {x.shape[-1]} overflow the sum of squares, the limit is {limit}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        difference = inputs[0].astype(np.int64) - self.zero_point
        total = (difference**2).sum(axis=-1, keepdims=True)
        multiplier, shift = fixedpoint.inverse_square_root(total)
        y = fixedpoint.multiply_by_quantized_multiplier(difference, multiplier, shift + _OUTPUT_FRACTION_BITS)
        return (np.clip(y, *full_range(INT8)).astype(np.int8),)


def _prepare(site: Site) -> Body:
    op: L2Normalization = site.op
    (x,) = site.inputs
    low, high = full_range(INT8)
    values = {
        "rows": math.prod(x.shape[:-1]),
        "depth": x.shape[-1],
        "zero_point": op.zero_point,
        "fraction_bits": _OUTPUT_FRACTION_BITS,
        "low": low,
        "high": high,
    }
    return Body(values, helpers=frozenset({"clamp", "inverse_root", "requantise_wide"}))


KERNELS = (
    Kernel("l2_normalization.direct", L2Normalization, _prepare, work=Rates(476, output=38), overlaps=side_by_side),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("plain", (1, 16), 3),
        _case("image", (1, 3, 5, 7), -11),
        _case("vector", (33,), 0),
        _case("rows_of_one", (5, 1), 9),
        _case("zero_point_low", (3, 40), -128),
        _case("zero_point_high", (3, 40), 127),
        # Beyond 2**29, the sum of squares is quartered first.
        _case("long", (2, 30_000), -128),
        _case("near_int32", (33_025,), -128),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random normalisation."""
    shape = tuple(int(dim) for dim in rng.integers(1, 30, int(rng.integers(1, 5))))
    return _case(f"random_{rng.integers(1 << 30)}", shape, int(rng.integers(-128, 128)))


def _case(name: str, shape: Shape, zero_point: int) -> Case:
    return Case(
        name,
        "L2_NORMALIZATION",
        (CaseTensor(shape, scale=0.05, zero_point=zero_point),),
        (CaseTensor(shape, scale=1 / 128),),
        {"fused_activation_function": "NONE"},
    )
