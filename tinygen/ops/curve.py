"""Functions of one int8 value that the original runtime computes in floats: tables of their results.

Importers evaluate the function, in the runtime's own arithmetic, for all 256 values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.float32 import FloatArray, quantize
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case
from tinygen.ops.common import INT8
from tinygen.ops.lookup import Lookup, lookup_kernels
from tinygen.ops.overlaps import side_by_side

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
    Kernel("channel_curves.direct", ChannelCurves, _prepare, overlaps=side_by_side),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return ()
