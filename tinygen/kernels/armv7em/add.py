"""ADD and SUB on int8 as a sum of two products, proved on all pairs of values."""

from __future__ import annotations

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.operands import Operands, overlaps
from tinygen.kernels.armv7em.saturation import Saturation, in_each_byte
from tinygen.ops.add import Add, Sub
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.proved_pairs import words_of_pairs
from tinygen.proofs.word_products import FRACTION_BITS, WordProducts


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
        proof=proved.describe(),
    )


def _accepts(site: Site) -> bool:
    return Operands.of(site) is not None and _proof(site) is not None


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
        overlaps=overlaps,
        assembly=True,
    )
    for op in (Add, Sub, FloatAdd, FloatPair)
)
