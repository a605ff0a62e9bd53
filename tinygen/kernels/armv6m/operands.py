"""Two int8 operands, byte by byte: as long as each other, or one of them repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.access import Spacing, evenly, spacing
from tinygen.kernel import Site
from tinygen.ops.broadcast import broadcast_loops
from tinygen.ops.common import INT8


@dataclass(frozen=True)
class Operands:
    """x, as long as the output, and z, of `length` bytes, once for each of `rows` of x."""

    rows: int
    length: int
    swapped: bool
    """Whether x is the operator's second operand."""

    @staticmethod
    def of(site: Site) -> Operands | None:
        """None where an operand is not int8, or they are not so."""
        a, b = site.inputs
        if any(tensor.dtype != INT8 for tensor in (a, b, *site.outputs)):
            return None
        loops = broadcast_loops(a.shape, b.shape)
        trips = [loop.trips for loop in loops]
        strides = [(loop.a_stride, loop.b_stride) for loop in loops]
        if len(loops) == 1:
            # A single value is a row of one.
            rows, length = (1, trips[0]) if 0 not in strides[0] else (trips[0], 1)
            return Operands(rows, length, strides[0] == (0, 1))
        if len(loops) == 2 and strides[1] == (1, 1) and 0 in strides[0]:
            return Operands(trips[0], trips[1], strides[0][0] == 0)
        return None

    @property
    def values(self) -> Mapping[str, object]:
        """For templates: the registers that the operands begin in, and whether z is repeated."""
        x, z = ("r1", "r0") if self.swapped else ("r0", "r1")
        return {"x": x, "z": z, "repeats": self.rows > 1}

    @property
    def runs(self) -> Mapping[str, int]:
        """How often the blocks of a kernel run."""
        return {"rows": self.rows, "elements": self.rows * self.length}


def overlaps(site: Site) -> Mapping[int, Spacing]:
    """A byte of each operand is read before one is written; what is repeated is read again."""
    operands = Operands.of(site)
    assert operands is not None
    order = evenly(operands.rows * operands.length, 1, 1)
    repeated = {0 if operands.swapped else 1} if operands.rows > 1 else set()
    return {
        index: spacing(order)
        for index, tensor in enumerate(site.inputs)
        if tensor.data is None and index not in repeated
    }
