"""Parts of tensors, and borders around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, scale_and_zero_point
from tinygen.importers.onnx_operators.curves import requantised
from tinygen.importers.picking import boxed, picked
from tinygen.ir import Tensor
from tinygen.ops.common import FLOAT32, UINT8, full_range
from tinygen.ops.mirror_pad import IrregularMirrorPad, RegularMirrorPad, mirrored
from tinygen.ops.pad import Pad
from tinygen.ops.strided_copy import Split, StridedSlice

_LONGEST_MIRRORED = 1 << 20


def integers(call: Call, index: int, role: str) -> list[int]:
    """The integers of a constant input."""
    return [int(value) for value in call.constant(index, role).reshape(-1)]


def axis_of(axis: int, rank: int) -> int:
    """An axis that may be counted from the end, from the start."""
    if not -rank <= axis < rank:
        raise Refused(f"its axis {axis} is not one of {rank} dimensions")
    return axis % rank


def _slice(call: Call) -> Converted:
    """Ends that lie outside are the nearest inside, as in Python."""
    x = call.input(0, "input")
    starts, ends = integers(call, 1, "starts"), integers(call, 2, "ends")
    axes = list(range(len(starts))) if call.optional(3) is None else integers(call, 3, "axes")
    steps = [1] * len(starts) if call.optional(4) is None else integers(call, 4, "steps")
    axes = [axis_of(axis, len(x.shape)) for axis in axes]
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(axes)) < len(axes):
        raise Refused(f"starts {starts}, ends {ends} and steps {steps} are not one for each of the axes {axes}")
    taken = [range(dim) for dim in x.shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step == 0:
            raise Refused(f"its step along dimension {axis} is 0")
        taken[axis] = range(x.shape[axis])[start:end:step]
    return Converted(boxed(x, call.output.shape, taken, StridedSlice), (x,))


def _split(call: Call) -> Sequence[Converted]:
    """The sizes of the parts are those of the outputs, however they are given."""
    x = call.input(0, "input")
    axis = axis_of(int(call.attribute("axis", 0)), len(x.shape))
    parts, start = [], 0
    for y in call.outputs:
        taken = [range(dim) for dim in x.shape]
        taken[axis] = range(start, start + y.shape[axis])
        start += y.shape[axis]
        parts.append(Converted(boxed(x, y.shape, taken, Split), (x,), (y,)))
    if start != x.shape[axis]:
        raise Refused(f"its parts have {start} of {x.shape[axis]} elements of dimension {axis}")
    return parts


def _pad(call: Call) -> Sequence[Converted]:
    """What is there comes to the output's scale first; then borders are of that."""
    x, steps = _in_scale_of_output(call)
    before, after = _borders(call, x)
    mode = call.attribute("mode", "constant")
    if mode == "constant":
        return [*steps, Converted(Pad(before, after, _filled(call)), (x,))]
    taken = [_mirrored(mode, *sizes) for sizes in zip(x.shape, before, after, strict=True)]
    return [*steps, Converted(picked(x, call.output.shape, taken, RegularMirrorPad, IrregularMirrorPad), (x,))]


def _in_scale_of_output(call: Call) -> tuple[Tensor, list[Converted]]:
    """The input with the scale, and the bounds, of the output, and what makes it that."""
    x, y = call.input(0, "input"), call.output
    if x.quant is y.quant:  # the file's operator moves integers, or float32
        return x, []
    is_there = scale_and_zero_point(x, "input") == scale_and_zero_point(y, "output")
    if is_there and clamp(call) == full_range(y.dtype):
        return x, []
    inner = Tensor(f"{y.name}/inner", x.shape, y.dtype, y.quant)
    return inner, [requantised(x, inner, clamp(call))]


def _filled(call: Call) -> float:
    """The border's integer; its real value where nothing is quantised."""
    y, given = call.output, call.optional(2)
    value = call.attribute("value", 0.0) if given is None else call.constant(2, "value").reshape(-1)[0]
    if y.dtype == FLOAT32:
        return float(value)
    if call.input(0, "input").quant is y.quant:
        if given is None or given.dtype == FLOAT32:
            raise Refused("it pads integers with what it does not say", "give it the zero point as its value")
        return int(value) - (128 if given.dtype == UINT8 else 0)
    if given is not None and given.quant is not None:
        given_scale, given_zero = scale_and_zero_point(given, "value")
        value = np.float32(int(value) - given_zero) * given_scale
    scale, zero_point = scale_and_zero_point(y, "output")
    return int(np.clip(np.rint(np.float32(value) / scale) + zero_point, *clamp(call)))


def _borders(call: Call, x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is added before and after, of all dimensions."""
    rank = len(x.shape)
    given = list(call.attribute("pads")) if call.node.version < 11 else integers(call, 1, "pads")
    axes = list(range(rank)) if call.optional(3) is None else integers(call, 3, "axes")
    axes = [axis_of(axis, rank) for axis in axes]
    if len(given) != 2 * len(axes) or len(set(axes)) < len(axes):
        raise Refused(f"its pads {given} are not two for each of the axes {axes}")
    if min(given, default=0) < 0:
        raise Refused(f"its pads {given} take something away", "slice before it instead")
    if max(given, default=0) > LARGEST_TENSOR:
        raise Refused(f"its pads {given} are too large")
    by_axis = dict(zip(axes, zip(given[: len(axes)], given[len(axes) :], strict=True), strict=True))
    borders = [by_axis.get(axis, (0, 0)) for axis in range(rank)]
    return tuple(int(pair[0]) for pair in borders), tuple(int(pair[1]) for pair in borders)


def _mirrored(mode: str, size: int, before: int, after: int) -> Sequence[int]:
    if mode == "edge":
        return [*([0] * before), *range(size), *([size - 1] * after)]
    if mode == "wrap":
        return [index % size for index in range(-before, size + after)]
    if mode != "reflect":
        raise Refused(f"its mode {mode!r} is unknown")
    if max(before, after) >= size or size > _LONGEST_MIRRORED:
        raise Refused(f"a dimension of {size} is mirrored by {before} and {after}, supported is up to {size - 1}")
    return mirrored(size, before, after, repeats_edge=False)


CONVERTERS: Mapping[str, Converter] = {"Pad": _pad, "Slice": _slice, "Split": _split}
