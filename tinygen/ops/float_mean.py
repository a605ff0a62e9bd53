"""Means, sums and norms as ONNX Runtime's ReduceMean, GlobalAveragePool and their like compute them in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, quantize
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, Clamp, full_range
from tinygen.ops.pool_sums import Means, Sums
from tinygen.ops.real_scales import Averaging, RealResults, RealScales
from tinygen.ops.work import Rates

LANES = 4
"""Of a vector of float32 on x86-64."""


class MeanOrder(Enum):
    """How the values of a channel are added up."""

    PAIRS = "by pairs of vectors, from a multiple of four on, as by Eigen, which ReduceMean calls"
    VECTORS = "by vectors, as by MLAS, which GlobalAveragePool calls"
    IN_TURN = "one after the other, as by ReduceMean along the first dimensions, or along some that lie apart"
    FOURS = "by fours, as by MLAS, which ReduceMean calls along inner dimensions: a row of ones by a matrix"
    ROWS = "by pairs of vectors in each row, as by Eigen, and row by row, as by ReduceMean along the first and the last"


class _Means(Averaging):
    """The means of the real values of each channel: (n, 1, 1, c) of (n, h, w, c).

    Each step is in float32, and sums are taken in one of these orders. By pairs, of the values of a channel, which
    follow each other in the file, those before the first multiple of four elements are left for later; then every
    eighth is added up, then the halves of eight sums, four more values, halves again, the values left out, and the
    rest. So a channel's sum depends on its place, and channels are never left out. By vectors, every fourth is added
    up, then the halves of four sums, and the rest. By fours, the sums of four are added up; of three that are left, two
    come first. By rows, which follow each other in the file channel by channel, the pairs of each are added up, and the
    sums of rows.
    """

    order: MeanOrder
    is_root: ClassVar[bool] = False
    """Whether the root of the sum is taken."""

    def terms(self, x: Shape) -> int:
        """How many values of an input (n, h, w, c) are added up for one result."""
        return x[1] * x[2]

    def divisor(self, x: Shape) -> int:
        """What a sum is divided by."""
        return self.terms(x)

    def means(self, x: Array) -> FloatArray:
        """Channel by channel."""
        rows = self.real_values(np.moveaxis(x, 3, 1))
        rows = rows.reshape(x.shape[0] * x.shape[3], x.shape[1] * x.shape[2])
        if self.order is MeanOrder.IN_TURN:
            sums = np.cumsum(rows, axis=1, dtype=np.float32)[:, -1]
        elif self.order is MeanOrder.VECTORS:
            sums = _by_vectors(rows)
        elif self.order is MeanOrder.FOURS:
            sums = _by_fours(rows)
        elif self.order is MeanOrder.ROWS:
            parts = by_pairs(np.moveaxis(rows.reshape(x.shape[0], x.shape[3], *x.shape[1:3]), 2, 1))
            sums = np.cumsum(parts, axis=1, dtype=np.float32)[:, -1].reshape(-1)
        else:
            sums = by_pairs(rows)
        mean = np.sqrt(sums) if self.is_root else sums / np.float32(self.divisor(x.shape))
        return np.asarray(mean.reshape(x.shape[0], 1, 1, x.shape[3]))


@dataclass(frozen=True)
class FloatMean(_Means, RealScales):
    """y[n, 0, 0, c] = clamp(rint(mean of (x[n, :, :, c] - zero_point) * scale / output_scale) + output_zero_point)."""

    name: ClassVar[str] = "MEAN"
    scale: float
    zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp
    order: MeanOrder = MeanOrder.PAIRS
    curve: tuple[float, ...] = ()

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 sums, ties to even"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and scales."""
        broken = list(super().problems(inputs))
        yield from broken
        if not broken:
            yield from self.scale_problems(self.terms(inputs[0].shape) // self.divisor(inputs[0].shape))

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, 1, 1, c)."""
        (x,) = inputs
        return (TensorType((x.shape[0], 1, 1, x.shape[3]), x.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Channel by channel."""
        (x,) = inputs
        y = quantize(self.means(x), self.output_scale, self.output_zero_point, *self.clamp)
        return (y.astype(x.dtype),)

    def by_sums(self, x: Shape) -> Sums | None:
        """The results for sums of int8 values of an input of this shape; None where such do not decide."""
        if self.curve or self.is_root:
            return None
        gain = self.scale / (self.output_scale * self.divisor(x))
        return Means(gain, self.terms(x), self.output_zero_point, self.clamp).by_sums(self.zero_point)


