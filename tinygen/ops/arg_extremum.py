"""ARG_MAX and ARG_MIN: where along an axis the extreme value lies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.arrangement import Axes, along_axes, permuted
from tinygen.interval import IntArray, Interval
from tinygen.ir import Arranged, Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT32
from tinygen.ops.overlaps import by_reduction
from tinygen.ops.reduce import Loop, element, loop_values, reduction_loops
from tinygen.ops.traits import Channelwise
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class _ArgExtremum(Channelwise):
    relation: ClassVar[str]
    axis: int  # from 0

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype and axis."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8, FLOAT32)
        if not 0 <= self.axis < len(x.shape):
            yield f"the axis {self.axis} is not in the input {x.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """Without the axis, in int32."""
        shape = inputs[0].shape
        return (TensorType(shape[: self.axis] + shape[self.axis + 1 :], INT32),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """Indices of the axis."""
        (y,) = super().intervals(inputs, given)
        return (y.clipped(0, inputs[0].shape[self.axis] - 1),)

    def links(self, inputs: Sequence[Tensor]) -> Sequence[IntArray] | None:
        """None over the last dimension, whose indices are counted."""
        return None if self.axis == len(inputs[0].shape) - 1 else super().links(inputs)

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Along the axis wherever it is."""
        x = inputs[0].shape

        def rebuilt(axes: Axes) -> tuple[Op, Shape]:
            where = axes.index(self.axis)
            left = permuted(x, axes)
            return dataclasses.replace(self, axis=where), (*left[:where], *left[where + 1 :])

        return along_axes(inputs, place, order, (*x[: self.axis], 1, *x[self.axis + 1 :]), rebuilt)

    def describe(self) -> str:
        """Axis."""
        return f"over axis {self.axis}"


@dataclass(frozen=True)
class ArgMax(_ArgExtremum):
    """y = the index along the axis of the largest value, the first of equal ones."""

    name: ClassVar[str] = "ARG_MAX"
    relation: ClassVar[str] = ">"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The first maximum."""
        return (np.asarray(inputs[0].argmax(self.axis), np.int32),)


@dataclass(frozen=True)
class ArgMin(_ArgExtremum):
    """y = the index along the axis of the smallest value, the first of equal ones."""

    name: ClassVar[str] = "ARG_MIN"
    relation: ClassVar[str] = "<"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The first minimum."""
        return (np.asarray(inputs[0].argmin(self.axis), np.int32),)


def _prepare(site: Site) -> Body:
    op: _ArgExtremum = site.op
    loops = reduction_loops(site.inputs[0].shape, (op.axis,))
    if not any(loop.is_reduced for loop in loops):
        loops += (Loop("r0", 1, 1, True),)  # an axis of one is no loop, but has a first element, too
    found = element([loop._replace(variable="first") if loop.is_reduced else loop for loop in loops])
    return Body({**loop_values(loops), "found": found, "relation": op.relation})


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_reduction(site, (site.op.axis,))


KERNELS = (
    Kernel("arg_max.direct", ArgMax, _prepare, work=Rates(64, output=12, input=8), overlaps=_overlaps),
    Kernel("arg_min.direct", ArgMin, _prepare, work=Rates(64, output=12, input=8), overlaps=_overlaps),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models. Values repeat often: the first of them is looked for."""
    return tuple(
        _case(f"{op.lower()}_{name}", op, **arguments)  # type: ignore[arg-type]
        for op in ("ARG_MAX", "ARG_MIN")
        for name, arguments in {
            "classes": {"x": (1, 12), "axis": -1},
            "vector": {"x": (700,), "axis": 0},
            "channels": {"x": (1, 4, 3, 7), "axis": 3},
            "rows": {"x": (1, 40, 3, 7), "axis": 1},
            "columns": {"x": (2, 4, 300, 2), "axis": -2},
            "batch": {"x": (5, 3, 2), "axis": 0},
            "axis_of_one": {"x": (3, 1, 2), "axis": 1},
            "one_value": {"x": (1,), "axis": 0},
            "axis_in_a_list": {"x": (3, 4, 5), "axis": 1, "axis_shape": (1,)},
            "six_dims": {"x": (2, 1, 3, 2, 300, 2), "axis": 4},
            "reals": {"x": (3, 4, 5), "axis": 1, "dtype": "float32"},
        }.items()
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random position."""
    shape = tuple(int(dim) for dim in rng.integers(1, 9, int(rng.integers(1, 5))))
    axis = int(rng.integers(-len(shape), len(shape)))
    return _case(f"random_{rng.integers(1 << 30)}", str(rng.choice(["ARG_MAX", "ARG_MIN"])), shape, axis)


def _case(name: str, op: str, x: Shape, axis: int, axis_shape: Shape = (), dtype: str = "int8") -> Case:
    wanted = np.full(axis_shape, axis, np.int32)
    position = axis % len(x)
    return Case(
        name,
        op,
        (CaseTensor(x, dtype, 0.05 if dtype == "int8" else None, -11), CaseTensor(axis_shape, "int32", data=wanted)),
        (CaseTensor(x[:position] + x[position + 1 :], "int32"),),
        {"output_type": "INT32"},
    )
