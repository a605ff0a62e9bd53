"""ADD and SUB on int8 as a sum of two products, proved on all pairs of values."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.operands import Operands
from tinygen.kernels.armv7em.saturation import Saturation, in_each_byte
from tinygen.ops.add import Add, Sub
from tinygen.proofs.word_products import FRACTION_BITS, WordProducts, prove_word_products


def _prepare(site: Site) -> Body:
    proved, operands = _proof(site), Operands.of(site)
    assert proved is not None and operands is not None
    saturation = Saturation.of(proved.low, proved.high)
    factors = proved.factors[::-1] if operands.swapped else proved.factors
    words = [*factors, proved.offset - (proved.low << FRACTION_BITS), in_each_byte(saturation.lowest)]
    return Body(
        values={**operands.values, "bits": saturation.bits, "room": in_each_byte(saturation.room)},
        constants={"data": np.array(words, np.int64).astype(np.uint32)},
        variant=operands.variant,
    )


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proof(site) is not None


def _proof(site: Site) -> WordProducts | None:
    a, b = site.inputs
    return _proved(site.op, _values(a), _values(b))


def _values(tensor: Tensor) -> tuple[int, ...]:
    """Every value that the operand can have."""
    return tuple(range(-128, 128)) if tensor.data is None else tuple(np.unique(tensor.data).tolist())


@lru_cache(maxsize=1024)
def _proved(op: Add | Sub, a_values: tuple[int, ...], b_values: tuple[int, ...]) -> WordProducts | None:
    pairs = np.stack([values.reshape(-1) for values in np.meshgrid(a_values, b_values)])
    (expected,) = op.reference(*pairs.astype(np.int8))
    common = (1 << op.left_shift) * _factor(op.requant)
    sign = -1 if isinstance(op, Sub) else 1
    gains = common * _factor(op.a_requant), sign * common * _factor(op.b_requant)
    return prove_word_products(expected.astype(np.int64), pairs, op.clamp, gains, shift=8)


def _factor(requant: Requant) -> float:
    return requant.factors[0]


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
