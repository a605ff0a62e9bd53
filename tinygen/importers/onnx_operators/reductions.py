"""What makes one value of many."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter
from tinygen.importers.onnx_operators.slices import axis_of, integers
from tinygen.ops.reduce import ReduceMax, ReduceMin
from tinygen.ops.reshape import Reshape

_AXES_AS_INPUT = 18


def _extremum(call: Call) -> Converted:
    x, axes = call.input(0, "input"), reduced_axes(call)
    if not axes:
        return Converted(Reshape.to(call.output.shape), (x,))
    op = ReduceMax if call.op == "ReduceMax" else ReduceMin
    return Converted(op(axes, bool(call.attribute("keepdims", 1))), (x,))


def reduced_axes(call: Call) -> tuple[int, ...]:
    """Ascending; none where nothing is reduced."""
    rank = len(call.input(0, "input").shape)
    if call.node.version < _AXES_AS_INPUT:
        given = [int(axis) for axis in call.attribute("axes", [])]
    else:
        given = [] if call.optional(1) is None else integers(call, 1, "axes")
    if not given and not call.attribute("noop_with_empty_axes", 0):
        return tuple(range(rank))
    axes = tuple(sorted(axis_of(axis, rank) for axis in given))
    if len(set(axes)) < len(axes):
        raise Refused(f"its axes {given} name a dimension twice")
    return axes


CONVERTERS: Mapping[str, Converter] = {"ReduceMax": _extremum, "ReduceMin": _extremum}
