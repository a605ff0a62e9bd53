"""QUANTIZE and DEQUANTIZE: between float32 and integers, and from one scale or integer type to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.fixedpoint import INT32_MAX, INT32_MIN, quantize_f32
from tinygen.float32 import quantize
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, UINT8, differences, full_range
from tinygen.ops.lookup import lookup_kernels
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.traits import Elementwise, Increasing
from tinygen.ops.work import Rates
from tinygen.proofs.float_edges import IntegerProduct, IntegerQuotient
from tinygen.rescaling import Requant

DType = np.dtype[Any]

_TARGETS: Mapping[DType, tuple[DType, ...]] = {
    FLOAT32: (INT8, INT16),
    INT8: (INT8, UINT8, INT16, INT32),
    UINT8: (INT8,),
    INT16: (INT8, INT16, INT32),
    INT32: (INT8, INT16),
}
"""What the runtimes make of each type."""


def _target_problems(x: Tensor, to: DType) -> Iterator[str]:
    targets = _TARGETS.get(x.dtype, ())
    if not targets:
        yield f"the input is {x.dtype}, supported are {', '.join(map(str, _TARGETS))}"
    elif to not in targets:
        yield f"{x.dtype} does not become {to}, supported is {' or '.join(map(str, targets))}"


@dataclass(frozen=True)
class Quantize(Elementwise):
    """y = clamp(round(x / scale) + zero_point): float32 to int8 or int16, a float32 quotient.

    Ties go away from zero, or `to_even`.
    """

    name: ClassVar[str] = "QUANTIZE"
    scale: float  # a float32 value
    zero_point: int
    to: DType
    to_even: bool = False

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes."""
        yield from common.expect_dtype(inputs[0], "input", FLOAT32)
        yield from _target_problems(inputs[0], self.to)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in the wanted dtype."""
        return (TensorType(inputs[0].shape, self.to),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Float32 division, exact rounding."""
        rule = quantize if self.to_even else quantize_f32
        y = rule(inputs[0], np.float32(self.scale), self.zero_point, *full_range(self.to))
        return (y.astype(self.to),)

    def describe(self) -> str:
        """Direction."""
        return f"float32 to {self.to}"


