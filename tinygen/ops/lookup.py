"""Operators that map one int8 value to one int8 value: a table of their exact reference, computed on generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.common import INT8, Clamp

_LARGEST_DIFFERENCE = 255  # of an int8 value and a zero point


class Lookup(Op):
    """y[i] = f(x[i]), int8 to int8; `reference` works value by value."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", INT8)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (TensorType(inputs[0].shape, INT8),)

    def table(self) -> Array:
        """The results for -128, -127, …, 127."""
        (y,) = self.reference(np.arange(-128, 128).astype(np.int8))
        return y


def gain_problems(requant: Requant) -> Iterator[str]:
    """A problem when rescaling a difference of int8 values could leave int32."""
    limit = int(requant.largest_accumulator()[0])
    if limit < _LARGEST_DIFFERENCE:
        yield (
            f"the output's scale is too fine: a difference of {_LARGEST_DIFFERENCE} is rescaled beyond int32 "
            f"(limit {limit})"
        )


@dataclass(frozen=True)
class Rescale(Lookup):
    """y = clamp(requant(x - zero_point) + output_zero_point)."""

    zero_point: int
    output_zero_point: int
    requant: Requant
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and the gain that int32 leaves."""
        yield from super().problems(inputs)
        yield from gain_problems(self.requant)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        y = self.requant.apply(inputs[0].astype(np.int64) - self.zero_point) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(np.int8),)


def lookup_kernel(op: type[Lookup]) -> Kernel:
    """The kernel of such an operator."""
    return Kernel("lookup.table", op, _prepare)


def _prepare(site: Site) -> Body:
    op: Lookup = site.op
    return Body({"elements": site.inputs[0].elements}, {"table": op.table()})
