"""MUL on int8: the product, rescaled by products of 32 bits."""

from __future__ import annotations

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing
from tinygen.kernels.armv6m.operands import Operands, overlaps
from tinygen.ops.mul import Mul
from tinygen.proofs.short_product import ShortProduct, prove_short_product


def _proved(site: Site) -> ShortProduct | None:
    op: Mul = site.op
    low, high = op.reach(*site.inputs)
    return prove_short_product(op.requant, op.output_zero_point, op.clamp, np.array([low]), np.array([high]))


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proved(site) is not None


def _prepare(site: Site) -> Body:
    op: Mul = site.op
    form, operands = _proved(site), Operands.of(site)
    assert form is not None and operands is not None
    zeros = (op.b_zero_point, op.a_zero_point) if operands.swapped else (op.a_zero_point, op.b_zero_point)
    constants = finishing.constants(form, np.zeros(1, np.int64))[0]
    sizes = streams.words(np.array([operands.length, operands.rows * operands.length]))
    return Body(
        {
            **operands.values,
            "f": finishing.Finish(form, ("r2", "r3", "r4")),
            "x_zero": zeros[0],
            "z_zero": zeros[1],
        },
        {"data": np.concatenate([sizes, constants])},
        variant="by_row" if operands.rows > 1 else "",
        proof=form.describe(),
        runs=operands.runs,
    )


KERNELS = (
    Kernel(
        "mul.bytes",
        Mul,
        _prepare,
        parameters=("a", "b"),
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=overlaps,
        assembly=True,
    ),
)