@dataclass(frozen=True)
class Requantize(Increasing, Elementwise):
    """y = clamp(requant(x - zero_point) + output_zero_point): from int8, uint8, int16 or int32 to any of them."""

    name: ClassVar[str] = "QUANTIZE"
    zero_point: int
    output_zero_point: int
    requant: Requant
    to: DType

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, and values that would leave int32 on the way."""
        (x,) = inputs
        broken = list(_target_problems(x, self.to))
        yield from broken
        if broken:
            return
        low, high = differences(x, self.zero_point)
        gain = list(common.rescaling_problems("the difference to the zero point", low, high, self.requant))
        yield from gain
        if not gain:
            results = self.requant.apply(np.array([[low], [high]])) + self.output_zero_point
            if results.min() < INT32_MIN or results.max() > INT32_MAX:
                yield f"with the output's zero point {self.output_zero_point}, results leave int32"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in the wanted dtype."""
        return (TensorType(inputs[0].shape, self.to),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        difference = inputs[0].astype(np.int64) - self.zero_point
        y = self.requant.apply(difference).reshape(difference.shape) + self.output_zero_point
        return (np.clip(y, *full_range(self.to)).astype(self.to),)

    def describe(self) -> str:
        """The wanted dtype."""
        return f"to {self.to}"


@dataclass(frozen=True)
class Dequantize(Elementwise):
    """y = scale * (x - zero_point): int8, uint8 or int16 to float32."""

    name: ClassVar[str] = "DEQUANTIZE"
    scale: float  # a float32 value
    zero_point: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", INT8, UINT8, INT16)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in float32."""
        return (TensorType(inputs[0].shape, FLOAT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One float32 product."""
        return (np.float32(self.scale) * (inputs[0].astype(np.int32) - self.zero_point).astype(np.float32),)

    def describe(self) -> str:
        """Direction."""
        return "to float32"


def _scaled(site: Site) -> dict[str, object]:
    """What templates on both sides of float32 need."""
    op: Quantize | Dequantize = site.op
    return {"elements": site.inputs[0].elements, "scale": float_literal(op.scale), "zero_point": op.zero_point}


def _prepare_quantize(site: Site) -> Body:
    op: Quantize = site.op
    low, high = full_range(op.to)
    values = {
        **_scaled(site),
        # Bounds are integers: it does not matter whether values are rounded before or after.
        "low": float_literal(low - op.zero_point),
        "high": float_literal(high - op.zero_point),
        "to_even": op.to_even,
    }
    return Body(values, helpers=frozenset({"round_float"} if op.to_even else ()))


def _integer_quotient(site: Site) -> IntegerQuotient | None:
    op: Quantize = site.op
    if op.to != INT8:
        return None
    low, high = full_range(INT8)
    most = 1 << 20
    rule = quantize if op.to_even else quantize_f32
    limit = max(high - op.zero_point, op.zero_point - low)
    return IntegerQuotient.of(
        op.scale, limit, lambda values: rule(values, np.float32(op.scale), 0, 0, most), op.to_even
    )


def _integer_product(site: Site) -> IntegerProduct | None:
    op: Dequantize = site.op
    (x,) = site.inputs
    return None if x.dtype == INT16 else IntegerProduct.of(op.scale, *differences(x, op.zero_point))


def _prepare_integer_quantize(site: Site) -> Body:
    op: Quantize = site.op
    low, high = full_range(op.to)
    # Then all negative values are the lowest one, and no other result lies beyond the highest.
    is_one_sided = op.zero_point == low
    values = {
        **_scaled(site),
        "low": low,
        "high": high,
        "q": _integer_quotient(site),
        "is_one_sided": is_one_sided,
    }
    proof = "float32 quotients in integers, both sides of every step compared"
    return Body(values, helpers=frozenset() if is_one_sided else frozenset({"clamp"}), proof=proof)


def _prepare_integer_dequantize(site: Site) -> Body:
    op: Dequantize = site.op
    values = {
        **_scaled(site),
        "signed": differences(site.inputs[0], op.zero_point)[0] < 0,
        "p": _integer_product(site),
    }
    return Body(values, proof="float32 products in integers, all codes compared")


def _prepare_requantize(site: Site) -> Body:
    op: Requantize = site.op
    (x,) = site.inputs
    low, high = (value - op.zero_point for value in full_range(x.dtype))
    final, _, helpers, proof = finish_within(op.requant, op.output_zero_point, full_range(op.to), op.to, low, high)
    saturates = op.to != INT32  # results fit int32
    values = {"elements": x.elements, "zero_point": op.zero_point, "finish": final, "saturates": saturates}
    return Body(values, helpers=helpers if saturates else helpers - {"clamp"}, proof=proof)


def _prepare_dequantize(site: Site) -> Body:
    return Body(_scaled(site))


def _work(site: Site) -> Work:
    """Of floats in integers."""
    return Work(20 * site.inputs[0].elements, 200)


KERNELS = (
    Kernel(
        "quantize.integer",
        Quantize,
        _prepare_integer_quantize,
        takes_bits=True,
        work=_work,
        accepts=lambda site: "fpu" not in site.features and _integer_quotient(site) is not None,
        overlaps=side_by_side,
    ),
    Kernel(
        "quantize.float", Quantize, _prepare_quantize, work=Rates(120, output=13, in_float=True), overlaps=side_by_side
    ),
    *lookup_kernels(Requantize),
    Kernel("quantize.direct", Requantize, _prepare_requantize, work=Rates(84, output=16), overlaps=side_by_side),
    Kernel(
        "dequantize.integer",
        Dequantize,
        _prepare_integer_dequantize,
        takes_bits=True,
        work=_work,
        accepts=lambda site: "fpu" not in site.features and _integer_product(site) is not None,
        overlaps=side_by_side,
    ),
    Kernel(
        "dequantize.float",
        Dequantize,
        _prepare_dequantize,
        work=Rates(44, output=8, in_float=True),
        overlaps=side_by_side,
    ),
)

_Quant = tuple[float | None, int]
_NONE: _Quant = (None, 0)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("quantize", "float32", "int8", _NONE, (0.037, -4)),
        _case("quantize_power_of_two", "float32", "int8", _NONE, (0.25, 0)),
        _case("quantize_int16", "float32", "int16", _NONE, (0.037, 0)),
        _case("quantize_int16_saturates", "float32", "int16", _NONE, (0.0009, -32768)),
        _case("quantize_int16_power_of_two", "float32", "int16", _NONE, (0.25, 32767)),
        _case("requantize", "int8", "int8", (0.03, 5), (0.05, -7)),
        _case("requantize_up", "int8", "int8", (0.5, 5), (0.01, -7)),
        _case("requantize_same", "int8", "int8", (0.03, 5), (0.03, 5)),
        _case("int8_to_uint8", "int8", "uint8", (0.03, 5), (0.05, 130)),
        _case("int8_to_uint8_same", "int8", "uint8", (1 / 256, -128), (1 / 256, 0)),
        _case("int8_to_int16", "int8", "int16", (0.03, 5), (0.0007, 0)),
        _case("int8_to_int16_saturates", "int8", "int16", (0.5, -128), (0.0007, 12)),
        _case("int8_to_int32", "int8", "int32", (0.03, 5), (0.0000007, 0)),
        _case("int8_to_int32_zero_point", "int8", "int32", (0.03, 5), (0.7, -1_000_000)),
        _case("uint8_to_int8", "uint8", "int8", (0.03, 120), (0.05, -7)),
        _case("uint8_to_int8_same", "uint8", "int8", (0.03, 128), (0.03, 0)),
        _case("int16_to_int8", "int16", "int8", (0.0006, 0), (0.06, -128)),
        _case("int16_to_int8_saturates", "int16", "int8", (0.5, 3), (0.06, 127)),
        _case("int16_to_int16", "int16", "int16", (0.0006, 0), (0.0007, 0)),
        _case("int16_to_int16_up", "int16", "int16", (0.0006, -9), (0.00007, 11)),
        _case("int16_to_int32", "int16", "int32", (1 / 65536, -32768), (1 / 32768, 0)),
        _case("int16_to_int32_up", "int16", "int32", (0.01, 0), (0.000001, 5)),
        _case("int32_to_int8", "int32", "int8", (1.5e-9, 0), (0.01, -5)),
        _case("int32_to_int16", "int32", "int16", (1.4901161e-7, 0), (0.00092197, 0)),
        # The scales differ by less than a factor of two: the widest range that int32 leaves.
        _case("int32_to_int16_saturates", "int32", "int16", (0.0005, 0), (0.00052, 300)),
        _case("int32_to_int8_vanishing", "int32", "int8", (1e-12, 0), (10.0, 3)),
        _case("dequantize", "int8", "float32", (0.037, -4), _NONE),
        _case("dequantize_uint8", "uint8", "float32", (0.037, 133), _NONE),
        _case("dequantize_int16", "int16", "float32", (0.00037, 0), _NONE),
        _case("dequantize_int16_zero_point", "int16", "float32", (0.00037, -32768), _NONE),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random conversion."""
    scales = [float(scale) for scale in np.exp(rng.uniform(np.log(1e-3), np.log(2.0), 2))]
    name = f"random_{rng.integers(1 << 30)}"
    pairs = [(source, target) for source, targets in _TARGETS.items() for target in targets]
    pairs += [(source, FLOAT32) for source in (INT8, UINT8, INT16)]
    source, target = pairs[int(rng.integers(len(pairs)))]
    if source == INT32:
        scales[0] *= 1e-4  # values of 32 bits are only ever scaled down
    return _case(
        name,
        str(source),
        str(target),
        _NONE if source == FLOAT32 else (scales[0], _random_zero_point(rng, source)),
        _NONE if target == FLOAT32 else (scales[1], _random_zero_point(rng, target)),
    )


def _random_zero_point(rng: np.random.Generator, dtype: DType) -> int:
    return 0 if dtype == INT32 else int(rng.integers(*full_range(dtype), endpoint=True))


def _case(name: str, source: str, target: str, source_quant: _Quant, target_quant: _Quant) -> Case:
    shape = (1, 7, 37)
    return Case(
        name,
        "DEQUANTIZE" if target == "float32" else "QUANTIZE",
        (CaseTensor(shape, source, *source_quant),),
        (CaseTensor(shape, target, *target_quant),),
    )
