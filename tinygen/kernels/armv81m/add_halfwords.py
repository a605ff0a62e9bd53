"""ADD and SUB of int16 tensors of one shape: the runtime's own steps, eight elements at a time.

An element is shifted, multiplied and divided, to 32 bits; so is the sum. VQRDMULH is the multiplication; VRSHR
rounds halves up, and the runtime away from zero: negative values have one taken off before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygen.access import Spacing, evenly, spacing
from tinygen.fixedpoint import INT16_MAX, INT16_MIN
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv81m.rows import VectorRow
from tinygen.ops.add import Add, Sub
from tinygen.ops.broadcast import broadcast_loops
from tinygen.ops.common import INT16
from tinygen.ops.common_scale import CommonScale
from tinygen.rescaling import Requant, Rounding

_LANES = 8
_HALF = 1 << 30
"""A multiplier that is a shift to the right by one bit."""


@dataclass(frozen=True)
class Operand:
    """From halfwords to lanes of the common scale."""

    left: int
    """Bits that a halfword is shifted by as it is widened"""
    multiplies: bool
    right: int
    """Bits that are dropped then, with rounding"""

    @staticmethod
    def of(left: int, requant: Requant) -> Operand:
        """The rescaling of an element that was shifted; powers of two are shifts alone."""
        (multiplier,), (shift,) = requant.multiplier, requant.shift
        if multiplier != _HALF:
            return Operand(left, True, -shift)
        whole = left - 1 + shift
        return Operand(whole, False, 0) if whole >= 1 else Operand(left - 1, False, -shift)


def _accepts(site: Site) -> bool:
    """int16 without zero points, element by element; all factors are below one."""
    op: CommonScale = site.op
    a, b = site.inputs
    if a.dtype != INT16 or len(broadcast_loops(a.shape, b.shape)) > 1 or a.elements != b.elements:
        return False
    if op.a_zero_point or op.b_zero_point or op.output_zero_point or not 2 <= op.left_shift <= 15:
        return False
    return all(
        each.rounding is Rounding.DOUBLE and -31 <= each.shift[0] <= 0
        for each in (op.a_requant, op.b_requant, op.requant)
    )


def _prepare(site: Site) -> Body:
    op: CommonScale = site.op
    low, high = op.clamp
    elements = site.outputs[0].elements
    return Body(
        values={
            "operands": [Operand.of(op.left_shift, each) for each in (op.a_requant, op.b_requant)],
            "right": -op.requant.shift[0],
            "combine": "vsub.i32" if isinstance(op, Sub) else "vadd.i32",
            "row": VectorRow.of(elements, _LANES, site.objective),
            "low": low if low > INT16_MIN else None,
            "high": high if high < INT16_MAX else None,
        },
        constants={
            "data": np.array([each.multiplier[0] for each in (op.a_requant, op.b_requant, op.requant)], np.int32)
        },
        variant=str(elements),
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    """A vector is read of each operand before one is written."""
    (y,) = site.outputs
    order = spacing(evenly(-(-y.elements // _LANES), 2 * _LANES, 2 * _LANES))
    return {index: order for index, each in enumerate(site.inputs) if each.data is None}


KERNELS = tuple(
    Kernel(
        "add.vectors_of_int16",
        op,
        _prepare,
        parameters=("a", "b"),
        requires=frozenset({"thumb2", "mve"}),
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
    )
    for op in (Add, Sub)
)
