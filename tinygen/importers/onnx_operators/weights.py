"""Constant operands of layers that multiply: filters and biases as the graph wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import INT32_MAX
from tinygen.importers.converted import Refused
from tinygen.importers.onnx_call import QUANTISE, Call, constant, is_real_row, scale_and_zero_point
from tinygen.importers.onnx_file import shortened
from tinygen.importers.onnx_integer_products import SCALED
from tinygen.ir import Array, Quant, Tensor
from tinygen.ops.common import FLOAT32, INT8, INT32
from tinygen.rescaling import FloatLine, FloatRequant, Rescaling

_BIAS_REMEDY = "quantise the bias as int32, in the product of the scales of input and weights, with zero point 0"


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
    return constant(f"{weights.name}~{layout}", values, quant)


_TOLERANCE, _NEGLIGIBLE = 0.01, 1e-6
"""By how much the scale of a convolution's bias may be off, relatively and in addition, for ONNX Runtime to compute on
integers: as if it were not off."""


def real_bias(
    call: Call, index: int, x: Tensor, scales: npt.NDArray[np.float32], filters: int
) -> npt.NDArray[np.float32]:
    """The bias (filters,) of a layer that is computed in float32, given as an input, or zeros.

    ONNX Runtime quantises one of float32, where the weights have one of `scales`, or one for each filter; but not of
    MatMul, which Relu keeps from being fused, nor where the result stays float32.
    """
    given = call.optional(index)
    if given is None:
        return np.zeros(filters, np.float32)
    values, name = call.constant(index, "bias"), shortened(given.name)
    if values.shape == (1, filters):
        values = values.reshape(-1)
    if values.shape != (filters,):
        raise Refused(f"its bias {name!r} has the shape {given.shape}, expected is ({filters},)")
    if given.dtype == FLOAT32:
        unit = scale_and_zero_point(x, "input")[0] * scales
        if is_real_row(given) or call.op == "MatMul" or call.output.dtype == FLOAT32:
            return values
        return np.asarray(_steps(values, unit, name) * unit) if scales.size in (1, filters) else values
    if given.dtype not in (INT8, INT32) or given.quant is None:
        raise Refused(f"its bias {name!r} is {given.dtype}, supported are int8, int32 and float32", _BIAS_REMEDY)
    differences = values.astype(np.int64) - given.quant.zero_point
    return np.asarray(differences.astype(np.float32) * given.quant.scale)


def has_odd_bias(call: Call, x: Tensor, scales: npt.NDArray[np.float32]) -> bool:
    """Whether a convolution's bias counts in other steps than its products: ONNX Runtime does not fuse it then.

    Quantisers do that where layers share a bias.
    """
    given = call.optional(2)
    if given is None or given.quant is None:
        return False
    unit = scale_and_zero_point(x, "input")[0] * scales
    if unit.size > 1 and given.quant.scale.size not in (1, unit.size):
        return True
    return bool((np.abs(given.quant.scale - unit) > _TOLERANCE * unit + _NEGLIGIBLE).any())


def _steps(values: Array, unit: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    """A float32 bias as ONNX Runtime quantises it: whole numbers."""
    steps = np.rint(values / unit)
    if not np.all(np.abs(steps) < INT32_MAX):
        raise Refused(f"its bias {name!r} is beyond int32 in the product of the scales of input and weights")
    return np.asarray(steps, np.float32)


def bias(
    call: Call, index: int | None, x: Tensor, scales: npt.NDArray[np.float32], filters: int, *, in_scale: bool = False
) -> Tensor:
    """The bias (filters,) that is given as an input, int32, or zeros. One of float32 is quantised as the runtime does.

    `in_scale`: whether its scale has to be the product of x's and the weights' `scales`.
    """
    given = None if index is None else call.optional(index)
    if given is None:
        return constant(f"{call.output.name}~no_bias", np.zeros(filters, np.int32))
    name = shortened(given.name)
    if given.data is None:
        raise Refused(f"its bias {name!r} is computed at run time, supported is a constant")
    flat = given.data.reshape(-1)
    if flat.size not in (1, filters) or given.data.shape[:-1] != (1,) * (given.data.ndim - 1):
        raise Refused(f"its bias {name!r} has the shape {given.shape}, expected is ({filters},)")
    unit = scale_and_zero_point(x, "input")[0] * scales
    if given.dtype == FLOAT32:
        flat = _steps(flat, unit, name).astype(np.int32)
    elif given.dtype != INT32:
        raise Refused(f"its bias {name!r} is {given.dtype}, supported are int8, int32 and float32", _BIAS_REMEDY)
    elif given.quant is not None and (np.any(given.quant.zero_point) or (in_scale and has_odd_bias(call, x, scales))):
        raise Refused(
            f"its bias {name!r} does not count in the product of the scales of input and weights", _BIAS_REMEDY
        )
    return constant(f"{call.output.name}~bias", np.broadcast_to(flat, (filters,)))


def finish(
    call: Call,
    x: Tensor,
    scales: npt.NDArray[np.float32],
    filters: int,
    *,
    alpha: float = 1.0,
    with_bias: int | None = 2,
    in_scale: bool = False,
) -> tuple[Rescaling, Tensor]:
    """What makes results of sums of products: their rescaling, and the bias (filters,)."""
    given = call.optional(2)
    if call.op == "MatMul" and given is not None and (is_real_row(given) or (call.in_float and given.dtype == INT32)):
        return _real_line(call, x, scales, filters)
    if call.op not in SCALED.values():
        return requant(call, x, scales, alpha), bias(call, with_bias, x, scales, filters, in_scale=in_scale)
    added = np.zeros(1, np.float32) if call.optional(2) is None else call.constant(2, "bias")
    gains, offsets = np.broadcast_arrays(scales, added)
    expect_finite(gains.tolist())
    if gains.size not in (1, filters) or not np.all(np.isfinite(offsets)):
        raise Refused(f"it has {gains.size} factors and addends, expected are finite ones, one for each of {filters}")
    y_scale, _ = scale_and_zero_point(call.output, "output")
    line = FloatLine(tuple(gains.tolist()), tuple(offsets.tolist()), float(y_scale))
    return line, bias(call, None, x, scales, filters)


def _real_line(call: Call, x: Tensor, scales: npt.NDArray[np.float32], filters: int) -> tuple[FloatLine, Tensor]:
    """Of sums that are float32 before they are quantised: QGemm adds an int32 bias, Add one of float32 behind it."""
    is_added = is_real_row(call.optional(2))
    added = real_bias(call, 2, x, scales, filters) if is_added else np.zeros(1, np.float32)
    gains, offsets = np.broadcast_arrays(scale_and_zero_point(x, "input")[0] * scales, added)
    expect_finite(gains.tolist())
    y_scale, _ = scale_and_zero_point(call.output, "output")
    line = FloatLine(tuple(gains.tolist()), tuple(offsets.tolist()), float(y_scale))
    return line, bias(call, None if is_added else 2, x, scales, filters)


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
