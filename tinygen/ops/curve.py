"""Functions of one int8 value that the original runtime computes in floats: tables of their results.

Importers evaluate the function, in the runtime's own arithmetic, for all 256 values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.float32 import FloatArray, quantize
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import INT8, full_range
from tinygen.ops.lookup import Lookup, lookup_kernels
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.work import Rates

CODES = np.arange(-128, 128)
"""All int8 values, in the order of tables."""
FLOAT_TO_INT8 = "float32 quotient, ties to even"


@dataclass(frozen=True)
class Curve(Lookup):
    """y = table[x + 128]."""

    name: ClassVar[str] = "CURVE"
    function: str
    """Its name in the model's file."""
    table: tuple[int, ...]

    @staticmethod
    def of(function: str, results: FloatArray, scale: float, zero_point: int, clamp: tuple[int, int]) -> Curve:
        """The curve of 256 real results, quantised by ``QuantizeLinear``."""
        return Curve(function, tuple(quantize(results, scale, zero_point, *clamp).tolist()))

    @property
    def rounding(self) -> str:
        """That of ``QuantizeLinear``."""
        return FLOAT_TO_INT8

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """By the table."""
        table = np.array(self.table, np.int8)
        return (table[inputs[0].astype(np.int64) + 128],)

    def describe(self) -> str:
        """The function."""
        return self.function


@dataclass(frozen=True)
class ChannelCurves(Op):
    """y = tables[channel, x + 128], with a table for each channel of the last dimension: int8 (channels, 256)."""

    name: ClassVar[str] = "CHANNEL_CURVES"
    function: str

    @property
    def rounding(self) -> str:
        """That of ``QuantizeLinear``."""
        return FLOAT_TO_INT8

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and the number of channels."""
        x, tables = inputs
        yield from common.expect_dtype(x, "input", INT8)
        yield from common.expect_constant(tables, "table")
        if not x.shape or tables.shape != (x.shape[-1], 256):
            yield f"the tables have the shape {tables.shape}, the input {x.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """By the tables."""
        x, tables = inputs
        return (tables[np.arange(x.shape[-1]), x.astype(np.int64) + 128],)

    def describe(self) -> str:
        """The function."""
        return self.function


def _prepare(site: Site) -> Body:
    x, tables = site.inputs
    assert tables.data is not None
    return Body({"positions": x.elements // x.shape[-1], "channels": x.shape[-1]}, {"tables": tables.data})


KERNELS = (
    *lookup_kernels(Curve),
    Kernel("channel_curves.direct", ChannelCurves, _prepare, work=Rates(64, output=9.4), overlaps=side_by_side),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    slopes = CaseTensor((5, 1, 1), "float32", data=np.array([-0.3, 0.0, 0.25, 0.7, 1.9], np.float32).reshape(5, 1, 1))
    bounds = tuple(CaseTensor((), "float32", data=np.array(bound, np.float32)) for bound in (0.0, 6.0))
    return (
        _case("Sigmoid"),
        _case("Sigmoid", "steep", scale=0.9, output=(1 / 256, -128)),
        _case("Sigmoid", "uint8", dtype="uint8", zero_point=131, output=(1 / 256, 0)),
        _case("Tanh", output=(1 / 128, 0)),
        _case("Tanh", "flat", scale=0.0004, output=(1 / 512, 3)),
        _case("HardSigmoid", output=(1 / 256, -128), options={"alpha": 0.17, "beta": 0.4}),
        _case("HardSwish", scale=0.07),
        _case("LeakyRelu", options={"alpha": 0.1}),
        _case("Relu"),
        _case("Clip", operands=bounds),
        _case("Identity", "rescale"),
        _case("Identity", "finer", output=(0.0007, 90)),
        _case("Identity", "ties", scale=0.5, zero_point=1, output=(1.0, 0)),
        _case("PRelu", operands=(slopes,)),
        _case("PRelu", "one_slope", operands=(CaseTensor((1,), "float32", data=np.full(1, 0.3, np.float32)),)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random curve."""
    dtype = str(rng.choice(["int8", "uint8"]))
    scales = np.exp(rng.uniform(np.log(0.002), np.log(0.5), 2))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return _case(
        str(rng.choice(["Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Identity"])),
        f"random_{rng.integers(1 << 30)}",
        dtype,
        float(scales[0]),
        int(zeros[0]),
        (float(scales[1]), int(zeros[1])),
    )


def _case(
    op: str,
    name: str = "",
    dtype: str = "int8",
    scale: float = 0.05,
    zero_point: int = -7,
    output: tuple[float, int] = (0.031, 5),
    operands: tuple[CaseTensor, ...] = (),
    options: Mapping[str, object] | None = None,
) -> Case:
    shape = (1, 5, 11, 37)
    return Case(
        f"{op.lower()}{'_' if name else ''}{name}",
        op,
        (CaseTensor(shape, dtype, scale, zero_point), *operands),
        (CaseTensor(shape, dtype, *output),),
        options or {},
        suffix=ONNX,
    )
