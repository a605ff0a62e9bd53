"""Functions of one float32 value, and the table that they are between DEQUANTIZE and QUANTIZE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinygen.ir import Array, Tensor, TensorType
from tinygen.ops import common
from tinygen.ops.common import FLOAT32
from tinygen.ops.lookup import Lookup
from tinygen.ops.quantize import Dequantize, Quantize
from tinygen.ops.traits import Elementwise

_Float64 = npt.NDArray[np.float64]

FUNCTIONS: Mapping[str, Callable[[_Float64], Any]] = {
    "ABS": np.abs,
    "CEIL": np.ceil,
    "COS": np.cos,
    "ELU": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "EXP": np.exp,
    "FLOOR": np.floor,
    "LOG": np.log,
    "NEG": np.negative,
    "ROUND": np.rint,
    "RSQRT": lambda x: 1 / np.sqrt(x.astype(np.float32)),
    "SIN": np.sin,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
}
"""By the operator's name; of float64 values, to be rounded to float32. ROUND's ties go to even."""


@dataclass(frozen=True)
class FloatFunction(Elementwise):
    """y = function(x), both float32. It has no kernel: only where it becomes part of a `QuantizedCurve` is it built."""

    name: ClassVar[str] = "FLOAT_FUNCTION"
    function: str
    """A key of `FUNCTIONS`."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", FLOAT32)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Float64, rounded once."""
        with np.errstate(all="ignore"):
            return (np.asarray(FUNCTIONS[self.function](inputs[0].astype(np.float64)), np.float32),)


@dataclass(frozen=True)
class QuantizedCurve(Lookup):
    """y = quantize(functions(dequantize(x))), int8 to int8.

    What overflows float32 or is not defined there counts as in QUANTIZE: infinities saturate, NaN is the lowest value;
    the runtime's conversion of them is undefined.
    """

    name: ClassVar[str] = "QUANTIZE"
    dequantize: Dequantize
    functions: tuple[FloatFunction, ...]
    """In the order of their application."""
    quantize: Quantize

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One after the other."""
        values = inputs
        for part in (self.dequantize, *self.functions, self.quantize):
            values = part.reference(*values)
        return values

    def describe(self) -> str:
        """The functions."""
        return f"of {', '.join(part.function for part in self.functions)} in float32, a table"
