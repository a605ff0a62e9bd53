"""What several operators share: checks on their tensors, accumulator bounds, and the requantising step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.c_text import C_TYPES, float_literal
from tinygen.fixedpoint import INT32_MAX, IntArray, reduced_multiplier
from tinygen.ir import Array, Tensor
from tinygen.rescaling import FloatLine, FloatRequant, OpenLine, RealRequant, Requant, Rescaling, Rounding

INT8 = np.dtype(np.int8)
UINT8 = np.dtype(np.uint8)
INT16 = np.dtype(np.int16)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
FLOAT32 = np.dtype(np.float32)

STORED = (INT8, UINT8, INT16, INT32, FLOAT32)
"""What tensors between operators can be."""

Clamp = tuple[int, int]


def full_range(dtype: np.dtype[np.generic]) -> Clamp:
    """All values of an integer dtype."""
    info = np.iinfo(str(dtype))
    return int(info.min), int(info.max)


def expect_dtype(tensor: Tensor, role: str, *allowed: np.dtype[np.generic]) -> Iterator[str]:
    """A problem unless the tensor has one of the dtypes."""
    if tensor.dtype not in allowed:
        yield f"the {role} is {tensor.dtype}, supported is {' or '.join(str(dtype) for dtype in allowed)}"


def expect_rank(tensor: Tensor, role: str, rank: int) -> Iterator[str]:
    """A problem unless the tensor has the rank."""
    if len(tensor.shape) != rank:
        yield f"the {role} has {len(tensor.shape)} dimensions {tensor.shape}, expected are {rank}"


def expect_constant(tensor: Tensor, role: str) -> Iterator[str]:
    """A problem unless the tensor is a constant."""
    if tensor.data is None:
        yield f"the {role} is computed at run time, supported is a constant"


def filter_problems(x: Tensor, weights: Tensor, bias: Tensor, rank: int) -> list[str]:
    """Problems of an int8 or int16 input, a constant int8 filter of that rank, and a constant bias.

    The bias is int32; beside an int16 input it may be int64.
    """
    return [
        *expect_dtype(x, "input", INT8, INT16),
        *expect_dtype(weights, "filter", INT8),
        *expect_dtype(bias, "bias", INT32, *([INT64] if x.dtype == INT16 else [])),
        *expect_rank(weights, "filter", rank),
        *expect_constant(weights, "filter"),
        *expect_constant(bias, "bias"),
    ]


def differences(tensor: Tensor, zero_point: int) -> tuple[int, int]:
    """The least and the greatest x - zero_point: of a constant's values, or of all values of the dtype."""
    low, high = full_range(tensor.dtype)
    if tensor.data is not None:
        low, high = int(tensor.data.min()), int(tensor.data.max())
    return low - zero_point, high - zero_point


def rescaling_problems(what: str, low: int, high: int, requant: Rescaling) -> Iterator[str]:
    """A problem when a value from low to high, rescaled, could leave the accumulator's type on the way."""
    limit = int(requant.largest_accumulator()[0])
    if low < -limit - 1 or high > limit:
        yield f"{what} can reach {low if -low > high else high}, the scales leave {limit} of int32"


def channel_problems(bias: Tensor, requant: Rescaling, channels: int) -> Iterator[str]:
    """Problems of a bias or scales that are not one per output channel."""
    if bias.shape != (channels,):
        yield f"the bias has shape {bias.shape}, the filter has {channels} output channels"
    elif requant.channels not in (1, channels):
        yield f"{requant.channels} filter scales for {channels} output channels"


def accumulator_range(
    weights: Array, bias: Array, zero_point: int, weight_zero_point: int, x_range: Clamp = (-128, 127)
) -> tuple[IntArray, IntArray]:
    """The least and the greatest accumulator (channels,) that inputs of a range that holds the zero point can give.

    `weights` is (channels, taps), `bias` (channels,). Any part of the taps stays within it, too: that of a window over
    the border of an image.
    """
    centred = weights.astype(np.int64) - weight_zero_point
    ends = np.stack([centred * (x - zero_point) for x in x_range])
    start = bias.astype(np.int64)
    return start + np.minimum(ends.min(axis=0), 0).sum(axis=1), start + np.maximum(ends.max(axis=0), 0).sum(axis=1)


