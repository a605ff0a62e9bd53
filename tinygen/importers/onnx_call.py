"""One operator of an .onnx file with its operands as integers, and what the operators' importers share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.ir import Array, Quant, Tensor, read_only
from tinygen.ops.common import FLOAT32, INT8, Clamp, full_range
from tinygen.ops.reshape import Reshape
from tinygen.ops.strided_copy import Loop, Transpose, row_major

QUANTISE = "quantise the whole model to int8: tinygen quantize MODEL --data CALIBRATION -o OUT.onnx"

UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Call:
    """One operator, between the DequantizeLinear and QuantizeLinear around it: they are the scales of its operands.

    Shapes are those of the file: images are NCHW. What is uint8 in the file is int8 here, 128 less.
    """

    node: RawNode
    inputs: tuple[Tensor | None, ...]
    """Integers with their scales; constants of other types, like shapes, as they are; float32 without a scale where
    nothing quantises it."""
    outputs: tuple[Tensor, ...]
    """Integers with their scales, or float32 where nothing quantises the result."""
    bounds: tuple[float, float] = UNBOUNDED
    """What Relu and Clip between the operator and QuantizeLinear leave of the real result."""
    alike: bool = True
    """Whether integer operands and results are of one type where ONNX Runtime computes, which on x86 makes uint8 of
    int8 between QuantizeLinear and DequantizeLinear, but not of constants. It fuses Add, Mul and Concat only then."""
    unsigned: bool = False
    """Whether the first output is uint8 where ONNX Runtime computes."""
    in_float: str = ""
    """Why ONNX Runtime computes it in float32, where it has operators on integers; empty: it does not."""
    curve: tuple[float, ...] = ()
    """(256,): what the integers of the first input stand for, from -128 on, where they are a function's results; it is
    computed in float32 then. Else empty."""
    sums_channels_last: bool = False
    """Whether ONNX Runtime has the image that is reduced with channels last."""

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.node.op

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default. Refuses where it has none."""
        found = self.node.attributes.get(name, default)
        if found is None:
            raise Refused(f"its attribute {name} is missing")
        return found

    def input(self, index: int, role: str) -> Tensor:
        """An input that must be there."""
        found = self.optional(index)
        if found is None:
            raise Refused(f"its {role} (input {index}) is missing")
        return found

    def optional(self, index: int) -> Tensor | None:
        """An input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int, role: str) -> Array:
        """The value of an input that must be a constant."""
        given = self.input(index, role)
        if given.data is None:
            raise Refused(f"its {role} {shortened(given.name)!r} is computed at run time, supported is a constant")
        return given.data

    @property
    def output(self) -> Tensor:
        """The only output."""
        if len(self.outputs) != 1:
            raise Refused(f"it has {len(self.outputs)} outputs, expected is 1")
        return self.outputs[0]


Converter = Callable[[Call], Converted | Sequence[Converted]]
"""Reads one operator's attributes and operands, and says what it is made of; raises Refused."""


def scale_and_zero_point(tensor: Tensor, role: str) -> tuple[np.float32, int]:
    """Scale and zero point of an int8 tensor that must have one of each."""
    if tensor.dtype == FLOAT32:
        missing = "no QuantizeLinear follows" if role == "output" else "no DequantizeLinear makes it"
        raise Refused(f"its {role} {shortened(tensor.name)!r} stays float32: {missing}", QUANTISE)
    if tensor.dtype != INT8 or tensor.quant is None:
        raise Refused(f"its {role} {shortened(tensor.name)!r} is {tensor.dtype}, supported is quantised int8 or uint8")
    if tensor.quant.scale.size != 1:
        raise Refused(f"its {role} has {tensor.quant.scale.size} scales, supported is one for the whole tensor")
    return np.float32(tensor.quant.scale[0]), int(tensor.quant.zero_point[0])


def remedy_of(node: RawNode, remedy: str) -> str:
    """A remedy for a node; one for the whole model says what about this one, which others around it may be without."""
    if remedy != QUANTISE or node.op in (QUANTIZE, DEQUANTIZE):
        return remedy
    also = f", and {shortened(node.name)!r} not to nodes_to_exclude" if node.name else ""
    return (
        f"quantise it, too: with quantize_static, {node.op} belongs to op_types_to_quantize{also}; tinygen quantize "
        "MODEL --data CALIBRATION -o OUT.onnx does it for all of the model"
    )


