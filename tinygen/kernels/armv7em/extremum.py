"""MAXIMUM and MINIMUM on int8, four elements at a time."""

from __future__ import annotations

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.operands import Operands, overlaps
from tinygen.ops.extremum import Maximum, Minimum


def _prepare(site: Site) -> Body:
    operands = Operands.of(site)
    assert operands is not None
    return Body({**operands.values, "larger": isinstance(site.op, Maximum)}, variant=operands.variant)


KERNELS = tuple(
    Kernel(
        "maximum.words",
        op,
        _prepare,
        parameters=("a", "b"),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=lambda site: Operands.of(site) is not None,
        overlaps=overlaps,
        assembly=True,
    )
    for op in (Maximum, Minimum)
)
