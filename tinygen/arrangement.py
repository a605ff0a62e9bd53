"""Orders of elements: arrays with a rearranged tensor's shape, of the elements' numbers in the tensor of before.

Most tensors of a network are in one of a few orders, and have as many elements as many others: whoever asks for an
order while somebody has it gets the same array, which is never written to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import numpy as np

from tinygen.interval import IntArray
from tinygen.ir import OUTPUT, Arranged, Op, Shape, Tensor

Axes = tuple[int, ...]
"""A permutation: for each dimension of what is rearranged, which one of before it is."""


_SHARED: WeakValueDictionary[tuple[Shape, Axes], IntArray] = WeakValueDictionary()
"""By shape and axes. Those that nobody has any more are gone."""


def _shared(shape: Shape, axes: Axes, made: Callable[[], IntArray]) -> IntArray:
    found = _SHARED.get((shape, axes))
    if found is None:
        found = made()
        found.setflags(write=False)
        _SHARED[shape, axes] = found
    return found


def numbers(shape: Shape) -> IntArray:
    """The order of a tensor that is not rearranged."""
    count = math.prod(shape)
    if shape == (count,):
        return _shared(shape, (), lambda: np.arange(count, dtype=np.int64))
    return _shared(shape, (), lambda: numbers((count,)).reshape(shape))


def is_known_as_plain(order: IntArray) -> bool:
    """Whether it is the order of a tensor that is not rearranged; it may be without being known as such."""
    return order is _SHARED.get((order.shape, ()))


def inverse(order: IntArray) -> IntArray:
    """For each element of before, flat, where it is in the order, flat."""
    if is_known_as_plain(order):
        return numbers((order.size,))
    found = np.empty(order.size, np.int64)
    found[order.reshape(-1)] = numbers((order.size,))
    return found


def composed(first: IntArray, second: IntArray) -> IntArray:
    """The second order of a tensor that is in the first one already, of whatever shape."""
    if is_known_as_plain(first):
        return second
    return first.reshape(-1)[second]


def transposed(shape: Shape, axes: Axes) -> IntArray:
    """The order with the dimensions in another order."""
    if axes == tuple(range(len(shape))):
        return numbers(shape)
    return _shared(shape, axes, lambda: np.array(numbers(shape).transpose(axes), order="C"))


def axes_of(order: IntArray, shape: Shape) -> Axes | None:
    """The dimensions' order that makes `order` of a tensor of this shape, whatever the order's own shape; or None.

    Where dimensions of one go makes no difference to the elements: as the order's shape has them, or first.
    """
    if is_known_as_plain(order):
        return _with_ones(tuple(axis for axis, dim in enumerate(shape) if dim > 1), order.shape, shape)
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
    return axes if np.array_equal(flat, transposed(shape, axes).reshape(-1)) else None


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
