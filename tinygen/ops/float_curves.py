"""ELU, and LOGISTIC and TANH by TensorFlow Lite's definition: int8 to int8, by a curve in float32."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinygen.ir import Array, Tensor
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.float_function import QuantizedCurve
from tinygen.ops.lookup import Lookup, largest_difference, lookup_kernels

_Float32 = npt.NDArray[np.float32]

_LARGEST_RESULT = 2.0**30  # in steps of the output; the runtimes convert it to int32 before they clamp


@dataclass(frozen=True)
class _FloatCurve(Lookup):
    scale: float  # a float32 value, as `output_scale`
    zero_point: int
    output_scale: float
    output_zero_point: int

    @property
    def rounding(self) -> str:
        """All in float32; what is emitted are its 256 results."""
        return "float32 table"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and results that int32 holds."""
        yield from super().problems(inputs)
        if self.scale * largest_difference(inputs[0]) >= _LARGEST_RESULT * self.output_scale:
            yield f"the output's scale {self.output_scale:g} is too fine for the input's, {self.scale:g}"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Float32 at each step; ties away from zero, before the output's zero point is added."""
        real = np.float32(self.scale) * (inputs[0].astype(np.int32) - self.zero_point).astype(np.float32)
        steps = (self._curve(real) * (np.float32(1) / np.float32(self.output_scale))).astype(np.float64)
        y = np.trunc(steps + np.copysign(0.5, steps)) + self.output_zero_point
        return (np.clip(y, -128, 127).astype(np.int8),)

    @abstractmethod
    def _curve(self, x: _Float32) -> _Float32:
        """The real function."""


@dataclass(frozen=True)
class Elu(_FloatCurve):
    """y = clamp(round(elu(scale * (x - zero_point)) / output_scale) + output_zero_point), elu(x) = exp(x) - 1 below 0.

    TensorFlow Lite Micro's ``PopulateLookupTable``; TensorFlow Lite's own differs in 2 of 128 000 entries.
    """

    name: ClassVar[str] = "ELU"

    def _curve(self, x: _Float32) -> _Float32:
        return np.where(x < 0, _exp(np.minimum(x, np.float32(0))) - np.float32(1), x)


@dataclass(frozen=True)
class LogisticFloat(_FloatCurve):
    """y = clamp(round(1 / (1 + exp(-scale * (x - zero_point))) / output_scale) + output_zero_point).

    LOGISTIC as TensorFlow Lite's reference kernels define it; TensorFlow Lite Micro's is `Logistic`.
    """

    name: ClassVar[str] = "LOGISTIC"

    def _curve(self, x: _Float32) -> _Float32:
        return np.float32(1) / (np.float32(1) + _exp(-x))

    def describe(self) -> str:
        """Whose definition."""
        return "float32 table"


@dataclass(frozen=True)
class TanhFloat(_FloatCurve):
    """y = clamp(round(tanh(scale * (x - zero_point)) / output_scale) + output_zero_point).

    TANH as TensorFlow Lite's reference kernels define it; TensorFlow Lite Micro's is `Tanh`.
    """

    name: ClassVar[str] = "TANH"

    def _curve(self, x: _Float32) -> _Float32:
        return np.tanh(x.astype(np.float64)).astype(np.float32)

    def describe(self) -> str:
        """Whose definition."""
        return "float32 table"


def _exp(x: _Float32) -> _Float32:
    # Through float64, for numpy's own float32 functions are not correctly rounded.
    with np.errstate(over="ignore"):
        return np.exp(x.astype(np.float64)).astype(np.float32)


KERNELS = tuple(kernel for op in (Elu, LogisticFloat, QuantizedCurve, TanhFloat) for kernel in lookup_kernels(op))

_Quant = tuple[float, int]


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("elu", (0.05, 3), (0.04, -90)),
        _case("elu_same", (0.03, -128), (0.03, -128)),
        _case("elu_fine_input", (1e-5, 0), (1e-5, 0)),
        _case("elu_fine_output", (0.05, 127), (0.008, 127)),
        _case("elu_coarse", (20.0, -7), (0.01, 100)),
        _case("elu_saturated_at_once", (1.0, 0), (1e-6, 0)),
        _case("elu_negative_only", (0.02, 127), (1 / 128, 0)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random ELU."""
    x = (float(np.exp(rng.uniform(np.log(1e-3), np.log(0.5)))), int(rng.integers(-128, 128)))
    y = (x[0] * float(np.exp(rng.uniform(-2, 2))), int(rng.integers(-128, 128)))
    return _case(f"random_{rng.integers(1 << 30)}", x, y)


def _case(name: str, x: _Quant, y: _Quant) -> Case:
    shape = (1, 7, 37)
    return Case(name, "ELU", (CaseTensor(shape, "int8", *x),), (CaseTensor(shape, "int8", *y),))
