"""MUL on int8: eight products of 16 bits each way, rescaled as sums are, which is proved for all that there can be."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em.operands import Operands
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.finishing import Finish
from tinygen.kernels.armv81m.rows import of_operands, overlaps
from tinygen.ops.mul import Mul
from tinygen.proofs.vector_product import VectorProduct, prove_vector_product

_LANES = 8


def _prepare(site: Site) -> Body:
    op: Mul = site.op
    form, operands = _proof(site), Operands.of(site)
    assert form is not None and operands is not None
    zeros = np.array([op.a_zero_point, op.b_zero_point])[:: -1 if operands.swapped else 1]
    constants = finishing.by_filter(form, np.zeros(1, np.int64))[0]
    return Body(
        values={
            **operands.values,
            "row": of_operands(operands, _LANES, site.objective),
            "moves_x": bool(zeros[0]),
            "moves_z": bool(zeros[1]),
            "finish": Finish.of(form),
        },
        constants={"data": np.concatenate([streams.words(-zeros), constants])},
        variant=operands.variant,
        proof=form.describe(),
    )


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proof(site) is not None


def _proof(site: Site) -> VectorProduct | None:
    op: Mul = site.op
    low, high = op.reach(*site.inputs)
    return prove_vector_product(op.requant, op.output_zero_point, op.clamp, np.array([low]), np.array([high]))


KERNELS = (
    Kernel(
        "mul.vectors",
        Mul,
        _prepare,
        parameters=("a", "b"),
        requires=finishing.FEATURES | {"loops"},
        accepts=_accepts,
        overlaps=partial(overlaps, lanes=_LANES),
        assembly=True,
    ),
)
