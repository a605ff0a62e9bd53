"""What moves bytes, or only renames them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused
from tinygen.importers.picking import broadcast, picked, tiled
from tinygen.importers.tflite_call import Call, Converter, input_and_output, integers, same_scale, scale_and_zero_point
from tinygen.ir import Tensor
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, INT64
from tinygen.ops.gather import Gather, IrregularGather, RegularGather
from tinygen.ops.mirror_pad import IrregularMirrorPad, RegularMirrorPad, mirrored
from tinygen.ops.pad import Pad
from tinygen.ops.reshape import Reshape
from tinygen.ops.shape import ShapeOf
from tinygen.ops.strided_copy import BroadcastTo, Loop, Reverse, Slice, StridedSlice, Transpose, row_major

_EXPANDED = (INT8, INT16, FLOAT32)
"""What the runtime's EXPAND_DIMS takes."""
_TRANSPOSED = (INT8, INT16, FLOAT32)
"""What its TRANSPOSE takes."""
_MOST_DIMENSIONS = 5
"""Of what the runtime pads, slices, transposes or broadcasts."""
_MOST_OF_STRIDED_SLICE = 4
_MOST_REVERSED = 6
_INFERRED = -1
_LONGEST_MIRRORED = 1 << 20


def _few_dimensions(tensor: Tensor, most: int = _MOST_DIMENSIONS, role: str = "input") -> None:
    if not 1 <= len(tensor.shape) <= most:
        raise Refused(f"the {role} has {len(tensor.shape)} dimensions {tensor.shape}, supported are 1 to {most}")


def _expect_type(x: Tensor, known: Sequence[np.dtype[Any]], remedy: str = "") -> None:
    if x.data is None and x.dtype not in known:
        raise Refused(f"the input is {x.dtype}, supported is {' or '.join(map(str, known))}", remedy)


def _same_bytes(call: Call) -> Converted:
    x, y = input_and_output(call)
    return Converted(Reshape.to(y.shape), (x,))


def _reshape(call: Call) -> Converted:
    x, y = input_and_output(call)
    given = call.inputs[1] if len(call.inputs) > 1 else None
    if math.prod(y.shape) == x.elements or given is None or given.data is None:
        return _same_bytes(call)
    # Of an output with dimensions that the file leaves open, it has another shape: that is computed.
    shape = integers(call, 1, "shape", (given.elements,))
    known = math.prod(dim for dim in shape if dim != _INFERRED)
    if shape.count(_INFERRED) == 1 and known > 0 and x.elements % known == 0:
        shape[shape.index(_INFERRED)] = x.elements // known
    if min(shape, default=1) < 1:
        raise Refused(f"{x.elements} elements {x.shape} do not become the shape {shape}")
    return Converted(Reshape.to(tuple(shape)), (x,))


def _expand_dims(call: Call) -> Converted:
    if call.input(1, "dimension").data is None:
        raise Refused("the dimension is computed at run time, supported is a constant")
    x = call.input(0, "input")
    _expect_type(x, _EXPANDED, "use RESHAPE")
    return _same_bytes(call)


def _pad(call: Call) -> Converted:
    x, y = input_and_output(call)
    _few_dimensions(x)
    borders = integers(call, 1, "padding", (len(x.shape), 2))
    if max(borders) > LARGEST_TENSOR:
        raise Refused(f"the padding {max(borders)} is too large")
    if len(call.inputs) > 2:
        value = _padding_value(call.input(2, "padding's value"), x, y)
    else:
        value = float(y.quant.zero_point[0]) if y.quant is not None and x.dtype in (INT8, INT16) else 0.0
        if x.dtype == INT16 and value and any(borders):
            raise Refused(f"the zero point is {value:g}, but the runtime pads int16 with 0", "use PADV2")
    return Converted(Pad(tuple(borders[::2]), tuple(borders[1::2]), value), (x,))


def _padding_value(given: Tensor, x: Tensor, y: Tensor) -> float:
    role = "padding's value"
    if given.data is None:
        raise Refused(f"the {role} is computed at run time, supported is a constant")
    if given.dtype != x.dtype or given.elements != 1:
        raise Refused(f"the {role} is {given.dtype} {given.shape}, expected is one {x.dtype}")
    if given.dtype == INT8 and scale_and_zero_point(given, role) != scale_and_zero_point(y, "output"):
        raise Refused(f"the {role} and the output have different scales or zero points, which the runtime refuses")
    return float(given.data.reshape(-1)[0])


