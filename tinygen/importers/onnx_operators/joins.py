"""Concatenation, of inputs of any scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, scale_and_zero_point
from tinygen.importers.onnx_operators.curves import rescaled
from tinygen.ir import Tensor
from tinygen.ops.concatenation import Concatenation


def _concat(call: Call) -> Sequence[Converted]:
    y = call.output
    rank = len(y.shape)
    axis = int(call.attribute("axis"))
    if not -rank <= axis < rank:
        raise Refused(f"its axis {axis} is none of {rank} dimensions")
    wanted = scale_and_zero_point(y, "output")
    parts: list[Converted] = []
    inputs: list[Tensor] = []
    for index in range(len(call.inputs)):
        x = call.input(index, "input")
        if scale_and_zero_point(x, "input") != wanted:
            scaled = Tensor(f"{y.name}/{index}", x.shape, x.dtype, y.quant)
            parts.append(Converted(rescaled(x, y, call.bounds, "Rescale"), (x,), (scaled,)))
            x = scaled
        inputs.append(x)
    return [*parts, Converted(Concatenation(y.shape, math.prod(y.shape[: axis % rank])), tuple(inputs), (y,))]


CONVERTERS: Mapping[str, Converter] = {"Concat": _concat}
