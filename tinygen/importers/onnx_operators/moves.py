"""What moves values, or only renames them."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, transposed
from tinygen.ops.reshape import Reshape


def _reshape(call: Call) -> Converted:
    return Converted(Reshape.to(call.output.shape), (call.input(0, "input"),))


def _transpose(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    rank = len(x.shape)
    order = [int(axis) for axis in call.attribute("perm", list(range(rank))[::-1])]
    if sorted(order) != list(range(rank)):
        raise Refused(f"its perm {order} is no order of {rank} dimensions")
    return transposed(x, order, y)


CONVERTERS: Mapping[str, Converter] = {
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
