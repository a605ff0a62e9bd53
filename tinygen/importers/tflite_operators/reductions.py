"""What reduces dimensions: means, sums, and extremes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinygen.fixedpoint import quantize_multiplier
from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import (
    Call,
    Converter,
    refuse_in_litert,
    refuse_int16_zero_points,
    scale_and_zero_point,
)
from tinygen.ir import Tensor
from tinygen.ops.arg_extremum import ArgMax, ArgMin
from tinygen.ops.common import INT32
from tinygen.ops.reduce import Mean, ReduceMax, ReduceMin, Sum
from tinygen.ops.shape import Product
from tinygen.rescaling import Requant


def _axes(call: Call, x: Tensor) -> tuple[int, ...]:
    """The axes from 0, each once, ascending. Those of a scalar are ignored, as in the runtimes."""
    given = call.input(1, "axes")
    if given.data is None:
        raise Refused("the axes are computed at run time, supported is a constant")
    if given.dtype != INT32:
        raise Refused(f"the axes are {given.dtype}, supported is int32")
    rank = len(x.shape)
    if rank == 0:
        return ()
    axes = [int(axis) for axis in given.data.reshape(-1)]
    beyond = [axis for axis in axes if not -rank <= axis < rank]
    if beyond:
        raise Refused(f"the axis {beyond[0]} is not in the input {x.shape}")
    return tuple(sorted({axis % rank for axis in axes}))


def _per_term(real: float, terms: int) -> Requant:
    """The factor divided by the number of terms, in integers: ``QuantizedMeanOrSum`` truncates the multiplier.

    A small factor leaves less than the full width to the multiplier, since its shift must not fall below -31.
    """
    multiplier, shift = quantize_multiplier(real)
    gained = min(terms.bit_length() - 1, 32, 31 + shift)
    return Requant(((multiplier << gained) // terms,), (shift - gained,))


def _total(call: Call, op: type[Mean] | type[Sum]) -> Converted:
    x, y = call.input(0, "input"), call.output
    x_scale, x_zero = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    refuse_int16_zero_points(call, x, y)
    axes = _axes(call, x)
    terms = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    real = x_scale / y_scale
    converted = op(
        axes=axes,
        keep_dims=bool(call.option("keep_dims")),
        zero_point=x_zero,
        output_zero_point=y_zero,
        requant=_per_term(real, terms) if op is Mean else Requant.from_scales(real),
    )
    return Converted(converted, (x,))


def _extreme(call: Call, op: type[ReduceMax] | type[ReduceMin]) -> Converted:
    x, y = call.input(0, "input"), call.output
    if scale_and_zero_point(x, "input") != scale_and_zero_point(y, "output"):
        raise Refused("input and output have different scales or zero points, which the runtimes refuse")
    return Converted(op(_axes(call, x), bool(call.option("keep_dims"))), (x,))


def _mean(call: Call) -> Converted:
    return _total(call, Mean)


def _sum(call: Call) -> Converted:
    refuse_in_litert(call, True, "LiteRT's reference kernel sums quantised values wrongly: it reads int8 as uint8")
    return _total(call, Sum)


def _reduce_max(call: Call) -> Converted:
    return _extreme(call, ReduceMax)


def _reduce_min(call: Call) -> Converted:
    return _extreme(call, ReduceMin)


def _reduce_prod(call: Call) -> Converted:
    x = call.input(0, "input")
    if x.data is None:
        raise Refused("the input is computed at run time, supported are constants: products of dimensions")
    return Converted(Product(_axes(call, x), bool(call.option("keep_dims"))), (x,))


def _arg_extremum(call: Call, op: type[ArgMax] | type[ArgMin]) -> Converted:
    x, y = call.input(0, "input"), call.output
    axes = _axes(call, x)
    if len(axes) != 1:
        raise Refused(f"{len(axes)} axes are given for the input {x.shape}, expected is one")
    if y.dtype != INT32:
        raise Refused(f"the output is {y.dtype}, supported is int32", "tf.argmax(…, output_type=tf.int32)")
    return Converted(op(axes[0]), (x,))


def _arg_max(call: Call) -> Converted:
    return _arg_extremum(call, ArgMax)


def _arg_min(call: Call) -> Converted:
    return _arg_extremum(call, ArgMin)


CONVERTERS: Mapping[str, Converter] = {
    "ARG_MAX": _arg_max,
    "ARG_MIN": _arg_min,
    "MEAN": _mean,
    "REDUCE_MAX": _reduce_max,
    "REDUCE_MIN": _reduce_min,
    "REDUCE_PROD": _reduce_prod,
    "SUM": _sum,
}
