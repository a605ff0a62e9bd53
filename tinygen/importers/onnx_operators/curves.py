"""Functions of one value, which ONNX Runtime computes in float32 for every value; here, for all 256 of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinygen.float32 import FloatArray, dequantize, hard_sigmoid, leaky_relu, logistic, quantize, tanh
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, constant, scale_and_zero_point
from tinygen.importers.onnx_operators.layouts import channels_last
from tinygen.ir import Tensor
from tinygen.ops.common import full_range
from tinygen.ops.curve import CODES, ChannelCurves, Curve

_Function = Callable[[Call, FloatArray], FloatArray]


def rescaled(x: Tensor, y: Tensor, bounds: tuple[float, float], function: str) -> Curve:
    """The same real value, within bounds, as an integer of y's scale."""
    return _curve(dequantize(CODES, *_real(x, "input")), y, bounds, function)


def _curve(results: FloatArray, y: Tensor, bounds: tuple[float, float], function: str) -> Curve:
    scale, zero_point = _real(y, "output")
    bounded = np.clip(results, np.float32(bounds[0]), np.float32(bounds[1]))
    return Curve(function, tuple(quantize(bounded, scale, zero_point, *full_range(y.dtype)).tolist()))


def _real(tensor: Tensor, role: str) -> tuple[float, int]:
    scale, zero_point = scale_and_zero_point(tensor, role)
    return float(scale), zero_point


def _converter(function: _Function) -> Converter:
    def convert(call: Call) -> Converted:
        x = call.input(0, "input")
        results = function(call, dequantize(CODES, *_real(x, "input")))
        return Converted(_curve(results, call.output, call.bounds, call.op), (x,))

    return convert


def _clip(call: Call, x: FloatArray) -> FloatArray:
    limits = [call.attribute("min", -np.inf), call.attribute("max", np.inf)]
    for place, index in enumerate((1, 2)):
        if call.optional(index) is not None:
            given = call.constant(index, "limit")
            if given.size != 1:
                raise Refused(f"its limit has {given.size} values, expected is one")
            limits[place] = given.reshape(-1)[0]
    low, high = (np.float32(limit) for limit in limits)
    return np.asarray(np.minimum(np.maximum(x, low), high))


def _hard_sigmoid(call: Call, x: FloatArray) -> FloatArray:
    return hard_sigmoid(x, float(call.attribute("alpha", 0.2)), float(call.attribute("beta", 0.5)))


def _hard_swish(call: Call, x: FloatArray) -> FloatArray:
    return np.asarray(x * hard_sigmoid(x, 1 / 6, 0.5))


def _leaky_relu(call: Call, x: FloatArray) -> FloatArray:
    return leaky_relu(x, float(call.attribute("alpha", 0.01)))


def _prelu(call: Call) -> Converted | list[Converted]:
    """One slope for all values, or one for each channel (c, 1, 1)."""
    x, slope = call.input(0, "input"), call.constant(1, "slope")
    if call.input(1, "slope").quant is not None:
        slope = dequantize(slope, *_real(call.input(1, "slope"), "slope"))
    elif slope.dtype != np.float32:
        raise Refused(f"its slope is {slope.dtype}, expected is float32 or quantised int8")
    reals = dequantize(CODES, *_real(x, "input"))
    if slope.size == 1:
        results = leaky_relu(reals, float(slope.reshape(-1)[0]))
        return Converted(_curve(results, call.output, call.bounds, call.op), (x,))
    return _by_channel(call, x, slope, np.stack([leaky_relu(reals, alpha) for alpha in slope.reshape(-1)]))


def _by_channel(call: Call, x: Tensor, given: FloatArray, results: FloatArray) -> list[Converted]:
    """`results` (channels, 256) of a constant with a value for each channel, dimension 1."""
    channels = x.shape[1] if len(x.shape) > 1 else 0
    padded = (1,) * (len(x.shape) - given.ndim) + given.shape
    if padded != (1, channels, *[1] * (len(x.shape) - 2)):
        raise Refused(f"its constant of the shape {given.shape} has no value for each of {channels} channels")
    tables = np.array([_curve(row, call.output, call.bounds, call.op).table for row in results], np.int8)
    image, result, before, after = channels_last(x, call.output)
    kept = constant(f"{call.output.name}/tables", tables)
    return [*before, Converted(ChannelCurves(call.op), (image, kept), (result,)), *after]


FUNCTIONS: Mapping[str, _Function] = {
    "Abs": lambda _, x: np.abs(x),
    "Ceil": lambda _, x: np.ceil(x),
    "Clip": _clip,
    "Floor": lambda _, x: np.floor(x),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "Neg": lambda _, x: -x,
    "Relu": lambda _, x: np.maximum(x, np.float32(0)),
    "Sigmoid": lambda _, x: logistic(x),
    "Tanh": lambda _, x: tanh(x),
}
"""Of 256 real values, by the operator."""

CONVERTERS: Mapping[str, Converter] = {
    **{name: _converter(function) for name, function in FUNCTIONS.items()},
    "PRelu": _prelu,
}
