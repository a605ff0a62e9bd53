"""RELU, RELU6, LEAKY_RELU and ABS, int8 to int8 and int16 to int16; HARD_SWISH, int8 to int8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.ir import Array, Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, Clamp, full_range
from tinygen.ops.lookup import Lookup, Rescale, gain_problems, largest_difference, lookup_kernels
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant

_LARGEST_INT16_SHIFT = 15


@dataclass(frozen=True)
class Relu(Rescale):
    """y = clamp(requant(x - zero_point) + output_zero_point), the clamp from the output's zero point upwards."""

    name: ClassVar[str] = "RELU"
    dtypes = (INT8, INT16)


@dataclass(frozen=True)
class Relu6(Lookup):
    """y = clamp(x): input and output share scale and zero point."""

    name: ClassVar[str] = "RELU6"
    dtypes = (INT8, INT16)
    clamp: Clamp

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Raw values."""
        return (np.clip(inputs[0], *self.clamp).astype(inputs[0].dtype),)


@dataclass(frozen=True)
class Relu6Rescaled(Relu):
    """The same where the scales differ: y = clamp(requant(x - zero_point) + output_zero_point)."""

    name: ClassVar[str] = "RELU6"


@dataclass(frozen=True)
class LeakyRelu(Lookup):
    """y = clamp(r(x - zero_point) + output_zero_point), r = requant, below the zero point sign * negative_requant.

    The runtime rounds the product with the slope's magnitude, and then applies the slope's `sign`, 1 or -1.
    """

    name: ClassVar[str] = "LEAKY_RELU"
    dtypes = (INT8, INT16)
    zero_point: int
    output_zero_point: int
    requant: Requant
    negative_requant: Requant
    sign: int = 1

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the gains that int32 leaves."""
        yield from super().problems(inputs)
        yield from gain_problems(self.requant, largest_difference(inputs[0]))
        yield from gain_problems(self.negative_requant, largest_difference(inputs[0]))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        difference = inputs[0].astype(np.int64) - self.zero_point
        negative = self.sign * self.negative_requant.apply(difference)
        y = np.where(difference >= 0, self.requant.apply(difference), negative) + self.output_zero_point
        return (np.clip(y, *full_range(inputs[0].dtype)).astype(inputs[0].dtype),)


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

    @property
    def rounding(self) -> str:
        """Products of int16 values."""
        return "16-bit products"

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
    dtypes = (INT8, INT16)
    zero_point: int
    output_zero_point: int
    requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the gain that int32 leaves."""
        yield from super().problems(inputs)
        yield from gain_problems(self.requant, largest_difference(inputs[0]))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        magnitude = np.abs(inputs[0].astype(np.int64) - self.zero_point)
        y = self.requant.apply(magnitude) + self.output_zero_point
        return (np.clip(y, *full_range(inputs[0].dtype)).astype(inputs[0].dtype),)


def _prepare_relu(site: Site) -> Body:
    op: Relu = site.op
    final, _, helpers = common.finish(op.requant, op.output_zero_point, op.clamp, site.outputs[0].dtype)
    return Body({"elements": site.inputs[0].elements, "zero_point": op.zero_point, "finish": final}, helpers=helpers)


def _prepare_relu6(site: Site) -> Body:
    op: Relu6 = site.op
    low, high = op.clamp
    return Body({"elements": site.inputs[0].elements, "low": low, "high": high}, helpers=frozenset({"clamp"}))


def _prepare_leaky_relu(site: Site) -> Body:
    op: LeakyRelu = site.op
    clamp = full_range(site.outputs[0].dtype)
    final, _, helpers = common.finish(op.requant, op.output_zero_point, clamp, site.outputs[0].dtype)
    negative, _, negative_helpers = common.finish(op.negative_requant, op.output_zero_point, clamp)
    return Body(
        values={
            "elements": site.inputs[0].elements,
            "zero_point": op.zero_point,
            "sign": op.sign,
            "finish": final,
            "negative_finish": negative,
        },
        helpers=helpers | negative_helpers,
    )


def _prepare_abs(site: Site) -> Body:
    op: Abs = site.op
    final, _, helpers = common.finish(
        op.requant, op.output_zero_point, full_range(site.outputs[0].dtype), site.outputs[0].dtype
    )
    return Body({"elements": site.inputs[0].elements, "zero_point": op.zero_point, "finish": final}, helpers=helpers)


KERNELS = (
    *(kernel for op in (Relu, Relu6, Relu6Rescaled, LeakyRelu, HardSwish, Abs) for kernel in lookup_kernels(op)),
    Kernel("relu.direct", Relu6Rescaled, _prepare_relu, work=Rates(68, output=14), overlaps=side_by_side),
    Kernel("relu.direct", Relu, _prepare_relu, work=Rates(68, output=14), overlaps=side_by_side),
    Kernel("relu6.direct", Relu6, _prepare_relu6, work=Rates(52, output=9), overlaps=side_by_side),
    Kernel("leaky_relu.direct", LeakyRelu, _prepare_leaky_relu, work=Rates(116, output=19), overlaps=side_by_side),
    Kernel("abs.direct", Abs, _prepare_abs, work=Rates(72, output=15), overlaps=side_by_side),
)

_Quant = tuple[float, int]
_NO_ZERO_POINTS_INT16 = ("RELU", "ABS")


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("relu", "RELU", (0.03, 5), (0.02, -128)),
        _case("relu_same", "RELU", (0.03, 5), (0.03, 5)),
        _case("relu_up", "RELU", (0.5, 5), (0.01, -7)),
        _case("relu_int16", "RELU", (0.003, 0), (0.002, 0), dtype="int16"),
        _case("relu_int16_same", "RELU", (0.003, 0), (0.003, 0), dtype="int16"),
        _case("relu_int16_up", "RELU", (0.5, 0), (0.00002, 0), dtype="int16"),
        _case("relu_int16_down", "RELU", (0.0003, 0), (0.2, 0), dtype="int16"),
        _case("relu6", "RELU6", (0.06, -7), (0.06, -7)),
        _case("relu6_beyond", "RELU6", (0.03, 5), (0.03, 5)),
        _case("relu6_int16", "RELU6", (0.0006, 0), (0.0006, 0), dtype="int16"),
        _case("relu6_int16_zero_point", "RELU6", (0.0006, -700), (0.0006, -700), dtype="int16"),
        _case("relu6_int16_beyond", "RELU6", (0.0001, 0), (0.0001, 0), dtype="int16"),
        _case("leaky_relu", "LEAKY_RELU", (0.03, 5), (0.02, -60), alpha=0.1),
        _case("leaky_relu_steep", "LEAKY_RELU", (0.03, 5), (0.05, 3), alpha=1.7),
        _case("leaky_relu_same", "LEAKY_RELU", (0.03, 5), (0.03, 5), alpha=0.25),
        _case("leaky_relu_zero", "LEAKY_RELU", (0.03, 5), (0.03, 5), alpha=0.0),
        _case("leaky_relu_falling", "LEAKY_RELU", (0.03, 5), (0.02, -60), alpha=-0.1),
        _case("leaky_relu_falling_ties", "LEAKY_RELU", (0.03, 5), (0.03, 5), alpha=-0.25),
        _case("leaky_relu_falling_steep", "LEAKY_RELU", (0.03, 5), (0.05, 3), alpha=-3.0),
        _case("leaky_relu_int16", "LEAKY_RELU", (0.0003, 0), (0.0002, 0), alpha=0.1, dtype="int16"),
        _case("leaky_relu_int16_zero_points", "LEAKY_RELU", (0.0003, 500), (0.0005, -7), alpha=0.3, dtype="int16"),
        _case("leaky_relu_int16_ties", "LEAKY_RELU", (0.0003, 0), (0.0003, 0), alpha=0.5, dtype="int16"),
        _case("leaky_relu_int16_zero", "LEAKY_RELU", (0.0003, 9), (0.0003, 9), alpha=0.0, dtype="int16"),
        _case("leaky_relu_int16_steep", "LEAKY_RELU", (0.0003, 9), (0.0001, 9), alpha=40.0, dtype="int16"),
        _case("leaky_relu_int16_falling", "LEAKY_RELU", (0.0003, 0), (0.0003, 0), alpha=-0.5, dtype="int16"),
        _case("hard_swish", "HARD_SWISH", (0.05, 4), (0.03, -115)),
        _case("hard_swish_fine", "HARD_SWISH", (0.0004, 4), (0.0003, -1)),
        _case("hard_swish_coarse", "HARD_SWISH", (0.7, 4), (0.3, -100)),
        _case("abs", "ABS", (0.03, 5), (0.02, -128)),
        _case("abs_same", "ABS", (0.03, -5), (0.03, -5)),
        _case("abs_int16", "ABS", (0.003, 0), (0.002, 0), dtype="int16"),
        _case("abs_int16_same", "ABS", (0.003, 0), (0.003, 0), dtype="int16"),
        _case("abs_int16_down", "ABS", (0.0003, 0), (0.2, 0), dtype="int16"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random activation."""
    op = str(rng.choice(["RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "ABS"]))
    dtype = "int8" if op == "HARD_SWISH" else str(rng.choice(["int8", "int16"]))
    low, high = full_range(np.dtype(dtype))
    steps = high - low
    zeros = [0, 0] if dtype == "int16" and op in _NO_ZERO_POINTS_INT16 else rng.integers(low, high + 1, 2)
    x = (float(np.exp(rng.uniform(np.log(0.2 / steps), np.log(100 / steps)))), int(zeros[0]))
    y = (x[0] * float(np.exp(rng.uniform(-2, 2))), int(zeros[1]))
    alpha = round(float(rng.uniform(-1, 1)), 3) if op == "LEAKY_RELU" else None
    return _case(f"random_{rng.integers(1 << 30)}", op, x, x if op == "RELU6" else y, alpha, dtype)


def _case(name: str, op: str, x: _Quant, y: _Quant, alpha: float | None = None, dtype: str = "int8") -> Case:
    shape = (1, 7, 37) if dtype == "int8" else (1, 61, 67)
    return Case(
        name,
        op,
        (CaseTensor(shape, dtype, *x),),
        (CaseTensor(shape, dtype, *y),),
        {} if alpha is None else {"alpha": alpha},
    )
