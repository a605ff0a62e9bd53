"""ADD and SUB on int8 as a sum of two products of 32 bits, proved on all pairs of values."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.operands import Operands
from tinygen.kernels.armv81m import narrowing
from tinygen.kernels.armv81m.rows import of_operands, overlaps
from tinygen.ops.add import Add, Sub
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.proved_pairs import plane_of_pairs
from tinygen.proofs.word_products import WordProducts

_LANES = 8


def _prepare(site: Site) -> Body:
    proved, operands = _proof(site), Operands.of(site)
    assert proved is not None and operands is not None
    factors = proved.factors[::-1] if operands.swapped else proved.factors
    return Body(
        values={
            **operands.values,
            "row": of_operands(operands, _LANES, site.objective),
            **narrowing.values(proved),
        },
        constants={"data": np.array([*factors, narrowing.offset(proved)], np.int64).astype(np.uint32)},
        variant=operands.variant,
        proof=proved.describe(),
    )


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proof(site) is not None


def _proof(site: Site) -> WordProducts | None:
    found = plane_of_pairs(site.op, *site.inputs)
    return found if found is not None and narrowing.is_possible(found) else None


KERNELS = tuple(
    Kernel(
        "add.vectors",
        op,
        _prepare,
        parameters=("a", "b"),
        requires=frozenset({"mve"}),
        accepts=_accepts,
        overlaps=partial(overlaps, lanes=_LANES),
        assembly=True,
    )
    for op in (Add, Sub, FloatAdd, FloatPair)
)
