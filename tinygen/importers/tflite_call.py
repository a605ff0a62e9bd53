"""One operator of a .tflite file with its tensors resolved, and what the operators' importers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import fixedpoint
from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused
from tinygen.importers.tflite_file import RawOperator
from tinygen.ir import Tensor, read_only
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, UINT8, Clamp, full_range
from tinygen.ops.window import Axis, Window, same_padding
from tinygen.options import LITERT

QUANTISE = (
    "quantise the whole model to int8: converter.optimizations = [tf.lite.Optimize.DEFAULT], a "
    "representative_dataset, and target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)


@dataclass(frozen=True)
class Call:
    """One operator of the file with its tensors resolved."""

    raw: RawOperator
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    profile: str
    """Whose arithmetic the operator gets."""
    was_uint8: bool = False
    """Whether its outputs are uint8 in the file, 128 more than here."""

    def input(self, index: int, role: str) -> Tensor:
        """An input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise Refused(f"its {role} (input {index}) is missing")
        return found

    @property
    def output(self) -> Tensor:
        """The only output."""
        if len(self.outputs) != 1:
            raise Refused(f"it has {len(self.outputs)} outputs, expected is 1")
        return self.outputs[0]

    @property
    def is_litert(self) -> bool:
        """Whether the operator gets LiteRT's arithmetic."""
        return self.profile == LITERT

    def option(self, name: str) -> Any:
        """A field of the option table."""
        return self.raw.options[name]


Converter = Callable[[Call], Converted | Sequence[Converted]]
"""Reads one operator's options and tensors, and says what it is made of; raises Refused."""


def refuse_in_litert(call: Call, condition: bool, reason: str) -> None:
    """What LiteRT's reference kernels refuse, get wrong or do otherwise, and TensorFlow Lite Micro computes."""
    if call.is_litert and condition:
        raise Refused(reason, "build with --profile tflm, whose runtime computes it")


def factor(call: Call, *scales: float, over: float) -> float:
    """The product of scales, over the output's: in float64, or in float32 where LiteRT computes it so."""
    if not call.is_litert:
        return math.prod(scales) / over
    product = np.float32(1)
    with np.errstate(over="ignore", under="ignore"):
        for scale in scales:
            product *= np.float32(scale)
        return float(product / np.float32(over))


def refuse_int16_zero_points(call: Call, *tensors: Tensor) -> None:
    """LiteRT has no zero points for int16, where TensorFlow Lite Micro takes them."""
    for tensor in tensors:
        zero_point = scale_and_zero_point(tensor, "tensor")[1] if tensor.dtype == INT16 else 0
        refuse_in_litert(
            call, zero_point != 0, f"{tensor.name!r} is int16 with the zero point {zero_point}, which LiteRT refuses"
        )


def scale_and_zero_point(tensor: Tensor, role: str) -> tuple[float, int]:
    """Scale (as float64) and zero point of a tensor that must have one of each."""
    if tensor.dtype.kind not in "iu":
        raise Refused(f"the {role} {tensor.name!r} is {tensor.dtype}, supported is int8", QUANTISE)
    if tensor.quant is None:
        raise Refused(f"the {role} {tensor.name!r} has no scale", QUANTISE)
    if tensor.quant.scale.size != 1:
        raise Refused(f"the {role} {tensor.name!r} has {tensor.quant.scale.size} scales, expected is one")
    zero_point = int(tensor.quant.zero_point[0])
    low, high = full_range(tensor.dtype)
    if not low <= zero_point <= high:
        raise Refused(f"the {role} {tensor.name!r} has the zero point {zero_point}, outside {tensor.dtype}")
    return float(tensor.quant.scale[0]), zero_point


def filter_scales(weights: Tensor, axis: int) -> np.ndarray:
    """Scales (float64) of a convolution's filter, of which per-channel ones run along `axis`."""
    if weights.dtype == FLOAT32 or weights.quant is None:
        raise Refused(f"the filter {weights.name!r} is not quantised", QUANTISE)
    if weights.quant.scale.size > 1 and weights.quant.axis != axis:
        raise Refused(f"the filter's scales run along dimension {weights.quant.axis}, expected is {axis}")
    return weights.quant.scale.astype(np.float64)


def filter_zero_point(call: Call, weights: Tensor) -> int:
    """Zero point of a convolution's filter: 0, or one for all channels where it was uint8."""
    assert weights.quant is not None
    zero_points = np.unique(weights.quant.zero_point)
    if not call.was_uint8 and np.any(zero_points):
        raise Refused("the filter has a zero point other than 0", "convert with symmetric int8 weights")
    if zero_points.size != 1 or not -128 <= zero_points[0] <= 127:
        raise Refused(f"the filter has the zero points {zero_points.tolist()}, expected is one, within its type")
    return int(zero_points[0])


