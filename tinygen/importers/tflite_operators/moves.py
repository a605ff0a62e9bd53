"""What moves bytes, or only renames them."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.tflite_call import (
    Call,
    Converted,
    Converter,
    Refused,
    scale_and_zero_point,
)
from tinygen.ops.common import INT8
from tinygen.ops.reshape import Reshape


def _reshape(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    if x.dtype == INT8 and scale_and_zero_point(x, "input") != scale_and_zero_point(y, "output"):
        raise Refused("input and output have different scales or zero points, which the runtimes ignore")
    return Converted(Reshape(y.shape), (x,))


CONVERTERS: Mapping[str, Converter] = {
    "RESHAPE": _reshape,
}
