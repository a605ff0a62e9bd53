"""LOGISTIC, TANH, RELU, RELU6, LEAKY_RELU, HARD_SWISH and ABS, int8 to int8."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import IntArray, Requant
from tinygen.ir import Array, Tensor
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import Clamp
from tinygen.ops.lookup import Lookup, Rescale, gain_problems, lookup_kernel

SIGMOID_INTEGER_BITS = 4  # of the argument of LOGISTIC and TANH, Q4.27
_LARGEST_INT64_SHIFT = 62
_LARGEST_INT16_SHIFT = 15


@dataclass(frozen=True)
class _Sigmoid(Lookup):
    zero_point: int
    requant: Requant
    radius: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the scales that the argument's fixed point is defined for."""
        yield from super().problems(inputs)
        if not 0 <= self.requant.shift[0] <= _LARGEST_INT64_SHIFT:
            yield f"the input's scale is too {'fine' if self.requant.shift[0] < 0 else 'coarse'} for the runtimes"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        difference = inputs[0].astype(np.int64) - self.zero_point
        inside = np.abs(difference) < self.radius
        y = self._curve(self.requant.apply(np.where(inside, difference, 0)))
        low = difference <= -self.radius  # asked first: with a radius of 0, a difference of 0 is low
        y = np.where(inside, np.clip(y, -128, 127), np.where(low, -128, 127))
        return (y.astype(np.int8),)

    @abstractmethod
    def _curve(self, argument: IntArray) -> IntArray:
        """The result, before it is clamped, for arguments in Q4.27."""


@dataclass(frozen=True)
class Logistic(_Sigmoid):
    """y = clamp(round(256 / (1 + exp(-requant(x - zero_point)))) - 128), in gemmlowp's fixed point.

    The rescaled argument is in Q4.27; differences of `radius` and more saturate. Output scale 1/256, zero point -128.
    """

    name: ClassVar[str] = "LOGISTIC"

    def _curve(self, argument: IntArray) -> IntArray:
        return fixedpoint.rounding_divide_by_pot(fixedpoint.logistic(argument, SIGMOID_INTEGER_BITS), 23) - 128


@dataclass(frozen=True)
class Tanh(_Sigmoid):
    """y = clamp(round(128 tanh(requant(x - zero_point)))), in gemmlowp's fixed point.

    The rescaled argument is in Q4.27; differences of `radius` and more saturate. Output scale 1/128, zero point 0.
    """

    name: ClassVar[str] = "TANH"

    def _curve(self, argument: IntArray) -> IntArray:
        return fixedpoint.rounding_divide_by_pot(fixedpoint.tanh(argument, SIGMOID_INTEGER_BITS), 24)


@dataclass(frozen=True)
class Relu(Rescale):
    """y = clamp(requant(x - zero_point) + output_zero_point), the clamp from the output's zero point upwards."""

    name: ClassVar[str] = "RELU"


@dataclass(frozen=True)
class Relu6(Lookup):
    """y = clamp(x): input and output share scale and zero point."""

    name: ClassVar[str] = "RELU6"
    clamp: Clamp

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Raw values."""
        return (np.clip(inputs[0], *self.clamp).astype(np.int8),)


@dataclass(frozen=True)
class LeakyRelu(Lookup):
    """y = clamp(r(x - zero_point) + output_zero_point), r = requant, or negative_requant below the zero point."""

    name: ClassVar[str] = "LEAKY_RELU"
    zero_point: int
    output_zero_point: int
    requant: Requant
    negative_requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the gains that int32 leaves."""
        yield from super().problems(inputs)
        yield from gain_problems(self.requant)
        yield from gain_problems(self.negative_requant)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        difference = inputs[0].astype(np.int64) - self.zero_point
        scaled = np.where(difference >= 0, self.requant.apply(difference), self.negative_requant.apply(difference))
        return (np.clip(scaled + self.output_zero_point, -128, 127).astype(np.int8),)


