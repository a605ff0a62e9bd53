"""What importers of all formats share about copies along dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir import Shape, Tensor
from tinygen.ops.strided_copy import BroadcastTo, Loop, StridedCopy, regular_loops, row_major
from tinygen.ops.table_copy import TableCopy


def picked(
    x: Tensor,
    shape: Shape,
    indices: Sequence[Sequence[int]],
    regular: type[StridedCopy],
    irregular: type[TableCopy],
) -> StridedCopy | TableCopy:
    """y[i, j, …] = x[indices[0][i], indices[1][j], …] under `shape`: in steps where the indices allow."""
    steps = row_major(x.shape)
    loops = [regular_loops(taken, step) for taken, step in zip(indices, steps, strict=True)]
    if None in loops:
        return irregular(shape, tuple(indices))
    offset = sum(taken[0] * step for taken, step in zip(indices, steps, strict=True))
    return regular(shape, offset, tuple(loop for found in loops if found is not None for loop in found))


def boxed(x: Tensor, shape: Shape, ranges: Sequence[range], kind: type[StridedCopy]) -> StridedCopy:
    """The same for steps along every dimension."""
    steps = row_major(x.shape)
    loops = tuple(Loop(len(taken), taken.step * step) for taken, step in zip(ranges, steps, strict=True))
    return kind(shape, sum(taken.start * step for taken, step in zip(ranges, steps, strict=True)), loops)


def broadcast(x: Tensor, shape: Shape) -> BroadcastTo | None:
    """x repeated along dimensions of one, and before its first; None where it does not become that shape."""
    aligned = (*(1 for _ in range(len(shape) - len(x.shape))), *x.shape)
    if len(aligned) != len(shape) or any(dim not in (1, wanted) for dim, wanted in zip(aligned, shape, strict=True)):
        return None
    steps = zip(shape, aligned, row_major(aligned), strict=True)
    return BroadcastTo(shape, 0, tuple(Loop(wanted, step if dim == wanted else 0) for wanted, dim, step in steps))


def tiled(x: Tensor, repeats: Sequence[int]) -> BroadcastTo:
    """All of x so many times along each dimension."""
    loops = [
        loop
        for times, dim, step in zip(repeats, x.shape, row_major(x.shape), strict=True)
        for loop in (Loop(times, 0), Loop(dim, step))
    ]
    shape = tuple(times * dim for times, dim in zip(repeats, x.shape, strict=True))
    return BroadcastTo(shape, 0, tuple(loops))