def scale_of_reals(tensor: Tensor) -> tuple[np.float32, int]:
    """The same of the first input of what computes on real values; those of float32 stand for themselves."""
    is_held = tensor.dtype == FLOAT32 and tensor.data is None
    return (np.float32(1), 0) if is_held else scale_and_zero_point(tensor, "input")


def is_real_row(bias: Tensor | None) -> bool:
    """Whether a bias is one of float32 that ONNX Runtime does not quantise, as it has more than one dimension."""
    return bias is not None and bias.dtype == FLOAT32 and len(bias.shape) > 1


def bias_of_float(op: str, operands: Sequence[Tensor | None]) -> str:
    """Why ONNX Runtime computes Conv or Gemm in float32 for the sake of the bias; empty: it does not."""
    bias = operands[2] if len(operands) > 2 else None
    if op == "Gemm" and is_real_row(bias):
        return "its bias is float32, in more than one dimension"
    if op in ("Conv", "Gemm") and bias is not None and bias.dtype == INT8:
        return "its bias is not int32"
    return ""


def clamp(call: Call) -> Clamp:
    """The integers that the bounds between operator and QuantizeLinear leave of the output's range."""
    scale, zero_point = scale_and_zero_point(call.output, "output")
    low, high = full_range(call.output.dtype)

    def quantised(bound: float) -> int:
        return int(np.clip(np.rint(np.float32(bound) / scale) + zero_point, low, high))

    return quantised(call.bounds[0]), quantised(call.bounds[1])


def expect_no_bounds(call: Call) -> None:
    """Refuses Relu and Clip that leave less than the output's range."""
    if call.bounds != UNBOUNDED and clamp(call) != full_range(call.output.dtype):
        raise Refused("Relu or Clip between it and QuantizeLinear cuts into the range of the output")


def codes_offset(call: Call) -> int:
    """How much larger the integers are that ONNX Runtime computes with."""
    return 128 if call.unsigned else 0


def constant(name: str, values: Array, quant: Quant | None = None) -> Tensor:
    """A constant of the graph."""
    data = np.ascontiguousarray(values).reshape(values.shape)  # a scalar stays one
    return Tensor(name, values.shape, values.dtype, quant, read_only(data))


def spatial(x: Tensor) -> tuple[int, ...]:
    """The sizes of an image (n, c, ...): rows and columns, or columns alone."""
    if len(x.shape) not in (3, 4):
        raise Refused(f"its input has {len(x.shape)} dimensions {x.shape}, supported are (n, c, w) and (n, c, h, w)")
    return x.shape[2:]


def to_nhwc(x: Tensor) -> tuple[Tensor, list[Converted]]:
    """An image (n, c, h, w), or (n, c, w), as (n, h, w, c), and what makes it that."""
    rank = len(x.shape)
    channels_last = dataclasses.replace(x, name=f"{x.name}~nhwc", shape=(x.shape[0], *x.shape[2:], x.shape[1]))
    steps = [transposed(x, (0, *range(2, rank), 1), channels_last)]
    if rank == 4:
        return channels_last, steps
    image = dataclasses.replace(x, name=f"{x.name}~image", shape=(x.shape[0], 1, x.shape[2], x.shape[1]))
    return image, [*steps, Converted(Reshape.to(image.shape), (channels_last,), (image,))]


def from_nhwc(y: Tensor) -> tuple[Tensor, list[Converted]]:
    """The image (n, h, w, c) that `y` (n, c, h, w), or (n, c, w), is made of, and what makes it that."""
    rank = len(y.shape)
    channels_last = dataclasses.replace(y, name=f"{y.name}~nhwc", shape=(y.shape[0], *y.shape[2:], y.shape[1]))
    step = transposed(channels_last, (0, rank - 1, *range(1, rank - 1)), y)
    if rank == 4:
        return channels_last, [step]
    image = dataclasses.replace(y, name=f"{y.name}~image", shape=(y.shape[0], 1, y.shape[2], y.shape[1]))
    return image, [Converted(Reshape.to(channels_last.shape), (image,), (channels_last,)), step]


def transposed(x: Tensor, order: Sequence[int], y: Tensor) -> Converted:
    """y's dimensions are x's in another order."""
    steps = row_major(x.shape)
    loops = tuple(Loop(x.shape[axis], steps[axis]) for axis in order)
    return Converted(Transpose(tuple(loop.trips for loop in loops), 0, loops), (x,), (y,))
