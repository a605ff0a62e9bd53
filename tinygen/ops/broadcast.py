"""Broadcasting of two operands, as nested loops with literal strides."""

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


def broadcast_shape(a: Shape, b: Shape) -> Shape | None:
    """The common shape, or None where there is none."""
    try:
        return np.broadcast_shapes(a, b)
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
    shape = np.broadcast_shapes(a, b)
    loops: list[Loop] = []
    a_step = b_step = 1
    for axis in range(1, len(shape) + 1):
        count = shape[-axis]
        a_dim = a[-axis] if axis <= len(a) else 1
        b_dim = b[-axis] if axis <= len(b) else 1
        loop = Loop(count, a_step if a_dim > 1 else 0, b_step if b_dim > 1 else 0)
        a_step *= a_dim
        b_step *= b_dim
        if count == 1:
            continue
        if loops and _continues(loops[-1], loop):
            loops[-1] = loops[-1]._replace(trips=loops[-1].trips * count)
        else:
            loops.append(loop)
    return tuple(reversed(loops)) or (Loop(1, 0, 0),)


def index_expression(strides: Sequence[int]) -> str:
    """The C index of an operand inside the loops over i0, i1, …: ``i0 * 12 + i2``."""
    terms = [f"i{axis} * {stride}" if stride > 1 else f"i{axis}" for axis, stride in enumerate(strides) if stride]
    return " + ".join(terms) or "0"


def _continues(inner: Loop, outer: Loop) -> bool:
    return (outer.a_stride, outer.b_stride) == (inner.a_stride * inner.trips, inner.b_stride * inner.trips)
