"""Operators on float32, one after the other, whose result follows from one integer tensor, value by value.

Whatever stands between DequantizeLinear and QuantizeLinear then, as x * Clip(x + 3, 0, 6) / 6 or BatchNormalization, is
a table of 256 integers, or one for each channel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tinygen.float32 import FloatArray, dequantize, quantize
from tinygen.importers import onnx_functions
from tinygen.importers.converted import Refused
from tinygen.importers.onnx_call import Call, constant
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.importers.onnx_functions import Reals
from tinygen.ir import Tensor
from tinygen.ops.common import FLOAT32, INT8, full_range
from tinygen.ops.curve import CODES

CURVE = "function of integers"
REAL_CURVE = "function of integers to float32"
"""What stands for the operators: two that no file has."""
_PER_CHANNEL = ("BatchNormalization",)
"""Operators whose constants are one for each index of dimension 1."""


@dataclass(frozen=True)
class RealFunction:
    """A real value that is a function of integers: of one, or of one and its channel."""

    base: Tensor
    reals: Reals
    """(1 or channels, 256): what the integers stand for, from -128 on."""
    axis: int
    """The dimension of the channels."""
    operators: tuple[str, ...]
    """In the order of their application."""

    @property
    def is_curve(self) -> bool:
        """Whether it is one of 256 numbers, the same for all channels."""
        return len(self.reals.middle) == 1 and bool(np.all(np.isfinite(self.reals.middle)))

    @property
    def rises(self) -> bool:
        """Whether it nowhere falls."""
        return bool(np.all(np.diff(self.reals.middle) >= 0))


def of_integers(x: Tensor) -> RealFunction | None:
    """The real values that a tensor stands for; None where it does not, or where it is constant."""
    if x.dtype != INT8 or x.data is not None or x.quant is None or x.quant.scale.size != 1:
        return None
    reals = dequantize(CODES, float(x.quant.scale[0]), int(x.quant.zero_point[0]))
    return RealFunction(x, Reals.exactly(reals.reshape(1, 256)), 1, ())


def applied(node: RawNode, operands: Sequence[RealFunction | Tensor | None]) -> RealFunction | None:
    """An operator's result; None where it is no function of one tensor, value by value. Tensors are constants."""
    functions = [operand for operand in operands if isinstance(operand, RealFunction)]
    if not functions or len({each.base.name for each in functions}) > 1:
        return None
    base = functions[0].base
    channelled = [each.axis for each in functions if len(each.reals.middle) > 1]
    reals: list[Reals | None] = []
    for operand in operands:
        if operand is None or isinstance(operand, RealFunction):
            reals.append(None if operand is None else operand.reals)
        else:
            found = _constant(operand, base, 1 if node.op in _PER_CHANNEL else None)
            if found is None:
                return None
            values, axis = found
            reals.append(Reals.exactly(values))
            channelled += [axis] if len(values) > 1 else []
    if len(set(channelled)) > 1 or (not isinstance(operands[0] or 0, RealFunction) and node.op in _FIRST_VARIES):
        return None
    result = onnx_functions.applied(node.op, node.attributes, reals)
    names = dict.fromkeys((*(name for each in functions for name in each.operators), node.op))
    return None if result is None else RealFunction(base, result, channelled[0] if channelled else 1, tuple(names))


_FIRST_VARIES = ("BatchNormalization", "Clip", "PRelu", "Pow")
"""Operators whose other operands are constants."""


def _constant(given: Tensor, base: Tensor, axis: int | None) -> tuple[FloatArray, int] | None:
    """(1 or channels, 1), and the dimension of the channels; None where it is neither one value nor one for each."""
    if given.data is None or math.prod(given.shape) == 0:
        return None
    if given.dtype in (FLOAT32, np.dtype(np.bool_)):
        values = np.asarray(given.data, np.float32)
    elif given.quant is not None and given.quant.scale.size == 1:
        values = dequantize(given.data.astype(np.int64), float(given.quant.scale[0]), int(given.quant.zero_point[0]))
    else:
        return None
    rank = len(base.shape)
    if values.size == 1:
        return values.reshape(1, 1), 1
    if axis is None:
        shape = (1,) * (rank - values.ndim) + values.shape
        axis = next(place for place, dim in enumerate(shape) if dim > 1)
    is_each = values.ndim <= rank and axis < rank and values.size == max(values.shape) == base.shape[axis]
    is_image = rank in (3, 4) and axis == 1
    return (values.reshape(-1, 1), axis) if is_each and (is_image or axis == rank - 1) else None


def in_order(function: RealFunction, node: RawNode, name: str) -> tuple[RealFunction, Call] | None:
    """The same values as a function that nowhere falls, of their places in order, and what makes these of integers.

    None where the values, and so their order, are not certain.
    """
    if not function.reals.are_exact or not np.all(np.isfinite(function.reals.middle)):
        return None
    found = [np.unique(row, return_inverse=True) for row in function.reals.middle]
    ranked = Tensor(name, function.base.shape, INT8, function.base.quant)
    tables = constant(f"{name}~tables", np.stack([places - 128 for _, places in found]).astype(np.int8))
    attributes = MappingProxyType({"axis": function.axis, "functions": "order of values"})
    call = Call(dataclasses.replace(node, op=CURVE, attributes=attributes), (function.base, tables), (ranked,))
    reals = np.stack([np.pad(values, (0, len(CODES) - len(values)), mode="edge") for values, _ in found])
    return dataclasses.replace(function, base=ranked, reals=Reals.exactly(reals)), call


def real(function: RealFunction, node: RawNode, y: Tensor) -> Call:
    """The operator that makes float32 values of integers. Raises Refused where ONNX Runtime's are not certain."""
    names = ", ".join(function.operators)
    if not function.reals.are_exact:
        raise Refused(
            f"the value {shortened(y.name)!r} ({names}) stays float32, and ONNX Runtime approximates it: the last "
            "bits depend on the processor",
            "quantise the value, too, or leave the function out, and compute it after the model",
        )
    if not np.all(np.isfinite(function.reals.middle)):
        raise Refused(f"the value {shortened(y.name)!r} ({names}) is no finite number for some of the quantised values")
    reals = constant(f"{y.name}~reals", function.reals.middle)
    call = dataclasses.replace(node, op=REAL_CURVE, attributes=MappingProxyType({"functions": names}))
    return Call(call, (function.base, reals), (y,))


def quantised(function: RealFunction, node: RawNode, y: Tensor) -> tuple[Call, str | None]:
    """The operator that makes the integers of a QuantizeLinear, and a note where they are not certain."""
    assert y.quant is not None
    scale, zero_point = float(y.quant.scale[0]), int(y.quant.zero_point[0])
    low, middle, high = (
        quantize(values, scale, zero_point, *full_range(INT8))
        for values in (function.reals.low, function.reals.middle, function.reals.high)
    )
    tables = constant(f"{y.name}~tables", middle.astype(np.int8))
    names = ", ".join(function.operators)
    attributes = MappingProxyType({"axis": function.axis, "functions": names})
    call = Call(dataclasses.replace(node, op=CURVE, attributes=attributes), (function.base, tables), (y,))
    count = int(np.count_nonzero(low != high))
    if not count:
        return call, None
    return call, (
        f"ONNX Runtime approximates functions in {shortened(y.name)!r} ({names}): {count} of {middle.size} results are "
        "so near to a tie that they can differ by one step"
    )