_FAR = 2**62


def accumulator_bound(
    weights: Array, bias: Array, zero_point: int, weight_zero_point: int, x_dtype: np.dtype[np.generic] = INT8
) -> IntArray:
    """What the |accumulator| of each channel can reach: |b| + sum |w| (largest |x| + |zero point|).

    `weights` is (channels, taps), `bias` (channels,). The bound also covers every partial sum, with the input's zero
    point folded into the bias or not.
    """
    magnitude = np.abs(weights.astype(np.int64) - weight_zero_point).sum(axis=1)
    if weight_zero_point:  # the kernels may sum w and the zero point apart
        magnitude += weights.shape[1] * abs(weight_zero_point)
    largest = -full_range(x_dtype)[0] + abs(zero_point)
    # Clipped, the bound stays within int64, and still beyond what any rescaling takes.
    return np.asarray(np.abs(np.clip(bias.astype(np.int64), -_FAR, _FAR)) + magnitude * largest, np.int64)


def accumulator_problems(
    weights: Array,
    bias: Array,
    zero_point: int,
    weight_zero_point: int,
    requant: Rescaling,
    x_dtype: np.dtype[np.generic] = INT8,
) -> Iterator[str]:
    """A problem when some input could take an accumulator beyond what its rescaling is defined for."""
    bound = accumulator_bound(weights, bias, zero_point, weight_zero_point, x_dtype)
    limit = np.broadcast_to(requant.largest_accumulator(), bound.shape)
    worst = int(np.argmax(bound - limit))
    if bound[worst] > limit[worst]:
        width = "int32" if limit[worst] == INT32_MAX else f"{int(limit[worst])}, what its scale leaves of int32"
        yield f"the accumulator of channel {worst} can reach {int(bound[worst])}, more than {width}"


@dataclass(frozen=True)
class Product:
    """Literals of a step that is the high half of one product, less what the helper takes."""

    scale: int
    """What sums are multiplied by first"""
    start: int
    """What is added to them then"""
    shift: int | None
    """None where it is a factor, one for each channel"""
    float_zero_point: int | None = None
    """The zero point, where what may be a tie is looked at again, as a float32 product"""

    @property
    def halves(self) -> int:
        """What is added to such a product, in halves of a step of the result."""
        return 2 * (self.float_zero_point or 0) + 1


@dataclass(frozen=True)
class Finish:
    """Literals of the step from accumulator to output; per channel, the helper's factors are constant arrays."""

    acc_type: str
    y_type: str
    helper: str
    """Empty where accumulator and output have the same scale."""
    per_channel: bool
    factors: Mapping[str, str]
    """Names and literals of what the helper takes after the accumulator."""
    zero_point: int
    low: int
    high: int
    product: Product | None = None
    """Given where the helper is ``high_product``"""


def finish(
    requant: Rescaling,
    zero_point: int,
    clamp: Clamp,
    y_dtype: np.dtype[np.generic] = INT8,
    bound: IntArray | None = None,
) -> tuple[Finish, Mapping[str, Array], frozenset[str]]:
    """Values, constant arrays and C helpers of the requantising step, in the form that the C helper takes them.

    `bound`: what each channel's |accumulator| can reach, which real factors ask for.
    """
    if not isinstance(requant, Requant):
        assert bound is not None and not isinstance(requant, OpenLine)
        helper, acc_type, factors = _real_factors(requant, bound, reach(zero_point, clamp))
    else:
        helper, acc_type, factors = _integer_factors(requant)
    values = Finish(
        acc_type=acc_type,
        y_type=C_TYPES[str(y_dtype)],
        helper=helper,
        per_channel=requant.per_channel,
        factors={name: _literal(array) for name, array in factors.items()},
        zero_point=zero_point,
        low=clamp[0],
        high=clamp[1],
    )
    return values, factors if requant.per_channel else {}, frozenset({"clamp", helper} - {""})


