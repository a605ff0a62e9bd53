"""Two operands that are walked in rows: element by element, or one of them a value for a whole row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.fixedpoint import IntArray
from tinygen.kernel import Site
from tinygen.kernels.armv7em.rows import Row
from tinygen.ops.broadcast import Loop, broadcast_loops
from tinygen.ops.common import INT8


@dataclass(frozen=True)
class Operands:
    """x, which is as long as a row, and z, which is too, or is one value that the row `repeats`."""

    row: Row
    swapped: bool
    """Whether x is the operator's second operand."""
    repeats: bool
    x_step: int
    """Bytes from where a row leaves x to where the next one wants it."""
    z_step: int

    @staticmethod
    def of(site: Site) -> Operands | None:
        """None where an operand is not int8, or the rows are not all alike."""
        if any(tensor.dtype != INT8 for tensor in (*site.inputs, *site.outputs)):
            return None
        a, b = site.inputs
        *outer, inner = broadcast_loops(a.shape, b.shape)
        if len(outer) > 1 or {inner.a_stride, inner.b_stride} - {0, 1}:
            return None
        swapped = inner.a_stride == 0
        x, z = ("b_stride", "a_stride") if swapped else ("a_stride", "b_stride")
        return Operands(
            row=Row.of(inner.trips, site.objective, outer[0].trips if outer else 1),
            swapped=swapped,
            repeats=0 in (inner.a_stride, inner.b_stride),
            x_step=_step(outer, inner, x),
            z_step=_step(outer, inner, z),
        )

    @property
    def values(self) -> Mapping[str, object]:
        """For the template `armv7em/rows`."""
        x, z = ("r1", "r0") if self.swapped else ("r0", "r1")
        return {"row": self.row, "x": x, "z": z, "repeats": self.repeats, "x_step": self.x_step, "z_step": self.z_step}

    @property
    def variant(self) -> str:
        """For the function's name."""
        shape = f"{self.row.rows}x{self.row.elements}" if self.row.rows > 1 else str(self.row.elements)
        return f"{shape}_by_1" if self.repeats else shape


def overlaps(site: Site) -> Mapping[int, Spacing]:
    """A word is read of each operand before one is written, then bytes; a value for a row before the row."""
    operands = Operands.of(site)
    assert operands is not None
    return in_steps(site, [4] * (operands.row.elements // 4) + [1] * operands.row.rest)


def in_steps(site: Site, sizes: Sequence[int]) -> Mapping[int, Spacing]:
    """A row in steps of so many bytes, that are read of each operand before as many are written."""
    operands = Operands.of(site)
    assert operands is not None
    row = operands.row
    at = np.arange(row.rows)[:, None] * row.elements
    widths = np.array(sizes)
    starts = np.cumsum(widths) - widths
    x_rows = np.arange(row.rows)[:, None] * (operands.x_step + row.elements)
    if operands.repeats:
        z_rows = np.arange(row.rows)[:, None] * (operands.z_step + 1)
        z = _steps(z_rows, np.zeros(1, int), np.ones(1, int), at, np.array([row.elements]))
    else:
        z = _steps(np.arange(row.rows)[:, None] * (operands.z_step + row.elements), starts, widths, at, widths)
    x = _steps(x_rows, starts, widths, at, widths)
    orders = (z, x) if operands.swapped else (x, z)
    return {index: spacing(order) for index, order in enumerate(orders) if site.inputs[index].data is None}


def _steps(read_rows: IntArray, first: IntArray, read: IntArray, written_rows: IntArray, written: IntArray) -> Order:
    """In every row the same steps, each of so many bytes."""
    reads = (read_rows + first).reshape(-1)
    writes = (written_rows + np.cumsum(written) - written).reshape(-1)
    rows = len(read_rows)
    return Order(reads, reads + np.tile(read, rows), writes, writes + np.tile(written, rows))


def _step(outer: Sequence[Loop], inner: Loop, stride: str) -> int:
    advanced = inner.trips if getattr(inner, stride) else 1
    return sum(int(getattr(loop, stride)) for loop in outer) - advanced
