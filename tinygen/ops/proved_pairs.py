"""Sums of two rescaled int8 values as one sum of two products, proved on all pairs of values."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

import numpy as np

from tinygen.fixedpoint import INT32_MAX
from tinygen.ir import Array, Op, Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.broadcast import broadcast_values
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.work import plane_work
from tinygen.proofs.word_products import FRACTION_BITS, WordProducts, prove_word_products

_SUM_BITS = 30
_LEAST_FRACTION, _LARGEST_FRACTION = 8, 22
"""With fewer bits of a fraction, halves are not told apart; more are not needed."""


class PairOp(Hashable, Protocol):
    """An operator on two int8 tensors, value by value."""

    @property
    def clamp(self) -> Clamp:
        """What results lie within."""

    @property
    def gains(self) -> tuple[float, float] | None:
        """What a step of either operand changes the output by, nearly; None if that depends on the other operand."""

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The exact results."""


def words_of_pairs(op: PairOp, a: Tensor, b: Tensor) -> WordProducts | None:
    """For halfwords that hold 256 times a value each; None where nothing is proved."""
    return _proved(op, _values(a), _values(b), 8, FRACTION_BITS)


def plane_of_pairs(op: PairOp, a: Tensor, b: Tensor) -> WordProducts | None:
    """y = clip((offset + a * factor + b * factor) >> fraction_bits, low, high) in int32, whatever is added first.

    None where nothing is proved.
    """
    gains = op.gains
    if gains is None:
        return None
    # Zero points and the output's own add as much again to what the products reach, at the most.
    largest = 256 * (1 + sum(map(abs, gains)))
    fraction = min(_SUM_BITS - math.ceil(math.log2(largest)), _LARGEST_FRACTION)
    for bits in range(max(fraction, _LEAST_FRACTION), fraction + 2):
        found = _proved(op, _values(a), _values(b), 0, bits)
        if found is not None and 128 * sum(map(abs, found.factors)) + abs(found.offset) <= INT32_MAX:
            return found
    return None


def plane_kernel(op: type[Op]) -> Kernel:
    """In C, of int8 pairs with a proof."""
    return Kernel(
        "add.plane",
        op,
        _prepare,
        parameters=("a", "b"),
        accepts=_accepts,
        work=plane_work,
        overlaps=by_broadcast,
    )


def _accepts(site: Site) -> bool:
    return all(tensor.dtype == INT8 for tensor in site.inputs) and plane_of_pairs(site.op, *site.inputs) is not None


def _prepare(site: Site) -> Body:
    a, b = site.inputs
    proved = plane_of_pairs(site.op, a, b)
    assert proved is not None
    a_factor, b_factor = proved.factors
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "a_factor": a_factor,
            "b_factor": b_factor,
            "offset": proved.offset,
            "fraction_bits": proved.fraction_bits,
            "low": proved.low,
            "high": proved.high,
        },
        helpers=frozenset({"clamp"}),
        proof=proved.describe(),
    )


def _values(tensor: Tensor) -> tuple[int, ...]:
    """Every value that the operand can have."""
    return tuple(range(-128, 128)) if tensor.data is None else tuple(np.unique(tensor.data).tolist())


@lru_cache(maxsize=1024)
def _proved(
    op: PairOp, a_values: tuple[int, ...], b_values: tuple[int, ...], shift: int, fraction_bits: int
) -> WordProducts | None:
    if op.gains is None:
        return None
    pairs = np.stack([values.reshape(-1) for values in np.meshgrid(a_values, b_values)])
    (expected,) = op.reference(*pairs.astype(np.int8))
    return prove_word_products(expected.astype(np.int64), pairs, op.clamp, op.gains, shift, fraction_bits)
