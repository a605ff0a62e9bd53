"""MEAN, SUM, REDUCE_MAX and REDUCE_MIN over any axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygen.access import Spacing
from tinygen.arrangement import Axes, along_axes, permuted
from tinygen.interval import IntArray
from tinygen.ir import Arranged, Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, full_range
from tinygen.ops.overlaps import by_reduction
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.traits import Channelwise, Increasing
from tinygen.ops.work import Rates
from tinygen.rescaling import Rescaling


@dataclass(frozen=True)
class _Reduction(Increasing, Channelwise):
    dtypes: ClassVar[tuple[np.dtype[Any], ...]]
    axes: tuple[int, ...]  # ascending, from 0
    keep_dims: bool

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", *self.dtypes)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """Without the reduced dimensions, or with ones in their place."""
        return (TensorType(reduced_shape(inputs[0].shape, self.axes, self.keep_dims), inputs[0].dtype),)

    def links(self, inputs: Sequence[Tensor]) -> Sequence[IntArray] | None:
        """None where channels are what is reduced."""
        return None if len(inputs[0].shape) - 1 in self.axes else super().links(inputs)

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Over the axes wherever they are."""
        x = inputs[0].shape

        def rebuilt(axes: Axes) -> tuple[Op, Shape]:
            where = tuple(place for place, axis in enumerate(axes) if axis in self.axes)
            return dataclasses.replace(self, axes=where), reduced_shape(permuted(x, axes), where, self.keep_dims)

        return along_axes(inputs, place, order, reduced_shape(x, self.axes, True), rebuilt)

    def describe(self) -> str:
        """Axes."""
        axes = " and ".join(str(axis) for axis in self.axes)
        return f"over {'axis' if len(self.axes) == 1 else 'axes'} {axes}" if axes else ""


@dataclass(frozen=True)
class _Total(_Reduction):
    """y = clamp(requant(sum of (x - zero_point)) + output_zero_point)."""

    dtypes = (INT8, INT16)
    zero_point: int
    output_zero_point: int
    requant: Rescaling

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the sum's bound, with the zero point in every term or subtracted at the end."""
        broken = list(super().problems(inputs))
        yield from broken
        if not broken:
            lowest, _ = full_range(inputs[0].dtype)
            bound = _count(inputs[0].shape, self.axes) * (abs(self.zero_point) - lowest)
            yield from common.rescaling_problems("the sum", -bound, bound, self.requant)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        (x,) = inputs
        total = (x.astype(np.int64) - self.zero_point).sum(axis=self.axes, keepdims=self.keep_dims)
        return (self.rescaled(np.asarray(total, np.int64), x.dtype),)

    def rescaled(self, total: IntArray, dtype: np.dtype[Any]) -> Array:
        """The results of sums."""
        y = self.requant.apply(total) + self.output_zero_point
        # One multiplier for all gives a scalar one dimension.
        return np.asarray(np.clip(y, *full_range(dtype)).astype(dtype).reshape(total.shape))


@dataclass(frozen=True)
class Mean(_Total):
    """y = clamp(requant(sum of (x - zero_point)) + output_zero_point); `requant` contains 1 / number of terms."""

    name: ClassVar[str] = "MEAN"


@dataclass(frozen=True)
class Sum(_Total):
    """y = clamp(requant(sum of (x - zero_point)) + output_zero_point)."""

    name: ClassVar[str] = "SUM"