@dataclass(frozen=True)
class HardSwish(Lookup):
    """y = clamp(v * gate(v) + output_zero_point), v = x - zero_point, gate(v) = (clamp(v / 3) + 1) / 2, in int16.

    A factor is multiplier * 2**(exponent - 15): `output_…` of v * 2**7 to the output's scale, its exponent not
    positive; `gate_…` of v * 2**7 to the scale on which 32768 stands for 3.
    """

    name: ClassVar[str] = "HARD_SWISH"
    zero_point: int
    output_zero_point: int
    output_multiplier: int
    output_exponent: int
    gate_multiplier: int
    gate_exponent: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and shifts within int16."""
        yield from super().problems(inputs)
        if not -_LARGEST_INT16_SHIFT <= self.output_exponent <= 0:
            yield f"the output's scale is too {'fine' if self.output_exponent > 0 else 'coarse'} for the input's"
        if abs(self.gate_exponent) > _LARGEST_INT16_SHIFT:
            yield f"the input's scale is too {'fine' if self.gate_exponent < 0 else 'coarse'} for the runtimes"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        high_mul = fixedpoint.saturating_rounding_doubling_high_mul_int16
        value = (inputs[0].astype(np.int64) - self.zero_point) << 7
        gate = fixedpoint.saturating_left_shift_int16(value, max(self.gate_exponent - 1, 0))
        gate = high_mul(gate, self.gate_multiplier)
        gate = fixedpoint.saturating_left_shift_int16(gate, min(max(self.gate_exponent, 0), 1))
        gate = fixedpoint.rounding_divide_by_pot(gate, max(-self.gate_exponent, 0))
        gate = (gate + (1 << 15)) >> 1
        product = fixedpoint.saturating_doubling_high_mul_int16(gate, high_mul(value, self.output_multiplier))
        y = fixedpoint.rounding_divide_by_pot(product, -self.output_exponent) + self.output_zero_point
        return (np.clip(y, -128, 127).astype(np.int8),)


@dataclass(frozen=True)
class Abs(Lookup):
    """y = clamp(requant(|x - zero_point|) + output_zero_point)."""

    name: ClassVar[str] = "ABS"
    zero_point: int
    output_zero_point: int
    requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the gain that int32 leaves."""
        yield from super().problems(inputs)
        yield from gain_problems(self.requant)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        magnitude = np.abs(inputs[0].astype(np.int64) - self.zero_point)
        y = self.requant.apply(magnitude) + self.output_zero_point
        return (np.clip(y, -128, 127).astype(np.int8),)


KERNELS = tuple(lookup_kernel(op) for op in (Logistic, Tanh, Relu, Relu6, LeakyRelu, HardSwish, Abs))

_Quant = tuple[float, int]
_FIXED_OUTPUTS: Mapping[str, _Quant] = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("logistic", "LOGISTIC", (0.05, 4)),
        _case("logistic_fine", "LOGISTIC", (1e-6, 4)),
        _case("logistic_coarse", "LOGISTIC", (20.0, 4)),
        _case("logistic_power_of_two", "LOGISTIC", (0.125, -128)),
        _case("tanh", "TANH", (0.02, -9)),
        _case("tanh_fine", "TANH", (1e-6, -9)),
        _case("tanh_coarse", "TANH", (20.0, -9)),
        _case("relu", "RELU", (0.03, 5), (0.02, -128)),
        _case("relu_same", "RELU", (0.03, 5), (0.03, 5)),
        _case("relu_up", "RELU", (0.5, 5), (0.01, -7)),
        _case("relu6", "RELU6", (0.06, -7), (0.06, -7)),
        _case("relu6_beyond", "RELU6", (0.03, 5), (0.03, 5)),
        _case("leaky_relu", "LEAKY_RELU", (0.03, 5), (0.02, -60), alpha=0.1),
        _case("leaky_relu_steep", "LEAKY_RELU", (0.03, 5), (0.05, 3), alpha=1.7),
        _case("leaky_relu_same", "LEAKY_RELU", (0.03, 5), (0.03, 5), alpha=0.25),
        _case("leaky_relu_zero", "LEAKY_RELU", (0.03, 5), (0.03, 5), alpha=0.0),
        _case("hard_swish", "HARD_SWISH", (0.05, 4), (0.03, -115)),
        _case("hard_swish_fine", "HARD_SWISH", (0.0004, 4), (0.0003, -1)),
        _case("hard_swish_coarse", "HARD_SWISH", (0.7, 4), (0.3, -100)),
        _case("abs", "ABS", (0.03, 5), (0.02, -128)),
        _case("abs_same", "ABS", (0.03, -5), (0.03, -5)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random activation."""
    op = str(rng.choice([kernel.op.name for kernel in KERNELS]))
    x = (float(np.exp(rng.uniform(np.log(1e-3), np.log(0.5)))), int(rng.integers(-128, 128)))
    y = (x[0] * float(np.exp(rng.uniform(-2, 2))), int(rng.integers(-128, 128)))
    alpha = round(float(rng.uniform(0, 1)), 3) if op == "LEAKY_RELU" else None
    return _case(f"random_{rng.integers(1 << 30)}", op, x, x if op == "RELU6" else _FIXED_OUTPUTS.get(op, y), alpha)


def _case(name: str, op: str, x: _Quant, y: _Quant | None = None, alpha: float | None = None) -> Case:
    shape = (1, 7, 37)
    return Case(
        name,
        op,
        (CaseTensor(shape, "int8", *x),),
        (CaseTensor(shape, "int8", *(y or _FIXED_OUTPUTS[op])),),
        {} if alpha is None else {"alpha": alpha},
    )
