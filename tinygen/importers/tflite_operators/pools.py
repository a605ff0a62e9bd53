"""Pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import Call, Converter, clamp, scale_and_zero_point, window
from tinygen.ops.common import Clamp
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D, Ties
from tinygen.ops.window import Window


def _pool(call: Call, op: Callable[[Window, Clamp], AveragePool2D | MaxPool2D]) -> Converted:
    x, y = call.input(0, "input"), call.output
    if scale_and_zero_point(x, "input") != scale_and_zero_point(y, "output"):
        raise Refused("input and output have different scales or zero points, which the runtimes ignore")
    kernel = (int(call.option("filter_height")), int(call.option("filter_width")))
    return Converted(op(window(call, x, kernel), clamp(call, y)), (x,))


def _average_pool_2d(call: Call) -> Converted:
    return _pool(call, partial(AveragePool2D, ties=Ties.UP if call.was_uint8 else Ties.AWAY_FROM_ZERO))


def _max_pool_2d(call: Call) -> Converted:
    return _pool(call, MaxPool2D)


CONVERTERS: Mapping[str, Converter] = {
    "AVERAGE_POOL_2D": _average_pool_2d,
    "MAX_POOL_2D": _max_pool_2d,
}