@dataclass(frozen=True)
class ReduceMax(_Reduction):
    """y = the largest x; input and output share scale and zero point."""

    name: ClassVar[str] = "REDUCE_MAX"
    dtypes = (INT8,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The maximum."""
        return (np.asarray(inputs[0].max(axis=self.axes, keepdims=self.keep_dims), np.int8),)


@dataclass(frozen=True)
class ReduceMin(_Reduction):
    """y = the smallest x; input and output share scale and zero point."""

    name: ClassVar[str] = "REDUCE_MIN"
    dtypes = (INT8,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The minimum."""
        return (np.asarray(inputs[0].min(axis=self.axes, keepdims=self.keep_dims), np.int8),)


def reduced_shape(shape: Shape, axes: Sequence[int], keep_dims: bool) -> Shape:
    """Without these dimensions, or with ones in their place."""
    if keep_dims:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def _count(shape: Shape, axes: Sequence[int]) -> int:
    return int(np.prod([shape[axis] for axis in axes], dtype=np.int64))


class Loop(NamedTuple):
    """One loop over adjacent dimensions that all stay, or are all reduced."""

    variable: str
    trips: int
    stride: int
    is_reduced: bool


def reduction_loops(shape: Shape, axes: Sequence[int]) -> tuple[Loop, ...]:
    """The fewest loops over the input, in its order; dimensions of one need none.

    Variables are k0, k1, … where the dimension is kept and r0, r1, … where it is reduced.
    """
    spans: list[tuple[int, bool]] = []
    for axis, dim in enumerate(shape):
        if dim == 1:
            continue
        if spans and spans[-1][1] == (axis in axes):
            spans[-1] = (spans[-1][0] * dim, spans[-1][1])
        else:
            spans.append((dim, axis in axes))
    loops = []
    for index, (trips, is_reduced) in enumerate(spans):
        number = sum(before == is_reduced for _, before in spans[:index])
        stride = int(np.prod([inner for inner, _ in spans[index + 1 :]], dtype=np.int64))
        loops.append(Loop(f"{'r' if is_reduced else 'k'}{number}", trips, stride, is_reduced))
    return tuple(loops)


def element(loops: Sequence[Loop]) -> str:
    """The C expression of the input's element inside the loops."""
    terms = [f"{loop.variable} * {loop.stride}" if loop.stride > 1 else loop.variable for loop in loops]
    return f"x[{' + '.join(terms) or '0'}]"


def loop_values(loops: Sequence[Loop]) -> dict[str, object]:
    """What the template `reduce` needs: the loops apart, and the element inside them."""
    return {
        "kept": [loop for loop in loops if not loop.is_reduced],
        "reduced": [loop for loop in loops if loop.is_reduced],
        "value": element(loops),
    }


def _prepare(site: Site) -> Body:
    op: _Reduction = site.op
    return Body(loop_values(reduction_loops(site.inputs[0].shape, op.axes)))


def _prepare_total(site: Site) -> Body:
    op: _Total = site.op
    (x, *_) = site.inputs
    count = _count(x.shape, op.axes)
    low, high = (count * (value - op.zero_point) for value in full_range(x.dtype))
    final = finish_within(op.requant, op.output_zero_point, full_range(x.dtype), x.dtype, low, high)
    return Body(
        {**loop_values(reduction_loops(x.shape, op.axes)), "start": -op.zero_point * count, "finish": final.finish},
        final.constants,
        final.helpers,
        proof=final.proof,
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_reduction(site, site.op.axes)


KERNELS = (
    Kernel("mean.direct", Mean, _prepare_total, work=Rates(92, output=19, input=4.2), overlaps=_overlaps),
    Kernel("sum.direct", Sum, _prepare_total, work=Rates(76, output=19, input=4.2), overlaps=_overlaps),
    Kernel("reduce_max.direct", ReduceMax, _prepare, work=Rates(66, output=3, input=6.2), overlaps=_overlaps),
    Kernel("reduce_min.direct", ReduceMin, _prepare, work=Rates(66, output=3, input=6.2), overlaps=_overlaps),
)

_OPS = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    shared = tuple(
        _case(f"{op.lower()}_{name}", op, **arguments)  # type: ignore[arg-type]
        for op in _OPS
        for name, arguments in {
            "image": {"x": (1, 5, 6, 3), "axes": (1, 2)},
            "image_kept_dims": {"x": (1, 5, 6, 3), "axes": (1, 2), "keep_dims": True},
            "any_order_and_sign": {"x": (2, 5, 6, 3), "axes": (-2, 1)},
            "channels": {"x": (1, 4, 3, 7), "axes": (-1,), "keep_dims": True},
            "batch": {"x": (3, 2, 5), "axes": (0,)},
            "apart": {"x": (2, 5, 3, 4), "axes": (1, 3)},
            "axis_twice": {"x": (2, 5, 3), "axes": (1, -2)},
            "scalar_axis": {"x": (2, 5, 3), "axes": (1,), "scalar_axis": True},
            "to_scalar": {"x": (6, 7), "axes": (0, 1)},
            "vector_to_scalar": {"x": (13,), "axes": (0,)},
            "axis_of_one": {"x": (3, 1, 5), "axes": (1,)},
            "one_value": {"x": (1, 1), "axes": (1,)},
            "scalar": {"x": (), "axes": (0,)},
            "three_axes": {"x": (2, 3, 4, 5), "axes": (1, 2, 3)},
            "all_axes": {"x": (2, 3, 4, 5), "axes": (0, 1, 2, 3)},
            "five_dims": {"x": (2, 3, 2, 3, 2), "axes": (1, 3)},
            "six_dims": {"x": (2, 3, 2, 3, 2, 2), "axes": (1, 3)},
        }.items()
    )
    totals = tuple(
        _case(f"{op.lower()}_{name}", op, (1, 7, 9, 4), (1, 2), scale=scale, output_scale=output_scale)
        for op in ("MEAN", "SUM")
        for name, (scale, output_scale) in {
            "same_scale": (0.05, 0.05),
            "fine_output": (0.5, 0.0007),
            "coarse_output": (0.0004, 3.0),
            # The multiplier has no shift left for the number of terms.
            "vanishing": (1e-9, 1.9),
            "below_the_multiplier": (1e-9, 10.0),
        }.items()
    )
    # A sum of 18 + 24 k times 1.75 / 6 is half-way: there it shows that the multiplier is truncated, not rounded.
    ties = _case("mean_ties", "MEAN", (1, 2, 3, 40), (1, 2), scale=0.4375, output_scale=0.25)
    long = tuple(_case(f"{op.lower()}_long", op, (1, 90, 90, 2), (1, 2), output_scale=0.9) for op in ("MEAN", "SUM"))
    # 255 * 8190 * 2**10, the multiplier's shift, is within a percent of int32.
    limit = _case("sum_near_int32", "SUM", (1, 90, 91), (1, 2), scale=0.5, output_scale=0.0007, zero_points=(-128, 6))
    int16 = tuple(
        _case(f"{op.lower()}_int16{name}", op, dtype="int16", **arguments)  # type: ignore[arg-type]
        for op in ("MEAN", "SUM")
        for name, arguments in {
            "": {"x": (1, 5, 6, 3), "axes": (1, 2)},
            "_no_zero_points": {"x": (1, 5, 6, 30), "axes": (1, 2), "zero_points": (0, 0), "keep_dims": True},
            "_zero_points": {"x": (2, 5, 7), "axes": (1,), "zero_points": (-32768, 32767)},
            "_same_scale": {"x": (1, 4, 6, 33), "axes": (1, 2), "scale": 0.05, "output_scale": 0.05},
            "_coarse_output": {"x": (1, 7, 9, 40), "axes": (1, 2), "output_scale": 3.0},
            "_channels": {"x": (1, 4, 30, 7), "axes": (-1,)},
            # 32 768 * 65 472 is within a percent of int32.
            "_long": {"x": (1, 372, 176), "axes": (1, 2), "zero_points": (0, 0), "output_scale": 0.3},
        }.items()
    )
    return (*shared, *totals, ties, *long, limit, *int16)


def random_case(rng: np.random.Generator) -> Case:
    """A random reduction."""
    shape = tuple(int(dim) for dim in rng.integers(1, 7, int(rng.integers(1, 6))))
    count = int(rng.integers(1, min(len(shape), 2) + 1))
    axes = rng.choice(len(shape), count, replace=False) - len(shape) * rng.integers(0, 2, count)
    scales = np.exp(rng.uniform(np.log(0.005), np.log(0.5), 2))
    op = str(rng.choice(_OPS))
    dtype = str(rng.choice(["int8", "int16"])) if op in ("MEAN", "SUM") else "int8"
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        op,
        shape,
        tuple(int(axis) for axis in axes),
        keep_dims=bool(rng.random() < 0.5),
        scale=float(scales[0]),
        output_scale=float(scales[1]),
        zero_points=(int(zeros[0]), int(zeros[1])),
        dtype=dtype,
    )


def _case(
    name: str,
    op: str,
    x: Shape,
    axes: tuple[int, ...],
    *,
    keep_dims: bool = False,
    scalar_axis: bool = False,
    scale: float = 0.05,
    output_scale: float = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
    dtype: str = "int8",
) -> Case:
    y = reduced_shape(x, [axis % len(x) for axis in axes] if x else (), keep_dims)
    wanted = np.array(axes[0] if scalar_axis else axes, np.int32)
    rescales = op in ("MEAN", "SUM")
    return Case(
        name,
        op,
        (CaseTensor(x, dtype, scale=scale, zero_point=zero_points[0]), CaseTensor(wanted.shape, "int32", data=wanted)),
        (
            CaseTensor(
                y,
                dtype,
                scale=output_scale if rescales else scale,
                zero_point=zero_points[1 if rescales else 0],
            ),
        ),
        {"keep_dims": keep_dims},
    )
