"""Scales and zero points as they stand in the file, what they are for int8, and constants that have them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from tinygen.float32 import FloatArray, quantize
from tinygen.importers.converted import Refused
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.ir import Array, Quant, Shape, Tensor, read_only
from tinygen.ops.common import FLOAT32, INT32, INT64, UINT8, full_range

_RENAMED = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_BOUNDING = ("Relu", "Clip")


def quant_of(node: RawNode, constants: Mapping[str, Array], dtype: np.dtype[np.generic], rank: int) -> Quant:
    """The scales of QuantizeLinear or DequantizeLinear, as int8 has them."""
    if node.attributes.get("block_size"):
        raise Refused(
            "its scales are for blocks of values, which ONNX Runtime multiplies in float32",
            "quantise the weights with one scale for each channel, or one for all",
        )
    scale = _scale_or_zero_point(node, constants, 1, "scale")
    if scale.dtype != FLOAT32 or not np.all(np.isfinite(scale) & (scale > 0)):
        raise Refused("its scale is no positive float32")
    zero_point = np.zeros(scale.shape, np.int64)
    if len(node.inputs) > 2 and node.inputs[2]:
        given = _scale_or_zero_point(node, constants, 2, "zero point")
        if given.dtype != dtype:
            raise Refused(f"its zero point is {given.dtype}, its integers are {dtype}", "give both the same type")
        zero_point = given.astype(np.int64)
    if zero_point.size != scale.size:
        raise Refused(f"it has {scale.size} scales and {zero_point.size} zero points")
    axis = int(node.attributes.get("axis", 1))
    axis = 0 if scale.size == 1 else axis + rank if axis < 0 else axis
    stored = zero_point.reshape(-1) - (128 if dtype == UINT8 else 0)
    return Quant(read_only(scale.reshape(-1)), read_only(stored), axis)


def _scale_or_zero_point(node: RawNode, constants: Mapping[str, Array], index: int, role: str) -> Array:
    name = node.inputs[index]
    if name not in constants:
        raise Refused(
            f"its {role} {shortened(name)!r} is computed at run time",
            "quantise statically, with calibration data: onnxruntime.quantization.quantize_static",
        )
    return constants[name]


def bounds_of(node: RawNode, constants: Mapping[str, Array]) -> tuple[float, float] | None:
    """What Relu or Clip leaves; None for others, and where it is not constant."""
    if node.op not in _BOUNDING:
        return None
    if node.op == "Relu":
        return 0.0, math.inf
    limits = [float(node.attributes.get("min", -math.inf)), float(node.attributes.get("max", math.inf))]
    for place, name in enumerate(node.inputs[1:3]):
        if name and (name not in constants or constants[name].size != 1):
            return None
        if name:
            limits[place] = float(constants[name].reshape(-1)[0])
    return limits[0], limits[1]


def is_implied(bounds: tuple[float, float], quant: Quant) -> bool:
    """Whether integers of that scale cannot be out of bounds anyway."""
    low, high = ((end - int(quant.zero_point[0])) * float(quant.scale[0]) for end in (-128, 127))
    return bounds[0] <= low and high <= bounds[1]


def moved_constant(node: RawNode, x: Tensor, shape: Shape) -> Tensor | None:
    """A quantised constant in another shape, or its dimensions in another order; None for other operators.

    Raises Refused where the dimension is gone that scales run along.
    """
    assert x.data is not None and x.quant is not None
    axis = x.quant.axis
    if node.op == "Transpose":
        order = [int(at) for at in node.attributes.get("perm", range(x.data.ndim)[::-1])]
        data, axis = x.data.transpose(order), order.index(axis) if x.quant.scale.size > 1 else axis
    elif node.op in _RENAMED:
        data = x.data.reshape(shape)
        if x.quant.scale.size > 1:
            before = math.prod(x.shape[:axis])
            found = [at for at in range(len(shape)) if math.prod(shape[:at]) == before and shape[at] == x.shape[axis]]
            if not found:
                raise Refused(f"it takes apart dimension {axis} of {x.shape}, which has a scale for each index")
            axis = found[-1]
    else:
        return None
    moved = dataclasses.replace(x.quant, axis=axis)
    return dataclasses.replace(x, name=node.outputs[0], shape=data.shape, quant=moved, data=read_only(data))


def reals_of(x: Tensor) -> FloatArray:
    """What a quantised constant stands for, as DequantizeLinear computes it: in the constant's shape."""
    assert x.data is not None and x.quant is not None
    each = [-1 if at == x.quant.axis else 1 for at in range(x.data.ndim)] if x.quant.scale.size > 1 else ()
    differences = (x.data.astype(np.int64) - x.quant.zero_point.reshape(each)).astype(np.float32)
    return np.asarray(differences * x.quant.scale.reshape(each))


def requantised_constant(x: Tensor, y: Tensor) -> Tensor:
    """A quantised constant as QuantizeLinear makes `y`, which has one scale, of the reals that it stands for.

    Exporters share weights that are equal, by Identity; quantisers take what comes of it for an activation.
    """
    assert y.quant is not None
    data = quantize(reals_of(x), float(y.quant.scale[0]), int(y.quant.zero_point[0]), *full_range(y.dtype))
    return dataclasses.replace(y, data=read_only(data.astype(y.dtype)))


def index_type(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """What holds values of a file: indices, which are int64 there, are int32 here."""
    return INT32 if dtype == INT64 else dtype


def same_scales(a: Quant, b: Quant) -> bool:
    """Whether integers stand for the same numbers."""
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)
