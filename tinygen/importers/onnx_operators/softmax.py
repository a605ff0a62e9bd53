"""Softmax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, scale_and_zero_point, transposed
from tinygen.ops.float_softmax import FloatSoftmax

_ALONG_AXIS = 13
"""The opset since which it works along one dimension; before, along all from there on."""


def _softmax(call: Call) -> Sequence[Converted]:
    x, y = call.input(0, "input"), call.output
    (scale, _), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    if not call.alike:
        raise Refused("its input is int8 and its output uint8 in ONNX Runtime, or the other way round")
    rank = len(x.shape)
    axis = int(call.attribute("axis", -1 if call.node.version >= _ALONG_AXIS else 1))
    if not -rank <= axis < rank:
        raise Refused(f"its axis {axis} is none of {rank} dimensions")
    axis %= rank
    if call.node.version < _ALONG_AXIS and any(dim > 1 for dim in x.shape[axis + 1 :]):
        raise Refused("it works along several dimensions at once", "export it with opset 13 or later")
    op = FloatSoftmax(float(scale), float(y_scale), y_zero)
    if axis == rank - 1:
        return [Converted(op, (x,), (y,))]
    order = [*(place for place in range(rank) if place != axis), axis]
    shape = tuple(x.shape[place] for place in order)
    rows, result = (dataclasses.replace(t, name=f"{t.name}/rows", shape=shape) for t in (x, y))
    back = [order.index(place) for place in range(rank)]
    return [transposed(x, order, rows), Converted(op, (rows,), (result,)), transposed(result, back, y)]


CONVERTERS: Mapping[str, Converter] = {"Softmax": _softmax}