@dataclass(frozen=True)
class RealMean(RealResults, _Means):
    """y[n, 0, 0, c] = mean of (x[n, :, :, c] - zero_point) * scale, or of x of float32: float32, not quantised."""

    name: ClassVar[str] = "MEAN"
    scale: float
    zero_point: int
    order: MeanOrder
    curve: tuple[float, ...] = ()

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, 1, 1, c)."""
        (x,) = inputs
        return (TensorType((x.shape[0], 1, 1, x.shape[3]), FLOAT32),)

    def describe(self) -> str:
        """The result's type."""
        return "to float32"


class _Undivided(_Means):
    def divisor(self, x: Shape) -> int:
        """None."""
        return 1


@dataclass(frozen=True)
class FloatSum(_Undivided, FloatMean):
    """The same, but for the division by the number of values."""

    name: ClassVar[str] = "SUM"


@dataclass(frozen=True)
class RealSum(_Undivided, RealMean):
    """The same, but for the division by the number of values."""

    name: ClassVar[str] = "SUM"


@dataclass(frozen=True)
class FloatNorm(FloatSum):
    """The root of a sum: of squares, which the curve is."""

    name: ClassVar[str] = "NORM"
    is_root: ClassVar[bool] = True


@dataclass(frozen=True)
class RealNorm(RealSum):
    """The root of a sum: of squares, which the curve is."""

    name: ClassVar[str] = "NORM"
    is_root: ClassVar[bool] = True


