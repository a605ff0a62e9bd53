"""What several operators share: checks on their tensors, accumulator bounds, and the requantising step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import INT32_MAX, Requant
from tinygen.ir import Array, Tensor

INT8 = np.dtype(np.int8)
INT32 = np.dtype(np.int32)
FLOAT32 = np.dtype(np.float32)

Clamp = tuple[int, int]


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
    """Problems of an int8 input, a constant int8 filter of that rank, and a constant int32 bias."""
    return [
        *expect_dtype(x, "input", INT8),
        *expect_dtype(weights, "filter", INT8),
        *expect_dtype(bias, "bias", INT32),
        *expect_rank(weights, "filter", rank),
        *expect_constant(weights, "filter"),
        *expect_constant(bias, "bias"),
    ]


def channel_problems(bias: Tensor, requant: Requant, channels: int) -> Iterator[str]:
    """Problems of a bias or scales that are not one per output channel."""
    if bias.shape != (channels,):
        yield f"the bias has shape {bias.shape}, the filter has {channels} output channels"
    elif len(requant.multiplier) not in (1, channels):
        yield f"{len(requant.multiplier)} filter scales for {channels} output channels"


def accumulator_problems(
    weights: Array, bias: Array, zero_point: int, weight_zero_point: int, requant: Requant
) -> Iterator[str]:
    """A problem when some input could overflow an accumulator.

    `weights` is (channels, taps), `bias` (channels,). The bound also covers every partial sum, with the input's zero
    point folded into the bias or not: |b| + sum |w| (128 + |zero point|).
    """
    magnitude = np.abs(weights.astype(np.int64) - weight_zero_point).sum(axis=1)
    if weight_zero_point:  # the kernels may sum w and the zero point apart
        magnitude += weights.shape[1] * abs(weight_zero_point)
    bound = np.abs(bias.astype(np.int64)) + magnitude * (128 + abs(zero_point))
    limit = np.broadcast_to(requant.largest_accumulator(), bound.shape)
    worst = int(np.argmax(bound - limit))
    if bound[worst] > limit[worst]:
        width = "int32" if limit[worst] == INT32_MAX else f"{int(limit[worst])}, what its scale leaves of int32"
        yield f"the accumulator of channel {worst} can reach {int(bound[worst])}, more than {width}"


@dataclass(frozen=True)
class Finish:
    """Literals of the step from accumulator to output; per channel, multiplier and shift are constant arrays."""

    per_channel: bool
    multiplier: int
    right_shift: int
    left_shift: int
    has_left_shift: bool
    zero_point: int
    low: int
    high: int

    @property
    def helper(self) -> str:
        """The C helper that rescales."""
        return "requantise_wide" if self.has_left_shift else "requantise"


def finish(requant: Requant, zero_point: int, clamp: Clamp) -> tuple[Finish, Mapping[str, Array], frozenset[str]]:
    """Values, constant arrays and C helpers of the requantising step."""
    has_left_shift = any(shift > 0 for shift in requant.shift)
    values = Finish(
        per_channel=requant.per_channel,
        multiplier=requant.multiplier[0],
        right_shift=max(-requant.shift[0], 0),
        left_shift=max(requant.shift[0], 0),
        has_left_shift=has_left_shift,
        zero_point=zero_point,
        low=clamp[0],
        high=clamp[1],
    )
    constants: dict[str, Array] = {}
    if requant.per_channel:
        constants["multiplier"] = np.array(requant.multiplier, np.int32)
        shifts = np.array(requant.shift, np.int8)
        constants["shift"] = shifts if has_left_shift else -shifts
    return values, constants, frozenset({values.helper, "clamp"})


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
