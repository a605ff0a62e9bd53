"""What moves bytes, or only renames them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.importers.tflite_call import (
    LARGEST_TENSOR,
    Call,
    Converted,
    Converter,
    Refused,
    scale_and_zero_point,
)
from tinygen.ir import Tensor
from tinygen.ops.common import INT8, INT16, INT32
from tinygen.ops.concatenation import Concatenation, Pack
from tinygen.ops.pad import Pad
from tinygen.ops.reshape import Reshape
from tinygen.ops.strided_copy import (
    DepthToSpace,
    Loop,
    ResizeNearestNeighbor,
    Slice,
    SpaceToDepth,
    Split,
    StridedSlice,
    Transpose,
    Unpack,
    row_major,
)

_MOST_DIMENSIONS = 5
"""Of what the runtime pads, slices or transposes."""

_QUANTISED = (INT8, INT16)


def _input_and_output(call: Call) -> tuple[Tensor, Tensor]:
    x, y = call.input(0, "input"), call.output
    _same_scale(x, "input", y, "output")
    return x, y


def _same_scale(x: Tensor, x_role: str, y: Tensor, y_role: str) -> None:
    """Bytes are moved as they are: where they are quantised, they must mean the same on both sides."""
    if x.dtype in _QUANTISED and scale_and_zero_point(x, x_role) != scale_and_zero_point(y, y_role):
        raise Refused(f"{x_role} and {y_role} have different scales or zero points, which the runtimes ignore")


def _few_dimensions(x: Tensor) -> None:
    if not 1 <= len(x.shape) <= _MOST_DIMENSIONS:
        raise Refused(f"the input has {len(x.shape)} dimensions {x.shape}, supported are 1 to {_MOST_DIMENSIONS}")


def _integers(call: Call, index: int, role: str, shape: tuple[int, ...]) -> list[int]:
    """The values of a constant int32 input of that shape, flat."""
    given = call.input(index, role)
    if given.data is None:
        raise Refused(f"the {role} is computed at run time, supported is a constant")
    if given.dtype != INT32:
        raise Refused(f"the {role} is {given.dtype}, supported is int32")
    if given.shape != shape:
        raise Refused(f"the {role} has shape {given.shape}, expected is {shape}")
    return [int(value) for value in given.data.reshape(-1)]


def _reshape(call: Call) -> Converted:
    x, y = _input_and_output(call)
    return Converted(Reshape.to(y.shape), (x,))


def _expand_dims(call: Call) -> Converted:
    if call.input(1, "dimension").data is None:
        raise Refused("the dimension is computed at run time, supported is a constant")
    return _reshape(call)


def _pad(call: Call) -> Converted:
    x, y = _input_and_output(call)
    _few_dimensions(x)
    borders = _integers(call, 1, "padding", (len(x.shape), 2))
    if max(borders) > LARGEST_TENSOR:
        raise Refused(f"the padding {max(borders)} is too large")
    value = float(scale_and_zero_point(y, "output")[1]) if x.dtype == INT8 else 0.0
    if len(call.inputs) > 2:
        value = _padding_value(call.input(2, "padding's value"), x, y)
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
    x, _ = _input_and_output(call)
    _few_dimensions(x)
    rank = (len(x.shape),)
    begin, size = _integers(call, 1, "begin", rank), _integers(call, 2, "size", rank)
    steps = row_major(x.shape)
    trips = [dim - b if count == -1 else count for dim, b, count in zip(x.shape, begin, size, strict=True)]
    if min(*begin, *(count - 1 for count in trips)) < 0 or any(
        b + count > dim for dim, b, count in zip(x.shape, begin, trips, strict=True)
    ):
        raise Refused(f"the slice from {begin} of size {size} does not lie inside the input {x.shape}")
    offset = sum(b * step for b, step in zip(begin, steps, strict=True))
    return Converted(Slice(tuple(trips), offset, tuple(map(Loop, trips, steps))), (x,))


def _strided_slice(call: Call) -> Converted:
    x, _ = _input_and_output(call)
    _few_dimensions(x)
    for option in ("ellipsis_mask", "new_axis_mask", "offset"):
        if call.option(option):
            raise Refused(f"the option {option} is set, which is not supported", "slice every dimension by name")
    rank = (len(x.shape),)
    begins, ends = _integers(call, 1, "begin", rank), _integers(call, 2, "end", rank)
    strides = _integers(call, 3, "strides", rank)
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
        if whole_begin or stride < 0:
            raise Refused(f"dimension {axis} is dropped with a begin_mask or a negative stride, which is not supported")
        if not -size <= begin < size:
            raise Refused(f"dimension {axis} of {size} is dropped, but its index {begin} is not one of its own")
        return range(begin % size, begin % size + 1)
    chosen = range(size)[slice(None if whole_begin else begin, None if whole_end else end, stride)]
    if not chosen:
        raise Refused(f"the slice takes nothing of dimension {axis}: {begin} to {end} by {stride} of {size}")
    return chosen


def _transpose(call: Call) -> Converted:
    x, _ = _input_and_output(call)
    _few_dimensions(x)
    order = _integers(call, 1, "permutation", (len(x.shape),))
    if sorted(order) != list(range(len(x.shape))):
        raise Refused(f"{order} is no permutation of {len(x.shape)} dimensions")
    steps = row_major(x.shape)
    loops = tuple(Loop(x.shape[axis], steps[axis]) for axis in order)
    return Converted(Transpose(tuple(loop.trips for loop in loops), 0, loops), (x,))


def _image(x: Tensor) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise Refused(f"the input has {len(x.shape)} dimensions {x.shape}, expected are 4")
    batch, height, width, channels = x.shape
    return batch, height, width, channels


def _space_to_depth(call: Call) -> Converted:
    x, _ = _input_and_output(call)
    batch, height, width, channels = _image(x)
    block = int(call.option("block_size"))
    if block < 1 or height % block or width % block:
        raise Refused(f"{height} x {width} pixels are not made of blocks of {block} x {block}")
    shape = (batch, height // block, width // block, block * block * channels)
    image, row, pixel, _ = row_major(x.shape)
    loops = (
        Loop(batch, image),
        Loop(shape[1], block * row),
        Loop(shape[2], block * pixel),
        Loop(block, row),
        Loop(block, pixel),
        Loop(channels, 1),
    )
    return Converted(SpaceToDepth(shape, 0, loops), (x,))


def _depth_to_space(call: Call) -> Converted:
    x, _ = _input_and_output(call)
    batch, height, width, channels = _image(x)
    block = int(call.option("block_size"))
    if block < 1 or channels % (block * block):
        raise Refused(f"{channels} channels do not make blocks of {block} x {block} pixels")
    depth = channels // (block * block)
    image, row, pixel, _ = row_major(x.shape)
    loops = (
        Loop(batch, image),
        Loop(height, row),
        Loop(block, block * depth),
        Loop(width, pixel),
        Loop(block, depth),
        Loop(depth, 1),
    )
    return Converted(DepthToSpace((batch, height * block, width * block, depth), 0, loops), (x,))


def _resize_nearest_neighbor(call: Call) -> Converted:
    x, _ = _input_and_output(call)
    batch, height, width, channels = _image(x)
    size = _integers(call, 1, "size", (2,))
    if call.option("align_corners"):
        raise Refused("the option align_corners is set, which is not supported")
    factors = [
        _factor(before, after, bool(call.option("half_pixel_centers")))
        for before, after in zip((height, width), size, strict=True)
    ]
    image, row, pixel, _ = row_major(x.shape)
    loops = (
        Loop(batch, image),
        Loop(height, row),
        Loop(factors[0], 0),
        Loop(width, pixel),
        Loop(factors[1], 0),
        Loop(channels, 1),
    )
    return Converted(ResizeNearestNeighbor((batch, size[0], size[1], channels), 0, loops), (x,))


_LARGEST_SIDE = 1 << 16


def _factor(before: int, after: int, half_pixel_centers: bool) -> int:
    """How often each pixel is repeated, where the runtime's float arithmetic makes it so."""
    if not 1 <= after <= _LARGEST_SIDE or after % before:
        raise Refused(f"{before} pixels become {after}, supported are whole multiples up to {_LARGEST_SIDE}")
    position = np.arange(after, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0.0)
    source = np.floor(position * (np.float32(before) / np.float32(after))).astype(np.int64)
    factor = after // before
    if np.any(np.clip(source, 0, before - 1) != np.arange(after) // factor):
        raise Refused(f"{before} pixels become {after}, which the runtime rounds unevenly")
    return factor


def _joined(call: Call) -> tuple[Tensor, ...]:
    """The inputs of an operator that joins them; all share the output's scale."""
    inputs = tuple(call.input(index, f"input {index}") for index in range(len(call.inputs)))
    if not inputs:
        raise Refused("it has no inputs")
    for index, x in enumerate(inputs):
        if x.dtype in (INT8, INT16) and scale_and_zero_point(x, f"input {index}") != scale_and_zero_point(
            call.output, "output"
        ):
            raise Refused(
                f"input {index} and the output have different scales or zero points, which the runtimes ignore"
            )
    return inputs


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Refused(f"the axis {axis} is not one of {rank} dimensions")
    return axis % rank


def _concatenation(call: Call) -> Converted:
    if call.option("fused_activation_function") != "NONE":
        raise Refused(f"the fused activation {call.option('fused_activation_function')} is not supported")
    inputs = _joined(call)
    rank = len(inputs[0].shape)
    axis = _axis(int(call.option("axis")), rank)
    for x in inputs:
        if (*x.shape[:axis], *x.shape[axis + 1 :]) != (*inputs[0].shape[:axis], *inputs[0].shape[axis + 1 :]):
            raise Refused(f"inputs of the shapes {inputs[0].shape} and {x.shape} cannot be joined along axis {axis}")
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)
    return Converted(Concatenation(tuple(shape), math.prod(shape[:axis])), inputs)