def _slice(call: Call) -> Converted:
    x, _ = input_and_output(call)
    _few_dimensions(x)
    rank = (len(x.shape),)
    begin, size = (integers(call, 1 + i, role, rank, INT32, INT64) for i, role in enumerate(("begin", "size")))
    steps = row_major(x.shape)
    trips = [dim - b if count == -1 else count for dim, b, count in zip(x.shape, begin, size, strict=True)]
    if min(*begin, *(count - 1 for count in trips)) < 0 or any(
        b + count > dim for dim, b, count in zip(x.shape, begin, trips, strict=True)
    ):
        raise Refused(f"the slice from {begin} of size {size} does not lie inside the input {x.shape}")
    offset = sum(b * step for b, step in zip(begin, steps, strict=True))
    return Converted(Slice(tuple(trips), offset, tuple(map(Loop, trips, steps))), (x,))


def _strided_slice(call: Call) -> Converted:
    x, _ = input_and_output(call)
    _few_dimensions(x, _MOST_OF_STRIDED_SLICE)
    for option in ("ellipsis_mask", "new_axis_mask", "offset"):
        if call.option(option):
            raise Refused(f"the option {option} is set, which is not supported", "slice every dimension by name")
    rank = (len(x.shape),)
    begins, ends = integers(call, 1, "begin", rank), integers(call, 2, "end", rank)
    strides = integers(call, 3, "strides", rank)
    shape, loops, offset = [], [], 0
    for axis, (size, step) in enumerate(zip(x.shape, row_major(x.shape), strict=True)):
        chosen = _range(call, axis, size, begins[axis], ends[axis], strides[axis])
        offset += chosen.start * step
        loops.append(Loop(len(chosen), chosen.step * step))
        if not _bit(call, "shrink_axis_mask", axis):
            shape.append(len(chosen))
    return Converted(StridedSlice(tuple(shape), offset, tuple(loops)), (x,))


def _bit(call: Call, mask: str, axis: int) -> bool:
    return bool(int(call.option(mask)) >> axis & 1)


def _range(call: Call, axis: int, size: int, begin: int, end: int, stride: int) -> range:
    """The indices of one dimension that a strided slice takes."""
    whole_begin, whole_end = _bit(call, "begin_mask", axis), _bit(call, "end_mask", axis)
    if stride == 0:
        raise Refused(f"the stride of dimension {axis} is 0")
    if _bit(call, "shrink_axis_mask", axis):
        if stride < 0:
            raise Refused(f"dimension {axis} is dropped with a negative stride, which the runtimes get wrong")
        if whole_begin:
            return range(1)
        if not -size <= begin < size:
            raise Refused(f"dimension {axis} of {size} is dropped, but its index {begin} is not one of its own")
        return range(begin % size, begin % size + 1)
    chosen = range(size)[slice(None if whole_begin else begin, None if whole_end else end, stride)]
    if not chosen:
        raise Refused(f"the slice takes nothing of dimension {axis}: {begin} to {end} by {stride} of {size}")
    return chosen


def _transpose(call: Call) -> Converted:
    x, _ = input_and_output(call)
    _few_dimensions(x)
    _expect_type(x, _TRANSPOSED)
    order = integers(call, 1, "permutation", (len(x.shape),))
    if sorted(order) != list(range(len(x.shape))):
        raise Refused(f"{order} is no permutation of {len(x.shape)} dimensions")
    steps = row_major(x.shape)
    loops = tuple(Loop(x.shape[axis], steps[axis]) for axis in order)
    return Converted(Transpose(tuple(loop.trips for loop in loops), 0, loops), (x,))


def _reverse(call: Call) -> Converted:
    # Converters give input and output scales of their own; the runtime does not look at them.
    x = call.input(0, "input")
    if not 1 <= len(x.shape) <= _MOST_REVERSED:
        raise Refused(f"the input has {len(x.shape)} dimensions {x.shape}, supported are 1 to {_MOST_REVERSED}")
    rank, given = len(x.shape), call.input(1, "axes")
    axes = integers(call, 1, "axes", (given.elements,))
    beyond = [axis for axis in axes if not -rank <= axis < rank]
    if beyond:
        raise Refused(f"the axis {beyond[0]} is not in the input {x.shape}")
    wanted = sorted(axis % rank for axis in axes)
    if wanted != list(range(wanted[0], wanted[0] + len(wanted))):
        raise Refused(f"the axes {axes} are not neighbours, which the runtime refuses", "reverse one after the other")
    steps = row_major(x.shape)
    loops = [
        Loop(dim, -step if axis in wanted else step)
        for axis, (dim, step) in enumerate(zip(x.shape, steps, strict=True))
    ]
    offset = sum((x.shape[axis] - 1) * steps[axis] for axis in wanted)
    return Converted(Reverse(x.shape, offset, tuple(loops)), (x,))


