"""ADD and SUB on int8 as a sum of two products of 32 bits, proved on all pairs of values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinygen.access import Spacing, evenly, spacing
from tinygen.fixedpoint import INT32_MAX
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv6m import finishing
from tinygen.ops.add import Add, Sub
from tinygen.ops.common import INT8
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.proved_pairs import plane_of_pairs
from tinygen.proofs.word_products import WordProducts

_CLAMPED = 4
"""One in so many outputs is taken to be clamped."""


def _proved(site: Site) -> WordProducts | None:
    """With room for sums less the lowest output."""
    if any(tensor.dtype != INT8 for tensor in (*site.inputs, *site.outputs)):
        return None
    found = plane_of_pairs(site.op, *site.inputs)
    if found is None or 128 * sum(map(abs, found.factors)) + abs(_offset(found)) > INT32_MAX:
        return None
    return found


def _offset(proved: WordProducts) -> int:
    return proved.offset - (proved.low << proved.fraction_bits)


def _accepts(site: Site) -> bool:
    a, b = site.inputs
    return a.shape == b.shape and _proved(site) is not None


def _prepare(site: Site) -> Body:
    proved = _proved(site)
    assert proved is not None
    elements = site.outputs[0].elements
    return Body(
        {"bits": proved.fraction_bits, "low": proved.low, "high": proved.high},
        {"data": finishing.words(np.array([*proved.factors, _offset(proved), elements]))},
        variant=f"{proved.fraction_bits}_bits",
        proof=proved.describe(),
        runs={"elements": elements, "clamped": elements // _CLAMPED},
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    order = evenly(site.outputs[0].elements, 1, 1)
    return {index: spacing(order) for index, tensor in enumerate(site.inputs) if tensor.data is None}


KERNELS = tuple(
    Kernel(
        "add.bytes",
        op,
        _prepare,
        parameters=("a", "b"),
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
    )
    for op in (Add, Sub, FloatAdd, FloatPair)
)
