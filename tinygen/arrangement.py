"""Orders of elements: arrays with a rearranged tensor's shape, of the elements' numbers in the tensor of before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinygen.interval import IntArray
from tinygen.ir import OUTPUT, Arranged, Op, Shape, Tensor

Axes = tuple[int, ...]
"""A permutation: for each dimension of what is rearranged, which one of before it is."""


def numbers(shape: Shape) -> IntArray:
    """The order of a tensor that is not rearranged."""
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def inverse(order: IntArray) -> IntArray:
    """For each element of before, flat, where it is in the order, flat."""
    found = np.empty(order.size, np.int64)
    found[order.reshape(-1)] = np.arange(order.size)
    return found


def transposed(shape: Shape, axes: Axes) -> IntArray:
    """The order with the dimensions in another order."""
    return np.ascontiguousarray(numbers(shape).transpose(axes))


def axes_of(order: IntArray, shape: Shape) -> Axes | None:
    """The dimensions' order that makes `order` of a tensor of this shape, whatever the order's own shape; or None.

    Where dimensions of one go makes no difference to the elements: as the order's shape has them, or first.
    """
    flat = order.reshape(-1)
    strides = {math.prod(shape[axis + 1 :]): axis for axis, dim in enumerate(shape) if dim > 1}
    found: list[int] = []
    step = 1
    while len(found) < len(strides):
        axis = strides.get(int(flat[step] - flat[0]))
        if axis is None or axis in found:
            return None
        found.insert(0, axis)
        step *= shape[axis]
    axes = _with_ones(tuple(found), order.shape, shape)
    return axes if np.array_equal(flat, numbers(shape).transpose(axes).reshape(-1)) else None


def _with_ones(axes: Axes, wanted: Shape, shape: Shape) -> Axes:
    ones = [axis for axis, dim in enumerate(shape) if dim == 1]
    if [dim for dim in wanted if dim > 1] != [shape[axis] for axis in axes] or len(wanted) != len(shape):
        return (*ones, *axes)
    rest = {True: iter(ones), False: iter(axes)}
    return tuple(next(rest[dim == 1]) for dim in wanted)


def element_by_element(op: Op, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
    """Of an operator whose inputs broadcast to its output, and whose elements do not depend on each other."""
    (y,) = op.output_types(inputs)
    if place != OUTPUT and inputs[place].shape != y.shape:
        return None
    axes = axes_of(order, y.shape)
    wanted = order.reshape(y.shape) if axes is None else transposed(y.shape, axes)
    orders = []
    for x in inputs:
        found = wanted if x.shape == y.shape else _unbroadcast(x.shape, y.shape, wanted)
        if found is None:
            return None
        orders.append(found)
    return Arranged(op, tuple(orders), wanted)


def _unbroadcast(x: Shape, y: Shape, order: IntArray) -> IntArray | None:
    """The order of an operand of shape `x` that broadcasts to the output's order; None where it would be repeated."""
    taken = np.broadcast_to(numbers(x), y).reshape(-1)[order]
    for axis in range(taken.ndim):
        first = taken.take([0], axis=axis)
        if (taken == first).all():
            taken = first
    while taken.ndim > len(x) and taken.shape[0] == 1:
        taken = taken[0]
    return taken if taken.size == math.prod(x) else None


def along_axes(
    inputs: Sequence[Tensor],
    place: int,
    order: IntArray,
    output: Shape,
    rebuilt: Callable[[Axes], tuple[Op, Shape] | None],
) -> Arranged | None:
    """Of an operator whose inputs, and output, have the same dimensions, of any sizes.

    `output` is the output's shape with all of these dimensions. `rebuilt` gives the operator over dimensions in another
    order, and its output's shape, which may lack dimensions of one; or None where there is no such operator.
    """
    axes = axes_of(order, output if place == OUTPUT else inputs[place].shape)
    found = None if axes is None else rebuilt(axes)
    if axes is None or found is None:
        return None
    op, shape = found
    orders = tuple(transposed(x.shape, axes) for x in inputs)
    return Arranged(op, orders, transposed(output, axes).reshape(shape))


def permuted(values: Sequence[int], axes: Axes) -> Shape:
    """Of each dimension, what there is for it."""
    return tuple(values[axis] for axis in axes)