def _pack(call: Call) -> Converted:
    inputs = _joined(call)
    shape = list(inputs[0].shape)
    if any(x.shape != inputs[0].shape for x in inputs):
        raise Refused(f"the inputs have the shapes {', '.join(str(x.shape) for x in inputs)}, expected are equal ones")
    axis = _axis(int(call.option("axis")), len(shape) + 1)
    shape.insert(axis, len(inputs))
    return Converted(Pack(tuple(shape), math.prod(shape[:axis])), inputs)


def _parts(call: Call, x: Tensor, axis: int, sizes: Sequence[int], op: type[Split] | type[Unpack]) -> list[Converted]:
    """One copy for each output: consecutive parts of `axis`."""
    if len(sizes) != len(call.outputs):
        raise Refused(f"it has {len(call.outputs)} outputs for {len(sizes)} parts")
    if sum(sizes) != x.shape[axis] or min(sizes) < 1:
        raise Refused(f"parts of {', '.join(map(str, sizes))} do not make the dimension {axis} of the input {x.shape}")
    steps = row_major(x.shape)
    parts = []
    for index, (size, y) in enumerate(zip(sizes, call.outputs, strict=True)):
        if x.dtype in (INT8, INT16) and scale_and_zero_point(x, "input") != scale_and_zero_point(y, f"output {index}"):
            raise Refused(
                f"the input and output {index} have different scales or zero points, which the runtimes ignore"
            )
        trips = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        offset = sum(sizes[:index]) * steps[axis]
        parts.append(Converted(op(y.shape, offset, tuple(map(Loop, trips, steps))), (x,), (y,)))
    return parts


