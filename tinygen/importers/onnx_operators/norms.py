"""Normalisations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.float32 import FloatArray
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, constant, from_nhwc, scale_and_zero_point, to_nhwc
from tinygen.importers.onnx_operators.slices import axis_of
from tinygen.ir import Shape, Tensor
from tinygen.ops.common import FLOAT32
from tinygen.ops.float_instance_norm import FloatInstanceNorm
from tinygen.ops.float_layer_norm import FloatLayerNorm
from tinygen.ops.reshape import Reshape


def _layer_norm(call: Call) -> Sequence[Converted]:
    """Over all dimensions from the axis on."""
    x, y = call.input(0, "input"), call.outputs[0]
    if any(call.node.outputs[1:]):
        raise Refused("its further outputs, mean and deviation, are not supported", "leave them out")
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    axis = axis_of(int(call.attribute("axis", -1)), len(x.shape))
    depth = math.prod(x.shape[axis:])
    gain = _real(call, 1, "scale", x.shape[axis:])
    bias = np.zeros(depth, np.float32) if call.optional(2) is None else _real(call, 2, "bias", x.shape[axis:])
    epsilon = float(np.float32(call.attribute("epsilon", 1e-5)))
    op = FloatLayerNorm(float(scale), zero_point, epsilon, float(y_scale), y_zero, clamp(call))
    of_columns = (constant(f"{y.name}~gain", gain), constant(f"{y.name}~bias", bias))
    if axis == len(x.shape) - 1:
        return [Converted(op, (x, *of_columns), (y,))]
    rows, result = (
        Tensor(f"{y.name}~{role}", (x.elements // depth, depth), each.dtype, each.quant)
        for role, each in (("values", x), ("rows", y))
    )
    return [
        Converted(Reshape.to(rows.shape), (x,), (rows,)),
        Converted(op, (rows, *of_columns), (result,)),
        Converted(Reshape.to(y.shape), (result,), (y,)),
    ]


def _instance_norm(call: Call) -> Sequence[Converted]:
    """Of each channel of each image, or of other data."""
    x, y = call.input(0, "input"), call.output
    scale, zero_point = scale_and_zero_point(x, "input")
    epsilon = float(np.float32(call.attribute("epsilon", 1e-5)))
    op = FloatInstanceNorm(float(scale), zero_point, epsilon)
    if y.dtype != FLOAT32:
        y_scale, y_zero = scale_and_zero_point(y, "output")
        op = FloatInstanceNorm(float(scale), zero_point, epsilon, float(y_scale), y_zero, clamp(call))
    constants = [
        constant(f"{y.name}~{role}", _real(call, index, role, x.shape[1:2]))
        for index, role in ((1, "scale"), (2, "bias"))
    ]
    is_image = len(x.shape) == 4
    (source, before), (result, after) = (to_nhwc(x), from_nhwc(y)) if is_image else ((x, []), (y, []))
    pixels = math.prod(x.shape[2:])
    shape = (x.shape[0], pixels, x.shape[1]) if is_image else (x.shape[0] * x.shape[1], pixels, 1)
    values, normal = (
        Tensor(f"{y.name}~{role}", shape, each.dtype, each.quant) for role, each in (("values", x), ("rows", y))
    )
    return [
        *before,
        Converted(Reshape.to(shape), (source,), (values,)),
        Converted(op, (values, *constants), (normal,)),
        Converted(Reshape.to(result.shape), (normal,), (result,)),
        *after,
    ]


def _real(call: Call, index: int, role: str, shape: Shape) -> FloatArray:
    """The real values (n,) of a constant for all dimensions of a row of this shape."""
    given, values = call.input(index, role), call.constant(index, role)
    if given.quant is not None and given.quant.scale.size == 1:
        differences = values.astype(np.int64) - given.quant.zero_point[0]
        values = differences.astype(np.float32) * np.float32(given.quant.scale[0])
    if values.dtype != FLOAT32 or values.shape != shape:
        raise Refused(f"its {role} is {given.dtype} {given.shape}, expected is {shape}, float32 or of one scale")
    return np.asarray(values.reshape(-1))


CONVERTERS: Mapping[str, Converter] = {
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
}
