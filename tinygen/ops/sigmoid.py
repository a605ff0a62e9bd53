"""LOGISTIC and TANH, int8 to int8 and int16 to int16."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import INT16_MAX, IntArray
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT16, full_range
from tinygen.ops.lookup import Lookup, lookup_kernels
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Elementwise, ValueByValue
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant

SIGMOID_INTEGER_BITS = 4  # of the argument of int8 LOGISTIC and TANH, Q4.27
_LARGEST_INT64_SHIFT = 62
_LARGEST_INT32_SHIFT = 31


@dataclass(frozen=True)
class _Sigmoid(Lookup):
    zero_point: int
    requant: Requant
    radius: int

    @property
    def rounding(self) -> str:
        """All in fixed point; what is emitted are its 256 results."""
        return "fixed-point table"

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
    """y = clamp(round(256 / (1 + exp(-requant(x - zero_point)))) - 128), int8, in gemmlowp's fixed point.

    The rescaled argument is in Q4.27; differences of `radius` and more saturate. Output scale 1/256, zero point -128.
    """

    name: ClassVar[str] = "LOGISTIC"

    def _curve(self, argument: IntArray) -> IntArray:
        return fixedpoint.rounding_divide_by_pot(fixedpoint.logistic(argument, SIGMOID_INTEGER_BITS), 23) - 128


@dataclass(frozen=True)
class Tanh(_Sigmoid):
    """y = clamp(round(128 tanh(requant(x - zero_point)))), int8, in gemmlowp's fixed point.

    The rescaled argument is in Q4.27; differences of `radius` and more saturate. Output scale 1/128, zero point 0.
    """

    name: ClassVar[str] = "TANH"

    def _curve(self, argument: IntArray) -> IntArray:
        return fixedpoint.rounding_divide_by_pot(fixedpoint.tanh(argument, SIGMOID_INTEGER_BITS), 24)


@dataclass(frozen=True)
class _SigmoidInt16(ValueByValue, Elementwise):
    multiplier: int
    right_shift: int

    @property
    def rounding(self) -> str:
        """Between the entries of a table."""
        return "interpolated table"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the scales that the argument's fixed point is defined for."""
        yield from common.expect_dtype(inputs[0], "input", INT16)
        if not 0 < self.multiplier <= INT16_MAX or not 0 <= self.right_shift <= _LARGEST_INT32_SHIFT:
            yield f"the input's scale is too {'coarse' if self.multiplier > INT16_MAX else 'fine'} for the runtimes"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    @property
    def half(self) -> int:
        """Half of what the right shift divides by."""
        return (1 << self.right_shift) >> 1

    def argument(self, x: Array) -> IntArray:
        """The argument in units of 1 / (3 * 4096)."""
        return np.asarray((x.astype(np.int64) * self.multiplier + self.half) >> self.right_shift, np.int64)


@dataclass(frozen=True)
class LogisticInt16(_SigmoidInt16):
    """y = 1 / (1 + exp(-a)) in Q0.15, int16, from an interpolated table; a = x * multiplier * 2**-right_shift, rounded.

    `a` is in units of 1 / (3 * 4096). Zero points are 0, the output's scale is 1/32768.
    """

    name: ClassVar[str] = "LOGISTIC"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        return (fixedpoint.logistic_int16(self.argument(inputs[0])).astype(np.int16),)


@dataclass(frozen=True)
class TanhInt16(_SigmoidInt16):
    """y = tanh(a) in Q0.15, int16, from an interpolated table; a = x * multiplier * 2**-right_shift, rounded.

    `a` is in units of 1 / (3 * 4096). Zero points are 0, the output's scale is 1/32768.
    """

    name: ClassVar[str] = "TANH"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        return (fixedpoint.tanh_int16(self.argument(inputs[0])).astype(np.int16),)


def _prepare(site: Site) -> Body:
    op: LogisticInt16 | TanhInt16 = site.op
    return Body(
        values={
            "elements": site.inputs[0].elements,
            "curve": op.name.lower(),
            "multiplier": op.multiplier,
            "rounding": op.half,
            "right_shift": op.right_shift,
        },
        helpers=frozenset({f"{op.name.lower()}_int16"}),
    )


KERNELS = (
    *lookup_kernels(Logistic),
    *lookup_kernels(Tanh),
    Kernel("sigmoid.interpolated", LogisticInt16, _prepare, work=Rates(108, output=20), overlaps=side_by_side),
    Kernel("sigmoid.interpolated", TanhInt16, _prepare, work=Rates(108, output=20), overlaps=side_by_side),
)

_OUTPUTS: Mapping[tuple[str, str], tuple[float, int]] = {
    ("LOGISTIC", "int8"): (1 / 256, -128),
    ("TANH", "int8"): (1 / 128, 0),
    ("LOGISTIC", "int16"): (1 / 32768, 0),
    ("TANH", "int16"): (1 / 32768, 0),
}


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("logistic", "LOGISTIC", 0.05, 4),
        _case("logistic_fine", "LOGISTIC", 1e-6, 4),
        _case("logistic_coarse", "LOGISTIC", 20.0, 4),
        _case("logistic_power_of_two", "LOGISTIC", 0.125, -128),
        _case("tanh", "TANH", 0.02, -9),
        _case("tanh_fine", "TANH", 1e-6, -9),
        _case("tanh_coarse", "TANH", 20.0, -9),
        _case("logistic_int16", "LOGISTIC", 0.0003, dtype="int16"),
        _case("logistic_int16_fine", "LOGISTIC", 1e-9, dtype="int16"),
        _case("logistic_int16_finest", "LOGISTIC", 4e-14, dtype="int16"),
        _case("logistic_int16_coarse", "LOGISTIC", 2.6, dtype="int16"),
        _case("logistic_int16_q3_12", "LOGISTIC", 1 / 4096, dtype="int16"),
        _case("logistic_int16_nearly_q3_12", "LOGISTIC", 1.0005 / 4096, dtype="int16"),
        _case("logistic_int16_no_longer_q3_12", "LOGISTIC", 1.0008 / 4096, dtype="int16"),
        _case("logistic_int16_q4_11", "LOGISTIC", 1 / 2048, dtype="int16"),
        _case("tanh_int16", "TANH", 0.0001, dtype="int16"),
        _case("tanh_int16_fine", "TANH", 1e-9, dtype="int16"),
        _case("tanh_int16_coarse", "TANH", 2.6, dtype="int16"),
        _case("tanh_int16_q3_12", "TANH", 1 / 4096, dtype="int16"),
        _case("tanh_int16_q4_11", "TANH", 1 / 2048, dtype="int16"),
        _case("tanh_int16_q2_13", "TANH", 1 / 8192, dtype="int16"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random sigmoid."""
    op, dtype = (str(rng.choice(names)) for names in (["LOGISTIC", "TANH"], ["int8", "int16"]))
    low, high = full_range(np.dtype(dtype))
    zero_point = int(rng.integers(low, high)) if dtype == "int8" else 0
    scale = float(np.exp(rng.uniform(np.log(0.1 / high), np.log(50 / high))))
    return _case(f"random_{rng.integers(1 << 30)}", op, scale, zero_point, dtype)


def _case(name: str, op: str, scale: float, zero_point: int = 0, dtype: str = "int8") -> Case:
    shape = (1, 7, 37) if dtype == "int8" else (1, 61, 67)
    x = CaseTensor(shape, dtype, scale, zero_point)
    return Case(name, op, (x,), (CaseTensor(shape, dtype, *_OUTPUTS[op, dtype]),))