def by_pairs(rows: FloatArray, *, from_multiples: bool = True) -> FloatArray:
    """Of rows (..., count), which follow each other in the file, from multiples of four elements on: (...,)."""
    count = rows.shape[-1]
    starts = [index * count if from_multiples else 0 for index in range(rows.size // count)]
    found = [_sum(row, _skipped(start, count)) for start, row in zip(starts, rows.reshape(-1, count), strict=True)]
    return np.array(found, np.float32).reshape(rows.shape[:-1])


def _skipped(start: int, count: int) -> int:
    """How many of the values from `start` on are left for later."""
    return min(-start % LANES, count)


def _sum(values: FloatArray, skipped: int) -> np.float32:
    pairs = (len(values) - skipped) // (2 * LANES)
    end = skipped + pairs * 2 * LANES
    lanes = np.zeros(2 * LANES, np.float32)
    for packet in values[skipped:end].reshape(pairs, 2 * LANES):
        lanes = lanes + packet
    halves = lanes[:LANES] + lanes[LANES:]
    if len(values) - end >= LANES:
        halves, end = halves + values[end : end + LANES], end + LANES
    total = (halves[0] + halves[2]) + (halves[1] + halves[3])
    for value in (*values[:skipped], *values[end:]):
        total = total + value
    return np.float32(total)


def _by_vectors(rows: FloatArray) -> FloatArray:
    """Of rows (n, count): (n,)."""
    end = rows.shape[1] // LANES * LANES
    lanes = np.zeros((len(rows), LANES), np.float32)
    for start in range(0, end, LANES):
        lanes = lanes + rows[:, start : start + LANES]
    total = (lanes[:, 0] + lanes[:, 2]) + (lanes[:, 1] + lanes[:, 3])
    for place in range(end, rows.shape[1]):
        total = total + rows[:, place]
    return np.asarray(total)


def _by_fours(rows: FloatArray) -> FloatArray:
    """Of rows (n, count): (n,)."""
    total = np.zeros(len(rows), np.float32)
    for start, end in _fours(rows.shape[1]):
        total = total + np.cumsum(rows[:, start:end], axis=1, dtype=np.float32)[:, -1]
    return np.asarray(total)


def _fours(count: int) -> Iterator[tuple[int, int]]:
    """Where the parts of so many values begin and end: fours, then two and one."""
    start = 0
    while start < count:
        size = min(4, count - start)
        size -= size == 3
        yield start, start + size
        start += size


def _prepare(site: Site) -> Body:
    op: FloatMean | RealMean = site.op
    batch, height, width, channels = site.inputs[0].shape
    by_rows = op.order is MeanOrder.ROWS
    pixels = width if by_rows else height * width
    sums = _sums(site)
    has_floats = sums is None or sums.near > 0
    is_of_reals = site.inputs[0].dtype == FLOAT32
    # Rows follow each other in the file: all channels of one, and then those of the next.
    values = {
        "batch": batch,
        "rows": height if by_rows else 1,
        "pixels": pixels,
        "channels": channels,
        "order": op.order.name,
        "divisor": op.divisor(site.inputs[0].shape),
        "has_skipped": op.order in _FROM_MULTIPLES and pixels % LANES != 0 and batch * channels * height > 1,
        "is_real": isinstance(op, RealMean),
        "is_of_reals": is_of_reals,
        "is_root": op.is_root,
        "sums": sums,
        "terms": op.terms(site.inputs[0].shape),
        "has_floats": has_floats,
    }
    helpers = ["square_root"] * op.is_root
    if isinstance(op, FloatMean):
        helpers += ["round_float"] * has_floats + ["clamp"] * (sums is None or sums.clamps)
        values |= {
            "real": (float_literal(op.scale), -op.zero_point),
            "scale": float_literal(op.output_scale),
            "zero_point": op.output_zero_point,
            "low": op.clamp[0],
            "high": op.clamp[1],
        }
    return Body(values, {"reals": op.reals()} if sums is None and not is_of_reals else {}, frozenset(helpers))


def _sums(site: Site) -> Sums | None:
    return site.op.by_sums(site.inputs[0].shape) if isinstance(site.op, FloatMean) else None


_IN_FLOAT = Rates(324, output=60, input=11, in_float=True)
_BY_SUMS = Rates(280, output=24, input=5)


def _work(site: Site) -> Work:
    return _IN_FLOAT(site) if _sums(site) is None else _BY_SUMS(site)


_FROM_MULTIPLES = (MeanOrder.PAIRS, MeanOrder.ROWS)
KERNELS = tuple(
    Kernel("float_mean.direct", op, _prepare, work=_work)
    for op in (FloatMean, FloatNorm, FloatSum, RealMean, RealNorm, RealSum)
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("image", (1, 5, 7, 7), (2, 3)),
        _case("no_dimensions", (1, 5, 4, 6), (2, 3), keep=0),
        _case("one_channel", (1, 1, 7, 9), (-1, -2)),
        _case("few_pixels", (1, 9, 1, 3), (2, 3)),
        _case("one_pixel", (1, 6, 1, 1), (2, 3)),
        _case("batch", (2, 3, 3, 5), (2, 3)),
        _case("rows", (3, 13), (1,)),
        _case("frames", (1, 30, 7), (1,), keep=0),
        _case("channels_last", (1, 5, 6, 11), (1, 2)),
        _case("batch_away", (9, 4), (0,)),
        _case("one_dimension", (1, 4, 18), (2,), keep=0),
        _case("everything", (1, 3, 4, 5), (1, 2, 3)),
        _case("exact_ties", (1, 40, 2, 2), (2, 3), scale=0.5, output_scale=0.5),
        _case("same_scale", (1, 40, 4, 4), (2, 3), output_scale=0.05),
        _case("uint8", (1, 5, 7, 7), (2, 3), dtype="uint8", zero_points=(3, 250)),
        _case("saturated", (1, 40, 3, 3), (2, 3), output_scale=0.003),
        _global_case("vectors", (1, 6, 5, 3)),
        _global_case("vectors_from_zero", (1, 130, 2, 4), zero_point=-128),
        _global_case("vectors_of_few", (1, 7, 1, 3), 0.4),
        _case("fours", (3, 30, 5), (1,)),
        _case("fours_and_three", (2, 7, 3, 2), (1,), keep=0),
        _case("fours_and_two", (1, 3, 6, 5), (-2,)),
        _case("few", (2, 3, 5), (1,)),
        _case("rows_apart", (3, 4, 3, 5), (0, 2, 3)),
        _case("rows_of_one", (1, 4, 11), (0, 2), keep=0),
        _case("axes_apart", (2, 5, 3, 4), (1, 3)),
        _case("sum", (1, 5, 7, 7), (2, 3), op="ReduceSum", output_scale=0.4),
        _case("sum_of_rows", (3, 4, 13), (0, 2), op="ReduceSum", output_scale=0.5, dtype="uint8", zero_points=(3, 250)),
        _case("sum_in_turn", (9, 4), (0,), op="ReduceSum", output_scale=0.1),
        _case("sum_same_scale", (3, 9, 4), (1,), op="ReduceSum", output_scale=0.05),
        _case("lengths", (3, 4, 5), (2,), op="ReduceL2", output_scale=0.1),
        _case("length", (2, 37), (0, 1), op="ReduceL2", output_scale=0.2),
        _case("lengths_to_float32", (1, 16, 3, 3), (1,), op="ReduceL2", output_scale=None),
        _case("absolute", (1, 5, 7, 7), (2, 3), op="ReduceL1", output_scale=0.7),
        _case(
            "squares", (1, 5, 7, 7), (1, 3), op="ReduceSumSquare", output_scale=0.9, dtype="uint8", zero_points=(3, 0)
        ),
        _case("to_float32", (1, 5, 7, 7), (2, 3), output_scale=None),
        _case("rows_to_float32", (3, 4, 3, 5), (0, 2, 3), output_scale=None, dtype="uint8", zero_points=(3, 0)),
        _case("sum_to_float32", (3, 30, 5), (1,), op="ReduceSum", output_scale=None),
        _global_case("vectors_to_float32", (1, 6, 5, 3), None),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random mean, or sum."""
    dtype = str(rng.choice(["int8", "uint8"]))
    scales = np.exp(rng.uniform(np.log(0.01), np.log(0.2), 2))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    shape = tuple(int(dim) for dim in rng.integers(1, 10, int(rng.integers(1, 5))))
    axes = rng.choice(len(shape), int(rng.integers(1, len(shape) + 1)), replace=False)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        shape,
        tuple(int(axis) for axis in axes),
        op=str(rng.choice(["ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"])),
        keep=int(rng.integers(2)),
        dtype=dtype,
        scale=float(scales[0]),
        output_scale=float(scales[int(rng.random() < 0.5)]) if rng.random() < 0.8 else None,
        zero_points=(int(zeros[0]), int(zeros[1])),
    )


def _case(
    name: str,
    x: Shape,
    axes: tuple[int, ...],
    *,
    op: str = "ReduceMean",
    keep: int = 1,
    dtype: str = "int8",
    scale: float = 0.05,
    output_scale: float | None = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
) -> Case:
    reduced = {axis % len(x) for axis in axes}
    kept = tuple(1 if axis in reduced else dim for axis, dim in enumerate(x))
    y = kept if keep else tuple(dim for axis, dim in enumerate(x) if axis not in reduced)
    assert math.prod(kept) == math.prod(y)
    given = CaseTensor((len(axes),), "int64", data=np.array(axes, np.int64))
    return Case(
        name,
        op,
        (CaseTensor(x, dtype, scale, zero_points[0]), given),
        (CaseTensor(y, dtype if output_scale else "float32", output_scale, zero_points[1]),),
        {"keepdims": keep},
        suffix=ONNX,
    )


def _global_case(name: str, x: Shape, output_scale: float | None = 0.06, zero_point: int = -11) -> Case:
    """From int8 to uint8, which ONNX Runtime does not fuse, or to float32."""
    return Case(
        name,
        "GlobalAveragePool",
        (CaseTensor(x, "int8", 0.1, zero_point),),
        (CaseTensor((*x[:2], *(1,) * (len(x) - 2)), "uint8" if output_scale else "float32", output_scale, 99),),
        suffix=ONNX,
    )
