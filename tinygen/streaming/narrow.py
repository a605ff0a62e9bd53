"""Operators and tensors with fewer rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinygen.ir import Array, Op, Shape, Tensor, read_only
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.strided_copy import Loop, StridedSlice
from tinygen.ops.table_copy import TableCopy
from tinygen.ops.traits import Moving
from tinygen.streaming.reach import Unstreamable


class Span(NamedTuple):
    """Rows [start, stop) of a tensor, along one of its dimensions."""

    axis: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many."""
        return self.stop - self.start

    def of(self, array: Array) -> Array:
        """These rows of an array."""
        return np.ascontiguousarray(array.take(range(self.start, self.stop), axis=self.axis))

    def shape(self, whole: Shape) -> Shape:
        """What the shape becomes."""
        return (*whole[: self.axis], self.rows, *whole[self.axis + 1 :])

    def tensor(self, whole: Tensor) -> Tensor:
        """The tensor of these rows, under the same name."""
        data = None if whole.data is None else read_only(self.of(whole.data))
        return dataclasses.replace(whole, shape=self.shape(whole.shape), data=data)

    def slice(self, shape: Shape) -> StridedSlice:
        """What copies these rows of a tensor of this shape."""
        row = math.prod(shape[self.axis + 1 :])
        loops = (Loop(math.prod(shape[: self.axis]), shape[self.axis] * row), Loop(self.rows * row, 1))
        return StridedSlice(self.shape(shape), self.start * row, loops)


def joined(shape: Shape, axis: int) -> Concatenation:
    """What joins rows to a tensor of this shape."""
    return Concatenation(shape, math.prod(shape[:axis]))


def narrowed(op: Op, inputs: Sequence[Tensor], given: Sequence[Span | None], wanted: Span | None) -> Op:
    """The operator that computes the rows `wanted` of these rows of its inputs, all given as of the whole window.

    None stands for all of a tensor. Raises Unstreamable where there is no such operator.
    """
    if not isinstance(op, Moving):
        return op
    starts = np.cumsum([0, *(x.elements for x in inputs)])
    numbered = [np.arange(x.elements).reshape(x.shape) + start for x, start in zip(inputs, starts, strict=False)]
    result = op.moved(*numbered)
    left = [each if span is None else span.of(each) for each, span in zip(numbered, given, strict=True)]
    target = result if wanted is None else wanted.of(result)
    for candidate in _candidates(op, left, target):
        found = candidate.moved(*left)
        if found.shape == target.shape and np.array_equal(np.maximum(found, -1), np.maximum(target, -1)):
            return candidate
    raise Unstreamable("tinygen cannot make it compute some frames only")


def _candidates(op: Moving, left: Sequence[Array], target: Array) -> Iterator[Moving]:
    if isinstance(op, Concatenation):
        rows = op.outer * target.size // math.prod(op.shape)
        for outer in (op.outer, rows):
            if all(each.size % outer == 0 for each in left):
                yield dataclasses.replace(op, shape=target.shape, outer=outer)
    elif isinstance(op, TableCopy):
        sizes = zip(op.indices, left[0].shape, strict=True)
        tables = tuple(range(size) if max(taken) >= size else taken for taken, size in sizes)
        yield dataclasses.replace(op, shape=target.shape, indices=tables)
    else:
        channels = [np.ones(each.shape[-1:] or (1,), np.bool_) for each in (*left, target)]
        yield from op.candidates(left, channels[:-1], target, channels[-1])