def _mirror_pad(call: Call) -> Converted:
    x, y = input_and_output(call)
    borders = integers(call, 1, "padding", (len(x.shape), 2), INT32, INT64)
    repeats_edge = call.option("mode") == "SYMMETRIC"
    indices: list[Sequence[int]] = []
    for axis, (size, before, after) in enumerate(zip(x.shape, borders[::2], borders[1::2], strict=True)):
        longest = size if repeats_edge else size - 1
        if min(before, after) < 0 or max(before, after) > longest:
            raise Refused(
                f"dimension {axis} of {size} is padded by {before} and {after}, but can be mirrored by 0 to {longest}"
            )
        if not before and not after:
            indices.append(range(size))
        elif size <= _LONGEST_MIRRORED:
            indices.append(mirrored(size, before, after, repeats_edge=repeats_edge))
        else:
            raise Refused(f"dimension {axis} has {size} elements, mirrored are up to {_LONGEST_MIRRORED}")
    return Converted(picked(x, y.shape, indices, RegularMirrorPad, IrregularMirrorPad), (x,))


def _gather(call: Call) -> Converted:
    x, _ = input_and_output(call)
    indices = call.input(1, "indices")
    rank, count = len(x.shape), len(indices.shape)
    axis, batch_dims = int(call.option("axis")), int(call.option("batch_dims"))
    op = Gather(axis + rank if axis < 0 else axis, batch_dims + count if batch_dims < 0 else batch_dims)
    if indices.data is None or list(op.problems((x, indices))):
        return Converted(op, (x, indices))
    size = x.shape[op.axis]
    outside = indices.data[(indices.data < 0) | (indices.data >= size)]
    if outside.size:
        raise Refused(f"the index {outside[0]} is not in dimension {op.axis}, which has {size}: 0 to {size - 1}")
    if math.prod(x.shape[: op.batch_dims]) > 1:
        return Converted(op, (x, indices))
    taken: list[Sequence[int]] = [range(dim) for dim in x.shape]
    taken[op.axis] = tuple(indices.data.reshape(-1).tolist())
    shape = op.output_types((x, indices))[0].shape
    return Converted(picked(x, shape, taken, RegularGather, IrregularGather), (x,))


def _broadcast_to(call: Call) -> Converted:
    x, y = input_and_output(call)
    _few_dimensions(y, role="output")
    shape = tuple(integers(call, 1, "shape", (len(y.shape),), INT32, INT64))
    op = broadcast(x, shape)
    if op is None:
        raise Refused(f"the shape {x.shape} does not broadcast to {shape}")
    return Converted(_of_a_size_that_can_be(op), (x,))


def _fill(call: Call) -> Converted:
    dimensions, value = call.input(0, "dimensions"), call.input(1, "value")
    same_scale(value, "value", call.output, "output")
    if value.shape:
        raise Refused(f"the value has the shape {value.shape}, expected is a scalar")
    shape = tuple(integers(call, 0, "dimensions", (dimensions.elements,), INT32, INT64))
    if min(shape, default=1) < 1:
        raise Refused(f"the shape {shape} has no elements")
    op = broadcast(value, shape)
    assert op is not None  # of a scalar
    return Converted(_of_a_size_that_can_be(op), (value,))


def _tile(call: Call) -> Converted:
    x, _ = input_and_output(call)
    repeats = integers(call, 1, "repeats", (len(x.shape),), INT32, INT64)
    if min(repeats, default=1) < 1:
        raise Refused(f"the repeats {tuple(repeats)} leave no elements")
    return Converted(_of_a_size_that_can_be(tiled(x, repeats)), (x,))


def _of_a_size_that_can_be(op: BroadcastTo) -> BroadcastTo:
    if math.prod(op.shape) > LARGEST_TENSOR:
        raise Refused(f"the shape {op.shape} is too large")
    return op


def _shape(call: Call) -> Converted:
    return Converted(ShapeOf(call.input(0, "input").shape), ())


CONVERTERS: Mapping[str, Converter] = {
    "BROADCAST_TO": _broadcast_to,
    "EXPAND_DIMS": _expand_dims,
    "FILL": _fill,
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SHAPE": _shape,
    "SLICE": _slice,
    "SQUEEZE": _same_bytes,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
}
