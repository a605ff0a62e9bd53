"""QUANTIZE and DEQUANTIZE: between float32 and int8, and from one int8 scale to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.fixedpoint import quantize_f32
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.lookup import Rescale, lookup_kernel


@dataclass(frozen=True)
class Quantize(Op):
    """y = clamp(round(x / scale) + zero_point): float32 to int8, a float32 quotient, ties away from zero."""

    name: ClassVar[str] = "QUANTIZE"
    scale: float  # a float32 value
    zero_point: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", FLOAT32)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in int8."""
        return (TensorType(inputs[0].shape, INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Float32 division, exact rounding."""
        return (quantize_f32(inputs[0], np.float32(self.scale), self.zero_point, -128, 127).astype(np.int8),)

    def describe(self) -> str:
        """Direction."""
        return "float32 to int8"


@dataclass(frozen=True)
class Requantize(Rescale):
    """y = clamp(requant(x - zero_point) + output_zero_point): int8 to int8."""

    name: ClassVar[str] = "QUANTIZE"

    def describe(self) -> str:
        """Direction."""
        return "int8 to int8"


@dataclass(frozen=True)
class Dequantize(Op):
    """y = scale * (x - zero_point): int8 to float32."""

    name: ClassVar[str] = "DEQUANTIZE"
    scale: float  # a float32 value
    zero_point: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", INT8)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in float32."""
        return (TensorType(inputs[0].shape, FLOAT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One float32 product."""
        return (np.float32(self.scale) * (inputs[0].astype(np.int32) - self.zero_point).astype(np.float32),)

    def describe(self) -> str:
        """Direction."""
        return "int8 to float32"


def _prepare_float(site: Site) -> Body:
    op: Quantize | Dequantize = site.op
    values = {
        "elements": site.inputs[0].elements,
        "scale": float_literal(op.scale),
        "zero_point": op.zero_point,
    }
    return Body(values, helpers=frozenset({"clamp"}) if isinstance(op, Quantize) else frozenset())


KERNELS = (
    Kernel("quantize.float", Quantize, _prepare_float),
    lookup_kernel(Requantize),
    Kernel("dequantize.float", Dequantize, _prepare_float),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("quantize", "float32", "int8", (None, 0), (0.037, -4)),
        _case("quantize_power_of_two", "float32", "int8", (None, 0), (0.25, 0)),
        _case("requantize", "int8", "int8", (0.03, 5), (0.05, -7)),
        _case("requantize_up", "int8", "int8", (0.5, 5), (0.01, -7)),
        _case("requantize_same", "int8", "int8", (0.03, 5), (0.03, 5)),
        _case("dequantize", "int8", "float32", (0.037, -4), (None, 0)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random conversion."""
    scales = [float(scale) for scale in np.exp(rng.uniform(np.log(1e-3), np.log(2.0), 2))]
    zeros = [int(zero) for zero in rng.integers(-128, 128, 2)]
    name = f"random_{rng.integers(1 << 30)}"
    kinds = [("float32", "int8"), ("int8", "int8"), ("int8", "float32")]
    source, target = kinds[int(rng.integers(len(kinds)))]
    return _case(
        name,
        source,
        target,
        (scales[0], zeros[0]) if source == "int8" else (None, 0),
        (scales[1], zeros[1]) if target == "int8" else (None, 0),
    )


def _case(
    name: str, source: str, target: str, source_quant: tuple[float | None, int], target_quant: tuple[float | None, int]
) -> Case:
    shape = (1, 7, 37)
    return Case(
        name,
        "DEQUANTIZE" if target == "float32" else "QUANTIZE",
        (CaseTensor(shape, source, *source_quant),),
        (CaseTensor(shape, target, *target_quant),),
    )
