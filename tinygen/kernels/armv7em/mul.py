"""MUL on int8: the product of two halfwords, rescaled by a proved high half of a product."""

from __future__ import annotations

import itertools

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.operands import Operands, overlaps
from tinygen.ops.common import differences
from tinygen.ops.mul import Mul
from tinygen.proofs.high_product import HighProduct, prove_high_product

_SCALE_BITS = 8


def _prepare(site: Site) -> Body:
    proved, operands = _proof(site), Operands.of(site)
    assert proved is not None and operands is not None
    zeros = [-site.op.a_zero_point, -site.op.b_zero_point]
    step = [] if proved.step is None else [int(proved.step[0])]
    words = [
        *(_twice(zero) for zero in (zeros[::-1] if operands.swapped else zeros)),
        int(proved.multiplier[0]),
        int(proved.addend[0]),
        int(proved.start[0]),
        *step,
    ]
    return Body(
        values={
            **operands.values,
            "stepped": bool(step),
            "scale_bits": _SCALE_BITS,
            "shift": proved.shift,
            "low": proved.low_clamp,
            "high": proved.high_clamp,
        },
        constants={"data": np.array(words, np.int64).astype(np.uint32)},
        variant=operands.variant,
        proof=proved.describe(),
    )


def _twice(halfword: int) -> int:
    """In both halves of a word."""
    return (halfword & 0xFFFF) * 0x00010001


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proof(site) is not None


def _proof(site: Site) -> HighProduct | None:
    """Without a step, of the product itself; with one, of its multiple: the start value must not change the sign."""
    op: Mul = site.op
    layer = (op.requant, op.output_zero_point, op.clamp, *_reach(site))
    plain = prove_high_product(*layer, scale=1, with_step=False)
    return plain or prove_high_product(*layer, scale=1 << _SCALE_BITS, with_step=True)


def _reach(site: Site) -> tuple[IntArray, IntArray]:
    """(1,): the least and the greatest product."""
    op: Mul = site.op
    a, b = site.inputs
    factors = itertools.product(differences(a, op.a_zero_point), differences(b, op.b_zero_point))
    products = [left * right for left, right in factors]
    return np.array([min(products)]), np.array([max(products)])


KERNELS = (
    Kernel(
        "mul.words",
        Mul,
        _prepare,
        parameters=("a", "b"),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=_accepts,
        overlaps=overlaps,
        assembly=True,
    ),
)