def _split(call: Call) -> list[Converted]:
    x = call.input(1, "input")
    axis = _axis(_one_integer(call, 0, "axis"), len(x.shape))
    count = len(call.outputs)
    if not count or x.shape[axis] % count:
        raise Refused(f"the dimension {axis} of the input {x.shape} does not split into {count} equal parts")
    return _parts(call, x, axis, [x.shape[axis] // count] * count, Split)


def _split_v(call: Call) -> list[Converted]:
    x = call.input(0, "input")
    axis = _axis(_one_integer(call, 2, "axis"), len(x.shape))
    sizes = _integers(call, 1, "sizes", (len(call.outputs),))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    return _parts(call, x, axis, sizes, Split)


def _unpack(call: Call) -> list[Converted]:
    x = call.input(0, "input")
    axis = _axis(int(call.option("axis")), len(x.shape))
    return _parts(call, x, axis, [1] * x.shape[axis], Unpack)


def _one_integer(call: Call, index: int, role: str) -> int:
    """The value of a constant int32 input of one element, of any shape."""
    values = _integers(call, index, role, call.input(index, role).shape)
    if len(values) != 1:
        raise Refused(f"the {role} has {len(values)} elements, expected is one")
    return values[0]


CONVERTERS: Mapping[str, Converter] = {
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _expand_dims,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
