"""Activations."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, scale_and_zero_point
from tinygen.ops.activations import Relu6
from tinygen.ops.common import full_range


def _relu(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    zero_point = scale_and_zero_point(x, "input")[1]
    if scale_and_zero_point(x, "input") != scale_and_zero_point(y, "output"):
        raise Refused("its input and output have different scales or zero points")
    return Converted(Relu6((zero_point, full_range(y.dtype)[1])), (x,))


CONVERTERS: Mapping[str, Converter] = {"Relu": _relu}
