"""Operators that map value to value; for int8 a table of their exact reference, computed on generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.kernels.armv81m.rows import VectorRow
from tinygen.ops import common
from tinygen.ops.common import INT8, UINT8, Clamp
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Elementwise, ValueByValue
from tinygen.ops.work import LOOKUP
from tinygen.rescaling import Requant

_LANES = 16
"""Of a vector of bytes."""


class Lookup(ValueByValue, Elementwise):
    """y[i] = f(x[i]), of the input's dtype; `reference` works value by value."""

    dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (INT8,)
    """Of the input; what is not int8 needs a kernel of its own."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", *self.dtypes)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)


def largest_difference(x: Tensor) -> int:
    """Between two values of an integer tensor, its zero point among them."""
    low, high = common.full_range(x.dtype)
    return high - low


def gain_problems(requant: Requant, difference: int = 255) -> Iterator[str]:
    """A problem when rescaling a difference, of int8 values unless stated, could leave int32."""
    limit = int(requant.largest_accumulator()[0])
    if limit < difference:
        yield f"the output's scale is too fine: a difference of {difference} is rescaled beyond int32 (limit {limit})"


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
        yield from gain_problems(self.requant, largest_difference(inputs[0]))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        y = self.requant.apply(inputs[0].astype(np.int64) - self.zero_point) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(inputs[0].dtype),)


def lookup_kernels(op: type[Op]) -> tuple[Kernel, ...]:
    """The kernels of an operator whose `reference` works value by value, for inputs of one byte."""
    return (
        Kernel(
            "lookup.vectors",
            op,
            _prepare_vectors,
            accepts=_is_from_bytes_to_bytes,
            requires=frozenset({"thumb2", "mve", "loops"}),
            overlaps=side_by_side,
            assembly=True,
        ),
        Kernel(
            "lookup.words",
            op,
            _prepare_words,
            accepts=_is_from_bytes_to_bytes,
            requires=frozenset({"thumb2", "unaligned"}),
            overlaps=side_by_side,
            assembly=True,
        ),
        Kernel("lookup.table", op, _prepare, accepts=_is_of_bytes, work=_work, overlaps=side_by_side),
    )


def _is_of_bytes(site: Site) -> bool:
    return site.inputs[0].dtype in (INT8, UINT8)


def _is_from_bytes_to_bytes(site: Site) -> bool:
    return _is_of_bytes(site) and site.outputs[0].dtype.itemsize == 1


def _work(site: Site) -> Work:
    return LOOKUP[site.objective].work(site.inputs[0].elements)


def _prepare(site: Site) -> Body:
    op: Op = site.op
    x = site.inputs[0]
    low, high = common.full_range(x.dtype)
    (table,) = op.reference(np.arange(low, high + 1).astype(x.dtype))
    return Body({"elements": x.elements, "offset": -low}, {"table": table})


def _prepare_words(site: Site) -> Body:
    elements = site.inputs[0].elements
    return Body({"words": elements // 4, "rest": elements % 4}, {"table": _by_byte(site)}, variant=str(elements))


def _prepare_vectors(site: Site) -> Body:
    elements = site.inputs[0].elements
    row = VectorRow.of(elements, _LANES, site.objective)
    return Body({"row": row}, {"table": _by_byte(site)}, variant=str(elements))


def _by_byte(site: Site) -> Array:
    """(256,): the outputs in the order of inputs as unsigned bytes."""
    op: Op = site.op
    (table,) = op.reference(np.arange(256).astype(np.uint8).view(site.inputs[0].dtype))
    return table
