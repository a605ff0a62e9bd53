"""Constant operands of layers that multiply: filters and biases as the graph wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import FloatRequant
from tinygen.importers.converted import Refused
from tinygen.importers.onnx_call import QUANTISE, Call, constant, scale_and_zero_point
from tinygen.importers.onnx_file import shortened
from tinygen.ir import Array, Quant, Tensor
from tinygen.ops.common import FLOAT32, INT8, INT32


def filter_values(weights: Tensor, role: str, axis: int) -> tuple[Array, npt.NDArray[np.float32], int]:
    """Values (int8), scales along `axis` or one, and the zero point that is left: 0 where differences to it are int8.

    Refuses what is no quantised constant.
    """
    name = shortened(weights.name)
    if weights.dtype == FLOAT32:
        raise Refused(f"its {role} {name!r} is float32: no DequantizeLinear makes it", QUANTISE)
    if weights.data is None:
        raise Refused(f"its {role} {name!r} is computed at run time, supported is a constant")
    if weights.dtype != INT8 or weights.quant is None:
        raise Refused(f"its {role} {name!r} is {weights.dtype}, supported is quantised int8 or uint8")
    quant = weights.quant
    if quant.scale.size > 1 and quant.axis != axis % weights.data.ndim:
        raise Refused(f"the scales of its {role} run along dimension {quant.axis}, expected is {axis}")
    zero_points = quant.zero_point.reshape([-1 if at == quant.axis else 1 for at in range(weights.data.ndim)])
    centred = weights.data.astype(np.int64) - zero_points
    if centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127:
        return centred.astype(np.int8), quant.scale, 0
    if np.unique(quant.zero_point).size > 1:
        raise Refused(
            f"the zero points of its {role} {name!r} differ, and less these its values leave int8",
            "quantise the weights symmetrically, which costs nothing where each channel has a scale",
        )
    return weights.data, quant.scale, int(quant.zero_point[0])


def kept(weights: Tensor, layout: str, values: Array, channels: int, scales: npt.NDArray[np.float32]) -> Tensor:
    """The filter in another layout, whose output channels are dimension `channels`."""
    quant = Quant(scales, np.zeros(scales.shape, np.int64), channels)
    return constant(f"{weights.name}/{layout}", values, quant)


def bias(call: Call, index: int, filters: int) -> Tensor:
    """The bias that is given as an input, or zeros (filters,), int32."""
    given = call.optional(index)
    if given is None:
        return constant(f"{call.output.name}/no_bias", np.zeros(filters, np.int32))
    name = shortened(given.name)
    if given.data is None:
        raise Refused(f"its bias {name!r} is computed at run time, supported is a constant")
    if given.dtype != INT32:
        raise Refused(
            f"its bias {name!r} is {given.dtype}, expected is int32 behind DequantizeLinear",
            "quantise the bias, too: as int32, in the product of the scales of input and weights",
        )
    if given.quant is not None and np.any(given.quant.zero_point):
        raise Refused(f"its bias {name!r} has a zero point other than 0")
    flat = given.data.reshape(-1)
    if flat.size not in (1, filters) or given.data.shape[:-1] != (1,) * (given.data.ndim - 1):
        raise Refused(f"its bias {name!r} has the shape {given.shape}, expected is ({filters},)")
    return constant(f"{given.name}/{filters}", np.broadcast_to(flat, (filters,)))


def requant(call: Call, x: Tensor, scales: npt.NDArray[np.float32], alpha: float = 1.0) -> FloatRequant:
    """What takes sums of products to the output's scale: as ONNX Runtime computes it."""
    x_scale, _ = scale_and_zero_point(x, "input")
    y_scale, _ = scale_and_zero_point(call.output, "output")
    with np.errstate(over="ignore", under="ignore"):
        found = FloatRequant.from_scales(np.float32(alpha) * x_scale, scales, y_scale)
    expect_finite(found.factors)
    return found


def expect_finite(factors: Sequence[float]) -> None:
    """Refuses what float32 has no number for."""
    if not np.all(np.isfinite(factors)) or min(factors) < np.finfo(np.float32).tiny:
        raise Refused("its scales have a quotient that is no number, or too small, in float32")
