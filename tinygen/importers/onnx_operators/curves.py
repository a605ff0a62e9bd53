"""Functions of one value: ONNX Runtime computes them in float32, between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinygen import float32
from tinygen.float32 import FloatArray, dequantize
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import (
    Call,
    Converter,
    clamp,
    constant,
    from_nhwc,
    scale_and_zero_point,
    to_nhwc,
)
from tinygen.importers.onnx_curves import CURVE, REAL_CURVE
from tinygen.importers.onnx_file import shortened
from tinygen.ir import Tensor
from tinygen.ops.activations import Relu6
from tinygen.ops.common import FLOAT32, INT8, UINT8, Clamp, full_range
from tinygen.ops.curve import CODES, ChannelCurves, Curve
from tinygen.ops.extremum import Maximum, Minimum
from tinygen.ops.quantize import Quantize
from tinygen.ops.real_curve import RealCurve
from tinygen.ops.reshape import Reshape


def requantised(x: Tensor, y: Tensor, limits: Clamp | None = None, curve: Sequence[float] = ()) -> Converted:
    """The numbers that x stands for, or those of a curve (256,), in another scale, within limits."""
    scale, zero_point = scale_and_zero_point(y, "output")
    limits = full_range(y.dtype) if limits is None else limits
    values = np.array(curve, np.float32) if curve else reals(x)
    return Converted(Curve.of("QuantizeLinear", values, float(scale), zero_point, limits), (x,), (y,))


def reals(x: Tensor) -> FloatArray:
    """(256,): what the values of x stand for, from -128 on."""
    scale, zero_point = scale_and_zero_point(x, "input")
    return dequantize(CODES, float(scale), zero_point)


def _curve(call: Call, function: Callable[[FloatArray], FloatArray]) -> Converted:
    x = call.input(0, "input")
    scale, zero_point = scale_and_zero_point(call.output, "output")
    return Converted(Curve.of(call.op, function(reals(x)), float(scale), zero_point, clamp(call)), (x,))


def _relu(call: Call) -> Converted | Sequence[Converted]:
    if call.input(0, "input").dtype == FLOAT32:
        return _within(call, np.float32(0), np.float32(np.inf))
    return _curve(call, lambda x: np.maximum(x, np.float32(0)))


def _within(call: Call, low: np.float32, high: np.float32) -> Sequence[Converted]:
    """Of real values: to int8, QuantizeLinear keeps the order, so that it may come first."""
    x, y = call.input(0, "input"), call.output
    if y.dtype != FLOAT32:
        scale, zero_point = scale_and_zero_point(y, "output")
        limits = clamp(dataclasses.replace(call, bounds=_inner((float(low), float(high)), call.bounds)))
        codes = Tensor(f"{y.name}~codes", y.shape, y.dtype, y.quant)
        quantised = Quantize(float(scale), zero_point, y.dtype, to_even=True)
        return [Converted(quantised, (x,), (codes,)), Converted(Relu6(limits), (codes,), (y,))]
    steps: list[Converted] = []
    found = x
    for op, name, bound in ((Maximum(), "low", low), (Minimum(), "high", high)):
        if np.isfinite(bound):
            bounded = Tensor(f"{y.name}~{name}", y.shape, FLOAT32)
            steps.append(Converted(op, (found, constant(f"{bounded.name} bound", np.array(bound))), (bounded,)))
            found = bounded
    return [*steps, Converted(Reshape.to(y.shape), (found,), (y,))]


def _inner(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """What is left within the first bounds, and then the second ones."""
    return min(max(first[0], second[0]), second[1]), min(max(first[1], second[0]), second[1])


def _clip(call: Call) -> Converted | Sequence[Converted]:
    bounds = [call.optional(index) for index in (1, 2)]
    if any(bound is not None and bound.dtype in (INT8, UINT8) and bound.quant is None for bound in bounds):
        return _clip_of_integers(call)
    low, high = (
        np.float32(call.attribute(name, default))
        if (given := call.optional(index)) is None
        else _real(given, "bound").reshape(-1)[0]
        for index, name, default in ((1, "min", -np.inf), (2, "max", np.inf))
    )
    if call.input(0, "input").dtype == FLOAT32:
        return _within(call, np.float32(low), np.float32(high))
    return _curve(call, lambda x: np.minimum(np.maximum(x, low), high))


def _clip_of_integers(call: Call) -> Converted:
    """Of what QuantizeLinear makes, as PyTorch exports it where it leaves out a bit."""
    codes = list(full_range(INT8))
    for place, role in ((0, "lower bound"), (1, "upper bound")):
        if call.optional(place + 1) is not None:
            bound = call.constant(place + 1, role)
            codes[place] = int(bound.reshape(-1)[0]) - (128 if bound.dtype == UINT8 else 0)
    return Converted(Relu6((min(codes), codes[1])), (call.input(0, "input"),))


def _leaky_relu(call: Call) -> Converted:
    alpha = float(call.attribute("alpha", 0.01))
    return _curve(call, lambda x: float32.leaky_relu(x, alpha))


def _sigmoid(call: Call) -> Converted:
    return _curve(call, float32.logistic)


def _tanh(call: Call) -> Converted:
    return _curve(call, float32.tanh)


def _hard_sigmoid(call: Call) -> Converted:
    alpha, beta = float(call.attribute("alpha", 0.2)), float(call.attribute("beta", 0.5))
    return _curve(call, lambda x: float32.hard_sigmoid(x, alpha, beta))


def _hard_swish(call: Call) -> Converted:
    """x times HardSigmoid of alpha 1/6 and beta 1/2, as the standard has it."""
    return _curve(call, lambda x: x * float32.hard_sigmoid(x, 1 / 6, 0.5))


def _prelu(call: Call) -> Converted | Sequence[Converted]:
    """Slopes for all, or one for each channel (c, 1, ..., 1)."""
    x, y = call.input(0, "input"), call.output
    slopes = _real(call.input(1, "slope"), "slope")
    if slopes.size == 1:
        return _curve(call, lambda values: float32.leaky_relu(values, float(slopes.reshape(-1)[0])))
    rank = len(x.shape)
    aligned = slopes.reshape((1,) * (rank - slopes.ndim) + slopes.shape) if slopes.ndim <= rank else slopes
    if rank not in (3, 4) or aligned.shape != (1, x.shape[1], *(1,) * (rank - 2)):
        raise Refused(f"its slope has the shape {slopes.shape}, supported are one value, and one for each channel")
    scale, zero_point = scale_and_zero_point(y, "output")
    results = float32.leaky_relu(reals(x), slopes.reshape(-1, 1))
    tables = float32.quantize(results, float(scale), zero_point, *clamp(call)).astype(np.int8)
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    operands = (image, constant(f"{y.name}~tables", tables))
    return [*before, Converted(ChannelCurves(call.op), operands, (result,)), *after]


def _real(tensor: Tensor, role: str) -> FloatArray:
    """The real values of a constant."""
    if tensor.data is None:
        raise Refused(f"its {role} {shortened(tensor.name)!r} is computed at run time, supported is a constant")
    if tensor.dtype == FLOAT32:
        return np.asarray(tensor.data, np.float32)
    scale, zero_point = scale_and_zero_point(tensor, role)
    return dequantize(tensor.data.astype(np.int64), float(scale), zero_point)


def _function(call: Call) -> Converted | Sequence[Converted]:
    """Any function, by its tables (1 or channels, 256)."""
    x, y = call.input(0, "input"), call.output
    tables, axis, name = call.constant(1, "tables"), int(call.attribute("axis")), str(call.attribute("functions"))
    if len(tables) == 1:
        return Converted(Curve(name, tuple(tables[0].tolist())), (x,))
    operand = call.input(1, "tables")
    if axis == len(x.shape) - 1:
        return Converted(ChannelCurves(name), (x, operand))
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return [*before, Converted(ChannelCurves(name), (image, operand), (result,)), *after]


def _real_function(call: Call) -> Converted:
    """Any function whose results stay float32, by its table (1, 256)."""
    reals = call.constant(1, "table")
    return Converted(RealCurve(str(call.attribute("functions")), tuple(reals[0].tolist())), (call.input(0, "input"),))


CONVERTERS: Mapping[str, Converter] = {
    CURVE: _function,
    REAL_CURVE: _real_function,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "Tanh": _tanh,
}
