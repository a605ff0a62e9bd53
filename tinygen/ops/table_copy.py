"""Operators that copy elements along tables of indices, one for each dimension that is not walked in steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygen.arrangement import Axes, along_axes, permuted
from tinygen.interval import BoolArray, IntArray
from tinygen.ir import Arranged, Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.overlaps import by_copy
from tinygen.ops.strided_copy import Loop, regular_loops, row_major
from tinygen.ops.traits import Moving
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class TableCopy(Moving):
    """y[i, j, …] = x[indices[0][i], indices[1][j], …], under `shape`."""

    dtypes: ClassVar[tuple[np.dtype[Any], ...]]
    """What the runtime copies."""
    shape: Shape
    indices: tuple[Sequence[int], ...]
    """For each dimension of the input, which of its indices are taken."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and nothing read outside of the input."""
        (x,) = inputs
        if x.data is None:  # constants are copied while importing, whatever they are
            yield from common.expect_dtype(x, "input", *self.dtypes)
        if len(self.indices) != len(x.shape):
            yield f"{len(self.indices)} lists of indices for {len(x.shape)} dimensions {x.shape}"
        for axis, (taken, size) in enumerate(zip(self.indices, x.shape, strict=False)):
            # Of a range, the ends; walking through it would take long where a file declares something huge.
            reached = (taken[0], taken[-1]) if isinstance(taken, range) else taken
            outside = [index for index in reached if not 0 <= index < size]
            if outside:
                yield f"index {outside[0]} is not in dimension {axis} of the input {x.shape}"
        count = math.prod(len(taken) for taken in self.indices)
        if count != math.prod(self.shape):
            yield f"{count} elements do not make the output {self.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The given shape."""
        return (TensorType(self.shape, inputs[0].dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One dimension after the other."""
        (x,) = inputs
        return (x[np.ix_(*self.indices)].reshape(self.shape),)

    def candidates(
        self, inputs: Sequence[Array], kept: Sequence[BoolArray], output: Array, kept_output: BoolArray
    ) -> Iterator[Moving]:
        """The same tables, the last of what is kept of the channels that it took."""
        channels = np.cumsum(kept[0]) - 1
        taken = tuple(int(channels[index]) for index in self.indices[-1] if kept[0][index])
        yield dataclasses.replace(self, shape=output.shape, indices=(*self.indices[:-1], taken))

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Each dimension's table goes with it; None where the output has other dimensions."""
        if self.shape != tuple(len(taken) for taken in self.indices):
            return None

        def rebuilt(axes: Axes) -> tuple[Op, Shape]:
            shape = permuted(self.shape, axes)
            return dataclasses.replace(self, shape=shape, indices=tuple(self.indices[axis] for axis in axes)), shape

        return along_axes(inputs, place, order, self.shape, rebuilt)

    def describe(self) -> str:
        """Along which dimensions elements are picked."""
        axes = [str(axis) for axis, taken in enumerate(self.indices) if _step(taken) is None]
        return f"indices from tables for {'axis' if len(axes) == 1 else 'axes'} {' and '.join(axes)}"


def _step(taken: Sequence[int]) -> int | None:
    """From each index to the next, where one loop does without a table."""
    loops = regular_loops(taken, 1)
    return loops[0].stride if loops and len(loops) == 1 and loops[0].stride > 0 else None


class _Level(NamedTuple):
    """One loop over the output: where its elements lie in the input, by a table or at a distance."""

    trips: int
    stride: int
    table: str


def _levels(op: TableCopy, x: Shape) -> tuple[int, list[_Level], dict[str, Array]]:
    """Where the first element lies, the loops, outermost first, and their tables."""
    offset = 0
    levels: list[_Level] = []
    tables: dict[str, Array] = {}
    for taken, stride in zip(op.indices, row_major(x), strict=True):
        step = _step(taken)
        if step is None:
            name = f"offsets_{len(tables)}"
            tables[name] = offset_table(taken, stride)
            levels.append(_Level(len(taken), 0, name))
            continue
        offset += taken[0] * stride
        _append(levels, Loop(len(taken), step * stride))
    return offset, levels, tables


def _append(levels: list[_Level], loop: Loop) -> None:
    if loop.trips == 1:
        return
    if levels and not levels[-1].table and levels[-1].stride == loop.stride * loop.trips:
        levels[-1] = _Level(levels[-1].trips * loop.trips, loop.stride, "")
    else:
        levels.append(_Level(loop.trips, loop.stride, ""))


def offset_table(indices: Sequence[int], stride: int) -> Array:
    """The indices in elements, ``index * stride``, in the smallest type that holds them."""
    offsets = np.array(indices, np.int64) * stride
    largest = int(offsets.max())
    return offsets.astype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.int32)


def _prepare(site: Site) -> Body:
    op: TableCopy = site.op
    offset, levels, tables = _levels(op, site.inputs[0].shape)
    return Body({"offset": offset, "levels": levels}, tables)


def table_copy_kernel(op: type[TableCopy]) -> Kernel:
    """The kernel of such an operator. It takes at least one table: what is regular is a strided copy."""
    return Kernel("table_copy.direct", op, _prepare, work=Rates(72, output=6), overlaps=by_copy)
