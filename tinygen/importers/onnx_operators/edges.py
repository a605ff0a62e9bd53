"""Between float32 and integers, and between integers of different scales."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.converted import Converted
from tinygen.importers.onnx_call import Call, Converter, scale_and_zero_point
from tinygen.importers.onnx_edges import TO_INT8, TO_UINT8
from tinygen.importers.onnx_operators.curves import requantised
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.ops.common import FLOAT32, INT8, UINT8
from tinygen.ops.quantize import Dequantize, Quantize, Requantize
from tinygen.rescaling import Requant

_SAME = Requant.from_scales(1.0)


def _quantize(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(y, "output")
    if x.dtype == FLOAT32:
        return Converted(Quantize(float(scale), zero_point, y.dtype, to_even=True), (x,))
    return requantised(x, y)


def _dequantize(call: Call) -> Converted:
    x = call.input(0, "input")
    scale, zero_point = scale_and_zero_point(x, "input")
    return Converted(Dequantize(float(scale), zero_point), (x,))


def _to_int8(call: Call) -> Converted:
    return Converted(Requantize(128, 0, _SAME, INT8), (call.input(0, "input"),))


def _to_uint8(call: Call) -> Converted:
    return Converted(Requantize(0, 128, _SAME, UINT8), (call.input(0, "input"),))


CONVERTERS: Mapping[str, Converter] = {
    DEQUANTIZE: _dequantize,
    QUANTIZE: _quantize,
    TO_INT8: _to_int8,
    TO_UINT8: _to_uint8,
}
