"""ADD and SUB on int8 as a sum of two products of 32 bits, proved on all pairs of values."""

from __future__ import annotations

import numpy as np

from tinygen.fixedpoint import INT32_MAX
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing
from tinygen.kernels.armv6m.operands import Operands, overlaps
from tinygen.ops.add import Add, Sub
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.proved_pairs import plane_of_pairs
from tinygen.proofs.word_products import WordProducts

_CLAMPED = 4
"""One in so many outputs is taken to be clamped."""


def _proved(site: Site) -> WordProducts | None:
    """With room for sums less the lowest output."""
    found = plane_of_pairs(site.op, *site.inputs)
    if found is None or 128 * sum(map(abs, found.factors)) + abs(_offset(found)) > INT32_MAX:
        return None
    return found


def _offset(proved: WordProducts) -> int:
    return proved.offset - (proved.low << proved.fraction_bits)


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proved(site) is not None


def _prepare(site: Site) -> Body:
    proved, operands = _proved(site), Operands.of(site)
    assert proved is not None and operands is not None
    factors = proved.factors[::-1] if operands.swapped else proved.factors
    runs = operands.runs
    return Body(
        {**operands.values, "bits": proved.fraction_bits, "low": proved.low, "high": proved.high},
        {"data": streams.words(np.array([*factors, _offset(proved), operands.length, runs["elements"]]))},
        variant=f"{proved.fraction_bits}_bits{'_by_row' if operands.rows > 1 else ''}",
        proof=proved.describe(),
        runs={**runs, "clamped": runs["elements"] // _CLAMPED},
    )


KERNELS = tuple(
    Kernel(
        "add.bytes",
        op,
        _prepare,
        parameters=("a", "b"),
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=overlaps,
        assembly=True,
    )
    for op in (Add, Sub, FloatAdd, FloatPair)
)