def _integer_factors(requant: Requant) -> tuple[str, str, Mapping[str, Array]]:
    """C helper, accumulator type, and what the helper takes."""
    multiplier, shift = np.array(requant.multiplier, np.int32), np.array(requant.shift, np.int8)
    if requant.rounding is Rounding.INT64:
        reduced = reduced_multiplier(multiplier).astype(np.int16)
        return "requantise_int64", "int64_t", {"multiplier": reduced, "shift": (15 - shift).astype(np.int8)}
    # Where no shift goes left, the helper takes the right shift itself.
    helper, shift = ("requantise_wide", shift) if shift.max() > 0 else ("requantise", -shift)
    return "" if requant.is_identity else helper, "int32_t", {"multiplier": multiplier, "shift": shift}


def _real_factors(
    requant: RealRequant | FloatRequant | FloatLine, bound: IntArray, reach: int
) -> tuple[str, str, Mapping[str, Array]]:
    """The same: integers that give the same results, or else, with few layers, the factors themselves."""
    if isinstance(requant, FloatLine):
        gains, offsets = np.array(requant.gains, np.float32), np.array(requant.offsets, np.float32)
        scales = np.full(requant.channels, requant.scale, np.float32)
        return "requantise_line", "int32_t", {"gain": gains, "offset": offsets, "scale": scales}
    integers = requant.in_integers(bound, reach)
    acc_type = "int32_t" if bound.max() <= INT32_MAX else "int64_t"
    if integers is None:
        if isinstance(requant, RealRequant):
            return "requantise_real", acc_type, {"factor": np.array(requant.factors)}
        factors: dict[str, Array] = {"factor": np.array(requant.factors, np.float32)}
        if not requant.added:
            return "requantise_float", acc_type, factors
        added = np.full(requant.channels, requant.added, np.int32)
        return "requantise_float_shifted", acc_type, factors | {"added": added}
    multiplier, shift = integers[0], integers[1].astype(np.int8)
    if acc_type == "int32_t" and multiplier.max() <= INT32_MAX:
        return "requantise_once", acc_type, {"multiplier": multiplier.astype(np.int32), "shift": shift}
    return "requantise_once_wide", acc_type, {"multiplier": multiplier, "shift": shift}


def _literal(array: Array) -> str:
    """The first element in C."""
    return float_literal(array[0]) if array.dtype == FLOAT32 else repr(array[0].item())


def reach(zero_point: int, clamp: Clamp) -> int:
    """How far from the zero point results can lie."""
    return max(abs(value - zero_point) for value in clamp)


def blocks(filters: int, run: int, objective: str) -> dict[str, int]:
    """How a dot product's loops are blocked.

    `block` filters at a time, up to `blocked`, share each load of an input value; a `remainder` is left. `unroll`
    terms of a `run` are written out in the inner loop.
    """
    block = 1 if objective == "size" else min(4, filters)
    blocked = filters // block * block
    unroll = math.gcd(run, 4) if objective == "speed" else 1
    return {"block": block, "blocked": blocked, "remainder": filters - blocked, "unroll": unroll}


def trailing_matmul(x: Array, weights: Array) -> Array:
    """x @ weights.T in exact integers: (..., k) by (channels, k) -> int64 (..., channels).

    Float64 carries every partial sum exactly while it stays below 2**53.
    """
    depth = weights.shape[-1]
    if depth * float(np.abs(x).max(initial=0)) * float(np.abs(weights).max(initial=0)) >= 2.0**53:
        raise OverflowError(f"a dot product of {depth} terms exceeds what float64 holds exactly")
    product = x.astype(np.float64) @ weights.astype(np.float64).T
    return product.astype(np.int64)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it: 25x5x64, without a leading batch of one."""
    dims = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return "x".join(str(dim) for dim in dims) or "scalar"