def clamp(call: Call, output: Tensor) -> Clamp:
    """``CalculateActivationRangeQuantized``: the range of the output's dtype that the fused activation leaves."""
    activation = call.option("fused_activation_function")
    scale, zero_point = scale_and_zero_point(output, "output")
    lowest, highest = full_range(output.dtype)

    def quantized(value: float) -> int:
        if abs(value) > fixedpoint.INT32_MAX * scale:
            raise Refused(f"the output's scale {scale:g} is too small for a fused {activation}")
        return zero_point + fixedpoint.round_half_away(float(np.float32(value) / np.float32(scale)))

    ranges: Mapping[str, Callable[[], Clamp]] = {
        "NONE": lambda: (lowest, highest),
        "RELU": lambda: (quantized(0.0), highest),
        "RELU6": lambda: (quantized(0.0), quantized(6.0)),
        "RELU_N1_TO_1": lambda: (quantized(-1.0), quantized(1.0)),
    }
    if activation not in ranges:
        raise Refused(f"the fused activation {activation} is not supported", f"supported are {', '.join(ranges)}")
    low, high = ranges[activation]()
    return max(low, lowest), min(high, highest)


def bias(call: Call, filters: int, index: int = 2, dtype: np.dtype[np.generic] = INT32) -> Tensor:
    """The bias that is given as input `index`, or zeros (filters,) of the dtype."""
    given = call.inputs[index] if len(call.inputs) > index else None
    if given is not None:
        return given
    zeros = read_only(np.zeros(filters, dtype))
    return Tensor(f"{call.output.name}/no_bias", (filters,), np.dtype(dtype), None, zeros)


def input_and_output(call: Call) -> tuple[Tensor, Tensor]:
    """Input and output of an operator that moves values as they are."""
    x, y = call.input(0, "input"), call.output
    same_scale(x, "input", y, "output")
    return x, y


def same_scale(x: Tensor, x_role: str, y: Tensor, y_role: str) -> None:
    """Where values move as they are, both sides have one scale and zero point, if any; what is int8 must have them."""
    is_quantised = x.dtype == INT8 or (x.dtype in (UINT8, INT16) and (x.quant, y.quant) != (None, None))
    if is_quantised and scale_and_zero_point(x, x_role) != scale_and_zero_point(y, y_role):
        raise Refused(f"{x_role} and {y_role} have different scales or zero points, which the runtimes ignore")


def integers(call: Call, index: int, role: str, shape: tuple[int, ...], *dtypes: np.dtype[np.generic]) -> list[int]:
    """The values of a constant input of that shape, flat; it is int32, or has one of the dtypes."""
    given = call.input(index, role)
    allowed = dtypes or (INT32,)
    if given.data is None:
        raise Refused(f"the {role} is computed at run time, supported is a constant")
    if given.dtype not in allowed:
        raise Refused(f"the {role} is {given.dtype}, supported is {' or '.join(map(str, allowed))}")
    if given.shape != shape:
        raise Refused(f"the {role} has shape {given.shape}, expected is {shape}")
    return [int(value) for value in given.data.reshape(-1)]


_LARGEST_STEP = 32767


def window(call: Call, x: Tensor, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Window:
    """The window over an NHWC input, its padding made explicit."""
    if len(x.shape) != 4:
        raise Refused(f"the input has {len(x.shape)} dimensions {x.shape}, expected are 4")
    strides = (int(call.option("stride_h")), int(call.option("stride_w")))
    if min(*strides, *dilation, *kernel) < 1:
        raise Refused(f"kernel {kernel}, stride {strides} and dilation {dilation} must all be at least 1")
    if max(*strides, *dilation) > _LARGEST_STEP:
        raise Refused(f"stride {strides} or dilation {dilation} is beyond {_LARGEST_STEP}")
    axes = []
    for size, taps, stride, spread in zip(x.shape[1:3], kernel, strides, dilation, strict=True):
        same = call.option("padding") == "SAME"
        before, after = same_padding(size, taps, stride, spread) if same else (0, 0)
        axes.append(Axis(taps, stride, spread, before, after))
    rows, columns = (size + axis.before + axis.after for size, axis in zip(x.shape[1:3], axes, strict=True))
    if rows * columns * x.shape[3] > LARGEST_TENSOR:
        raise Refused(f"with its padding the input has {rows} x {columns} pixels, which is too large")
    return Window(axes[0], axes[1])
