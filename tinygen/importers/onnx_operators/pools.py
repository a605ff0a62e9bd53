"""Pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, from_nhwc, scale_and_zero_point, spatial, to_nhwc
from tinygen.importers.onnx_operators.windows import window
from tinygen.ops.common import full_range
from tinygen.ops.pool_2d import MaxPool2D
from tinygen.ops.window import Axis, Window


def _max_pool(call: Call) -> Sequence[Converted]:
    if len(call.outputs) > 1 and call.node.outputs[1]:
        raise Refused("its second output, the indices, is not supported")
    if call.attribute("storage_order", 0):
        raise Refused("its storage_order is 1, which is not supported")
    return _pooled(call, window(call, call.input(0, "input"), call.attribute("kernel_shape")))


def _global_max_pool(call: Call) -> Sequence[Converted]:
    sizes = spatial(call.input(0, "input"))
    rows, columns = (1, *sizes) if len(sizes) == 1 else sizes
    return _pooled(call, Window(Axis(rows, 1), Axis(columns, 1)))


def _pooled(call: Call, steps: Window) -> Sequence[Converted]:
    x, y = call.input(0, "input"), call.outputs[0]
    scale_and_zero_point(x, "input")
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(MaxPool2D(steps, full_range(y.dtype)), (image,), (result,)), *after]


CONVERTERS: Mapping[str, Converter] = {"GlobalMaxPool": _global_max_pool, "MaxPool": _max_pool}
