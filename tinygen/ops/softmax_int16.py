"""SOFTMAX over the last dimension, int16 to int16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.fixedpoint import INT16_MAX, INT16_MIN
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT16
from tinygen.ops.lookup import gain_problems, largest_difference
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Rowwise
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant
from tinygen.softmax_tables import FLOAT32_TABLES, SoftmaxTables

_LONGEST_ROW = 2**16 - 1  # of exponentials in Q0.15, whose sum is an int32


@dataclass(frozen=True)
class SoftmaxInt16(Rowwise):
    """exp(x - max) / sum, from two interpolated tables; the output has scale 1/32768 and zero point 0.

    A difference d = x - max counts as exp(requant(d) * 10 / 65535), in Q0.15; what is below -10 counts as -10.
    """

    name: ClassVar[str] = "SOFTMAX"
    requant: Requant
    tables: SoftmaxTables = FLOAT32_TABLES

    @property
    def rounding(self) -> str:
        """Between the entries of tables that were computed in a type of real numbers."""
        return f"interpolated {self.tables.computed_in} tables"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, the gain that int32 leaves, and the length that the sum holds."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT16)
        yield from gain_problems(self.requant, largest_difference(x))
        if not x.shape:
            yield "the input is a scalar"
        elif x.shape[-1] > _LONGEST_ROW:
            yield f"rows of {x.shape[-1]} overflow the sum, the limit is {_LONGEST_ROW}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        (x,) = inputs
        rows = x.reshape(-1, x.shape[-1]).astype(np.int64)
        scaled = self.requant.apply(rows - rows.max(axis=1, keepdims=True)) + INT16_MAX
        exp = fixedpoint.interpolate_int16(self.tables.exp, np.maximum(scaled, INT16_MIN))
        total = exp.sum(axis=1, keepdims=True)
        headroom = np.array([[31 - int(value).bit_length()] for value in total[:, 0]], np.int64)
        fraction = (((total << headroom) + (1 << 13)) >> 14) - (3 << 15)  # of 1 + fraction, from -32768 to 32768
        reciprocal = fixedpoint.interpolate_int16(self.tables.reciprocal, np.minimum(fraction, INT16_MAX))
        y = (exp * reciprocal + (np.int64(1) << (29 - headroom))) >> (30 - headroom)
        return (np.minimum(y, INT16_MAX).astype(np.int16).reshape(x.shape),)


def _prepare(site: Site) -> Body:
    op: SoftmaxInt16 = site.op
    (x,) = site.inputs
    final, _, helpers = common.finish(op.requant, INT16_MAX, (INT16_MIN, INT16_MAX), INT16)
    return Body(
        values={"rows": x.elements // x.shape[-1], "depth": x.shape[-1], "finish": final},
        helpers=helpers | {"interpolate_int16"},
        shared={"exp_table": op.tables.exp, "reciprocal_table": op.tables.reciprocal},
    )


KERNELS = (Kernel("softmax.interpolated", SoftmaxInt16, _prepare, work=Rates(300, output=55), overlaps=side_by_side),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("ten_classes", (1, 10), 0.0003),
        _case("one_class", (1, 1), 0.0003),
        _case("two_classes", (900, 2), 10 / 65535),
        _case("rows", (30, 7), 0.0001),
        _case("image", (1, 2, 3, 4), 0.0001),
        _case("steep", (1, 10), 4.9),
        _case("flat", (1, 10), 1e-12),
        _case("beta", (5, 10), 0.0003, beta=0.5),
        _case("long", (3, 600), 0.00002),
        _case("very_long", (1, 40000), 1e-6),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random softmax."""
    shape = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    return _case(f"random_{rng.integers(1 << 30)}", shape, float(np.exp(rng.uniform(np.log(1e-6), np.log(0.01)))))


def _case(name: str, shape: Shape, scale: float, beta: float = 1.0) -> Case:
    x = CaseTensor(shape, "int16", scale)
    return Case(name, "SOFTMAX", (x,), (CaseTensor(shape, "int16", 1 / 32768),), {"beta": beta})
