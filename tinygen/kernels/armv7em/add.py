"""ADD and SUB on int8 as a sum of two products, proved on all pairs of values."""

from __future__ import annotations

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.rows import Row
from tinygen.kernels.armv7em.saturation import Saturation, in_each_byte
from tinygen.ops.add import Add, Sub
from tinygen.ops.broadcast import Loop, broadcast_loops
from tinygen.ops.common import INT8
from tinygen.ops.proved_pairs import words_of_pairs
from tinygen.proofs.word_products import FRACTION_BITS, WordProducts


def _prepare(site: Site) -> Body:
    proved = _proof(site)
    assert proved is not None
    *outer, inner = _loops(site)
    row = Row.of(inner.trips, site.objective, outer[0].trips if outer else 1)
    swapped = inner.a_stride == 0
    saturation = Saturation.of(proved.low, proved.high)
    a_factor, b_factor = proved.factors
    words = [
        b_factor if swapped else a_factor,
        a_factor if swapped else b_factor,
        proved.offset - (proved.low << FRACTION_BITS),
        in_each_byte(saturation.lowest),
    ]
    return Body(
        values={
            "row": row,
            "x": "r1" if swapped else "r0",
            "z": "r0" if swapped else "r1",
            "repeats": 0 in (inner.a_stride, inner.b_stride),
            # After a row, an operand is at its end; the next row may be elsewhere.
            "x_step": _step(outer, inner, "b_stride" if swapped else "a_stride"),
            "z_step": _step(outer, inner, "a_stride" if swapped else "b_stride"),
            "bits": saturation.bits,
            "room": in_each_byte(saturation.room),
        },
        constants={"data": np.array(words, np.int64).astype(np.uint32)},
        variant=f"{row.rows}x{row.elements}" if outer else str(row.elements),
    )


def _step(outer: list[Loop], inner: Loop, stride: str) -> int:
    """From where a row leaves an operand to where the next one wants it."""
    advanced = inner.trips if getattr(inner, stride) else 1
    return sum(int(getattr(loop, stride)) for loop in outer) - advanced


def _accepts(site: Site) -> bool:
    if any(tensor.dtype != INT8 for tensor in (*site.inputs, *site.outputs)):
        return False
    *outer, inner = _loops(site)
    if len(outer) > 1 or {inner.a_stride, inner.b_stride} - {0, 1}:
        return False
    return _proof(site) is not None


def _loops(site: Site) -> tuple[Loop, ...]:
    a, b = site.inputs
    return broadcast_loops(a.shape, b.shape)


def _proof(site: Site) -> WordProducts | None:
    return words_of_pairs(site.op, *site.inputs)


KERNELS = tuple(
    Kernel(
        "add.words",
        op,
        _prepare,
        parameters=("a", "b"),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=_accepts,
        assembly=True,
    )
    for op in (Add, Sub)
)
