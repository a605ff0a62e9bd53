"""What makes one tensor of several, or several of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import Call, Converter, integers, same_scale
from tinygen.ir import Tensor
from tinygen.ops.concatenation import Concatenation, Pack
from tinygen.ops.strided_copy import Loop, Split, Unpack, row_major


def _joined(call: Call) -> tuple[Tensor, ...]:
    """The inputs of an operator that joins them; all share the output's scale."""
    inputs = tuple(call.input(index, f"input {index}") for index in range(len(call.inputs)))
    if not inputs:
        raise Refused("it has no inputs")
    for index, x in enumerate(inputs):
        same_scale(x, f"input {index}", call.output, "output")
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
        same_scale(x, "input", y, f"output {index}")
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
    sizes = integers(call, 1, "sizes", (len(call.outputs),))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    return _parts(call, x, axis, sizes, Split)


def _unpack(call: Call) -> list[Converted]:
    x = call.input(0, "input")
    axis = _axis(int(call.option("axis")), len(x.shape))
    return _parts(call, x, axis, [1] * x.shape[axis], Unpack)


def _one_integer(call: Call, index: int, role: str) -> int:
    """The value of a constant int32 input of one element, of any shape."""
    values = integers(call, index, role, call.input(index, role).shape)
    if len(values) != 1:
        raise Refused(f"the {role} has {len(values)} elements, expected is one")
    return values[0]


CONVERTERS: Mapping[str, Converter] = {
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
}
