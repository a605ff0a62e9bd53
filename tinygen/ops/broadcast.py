"""Broadcasting of operands, as nested loops with literal strides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tinygen.ir import Shape, Tensor
from tinygen.ops import common


class Loop(NamedTuple):
    """One loop over both operands; a stride of zero repeats an operand."""

    trips: int
    a_stride: int
    b_stride: int


class LoopOfAll(NamedTuple):
    """One loop over any number of operands."""

    trips: int
    strides: tuple[int, ...]
    """Of each operand."""


def broadcast_shape(*shapes: Shape) -> Shape | None:
    """The common shape, or None where there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def operand_problems(a: Tensor, b: Tensor, *allowed: np.dtype[np.generic]) -> Iterator[str]:
    """Problems of two operands that are not both of one of the dtypes, or do not broadcast."""
    yield from common.expect_dtype(a, "first input", *allowed)
    yield from common.expect_dtype(b, "second input", *allowed)
    if a.dtype != b.dtype:
        yield f"the inputs are {a.dtype} and {b.dtype}, supported are two of one type"
    if broadcast_shape(a.shape, b.shape) is None:
        yield f"the shapes {a.shape} and {b.shape} do not broadcast"


def broadcast_values(a: Shape, b: Shape) -> Mapping[str, object]:
    """What the template `broadcast` needs: the loops, and the index of each operand inside them."""
    loops = broadcast_loops(a, b)
    return {
        "loops": loops,
        "a_index": index_expression([loop.a_stride for loop in loops]),
        "b_index": index_expression([loop.b_stride for loop in loops]),
    }


def broadcast_loops(a: Shape, b: Shape) -> tuple[Loop, ...]:
    """The fewest loops, outermost first, that visit both operands in the order of the result."""
    return tuple(Loop(loop.trips, *loop.strides) for loop in loops_over([a, b]))


def loops_over(shapes: Sequence[Shape]) -> tuple[LoopOfAll, ...]:
    """The same for any number of operands."""
    loops: list[LoopOfAll] = []
    steps = [1] * len(shapes)
    for axis, count in enumerate(reversed(np.broadcast_shapes(*shapes)), 1):
        dims = [shape[-axis] if axis <= len(shape) else 1 for shape in shapes]
        loop = LoopOfAll(count, tuple(step if dim > 1 else 0 for step, dim in zip(steps, dims, strict=True)))
        steps = [step * dim for step, dim in zip(steps, dims, strict=True)]
        if count == 1:
            continue
        if loops and _continues(loops[-1], loop):
            loops[-1] = loops[-1]._replace(trips=loops[-1].trips * count)
        else:
            loops.append(loop)
    return tuple(reversed(loops)) or (LoopOfAll(1, (0,) * len(shapes)),)


def index_expression(strides: Sequence[int]) -> str:
    """The C index of an operand inside the loops over i0, i1, …: ``i0 * 12 + i2``."""
    terms = [f"i{axis} * {stride}" if stride > 1 else f"i{axis}" for axis, stride in enumerate(strides) if stride]
    return " + ".join(terms) or "0"


def _continues(inner: LoopOfAll, outer: LoopOfAll) -> bool:
    return outer.strides == tuple(stride * inner.trips for stride in inner.strides)
