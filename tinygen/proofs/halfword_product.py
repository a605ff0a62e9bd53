"""Requantisation of whole vectors by MVE to int16: the runtime's own formula, where registers of 32 bits hold it.

``MultiplyByQuantizedMultiplier`` of an int64 is floor(acc * m * 2**(s - 15) + 1/2), with m of 15 bits. The instructions
of `tinygen.proofs.vector_product`, without its last one,

    VMLAS.S32 a, K, B ; VQDMULH.S32 a, a, M ; VQRSHRN[BT].S32 y, a, #n

are sat16(floor(floor(a * M / 2**31) / 2**n + 1/2)), in which the inner floor makes no difference, as 2**n is an
integer. With K = 2**k, a = 2**k * acc and M = m * 2**(16 + s + n - k) they are the same number for every acc.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygen.fixedpoint import INT16_MAX, INT16_MIN, INT32_MAX, INT32_MIN, IntArray, reduced_multiplier
from tinygen.proofs.vector_product import VectorProduct
from tinygen.rescaling import Requant, Rescaling, Rounding

_SHIFTS = (8, 4, 6, 10, 12, 2, 14, 16, 1, 3, 5, 7, 9, 11, 13, 15)
"""Those of VQRSHRN, in the order in which they are tried: layers that take the first ones share their code."""
_SCALE_BITS = range(9)


def prove_halfword_product(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray
) -> VectorProduct | None:
    """The form that equals clip(requant(acc) + zero_point, *clamp) for every acc from low to high (channels,).

    None where some channel has none: of another rule, with a zero point, or of sums beyond 32 bits.
    """
    if not isinstance(requant, Requant) or requant.rounding is not Rounding.INT64 or zero_point:
        return None
    for scale_bits, shift, multiplier in _forms(requant):
        form = VectorProduct(
            np.full(len(low), scale_bits),
            shift,
            np.zeros(len(low), np.int64),
            np.broadcast_to(multiplier, low.shape),
            None,
            low,
            high,
            clamp[0] if clamp[0] > INT16_MIN else None,
            clamp[1] if clamp[1] < INT16_MAX else None,
            bits=16,
        )
        if form.fits(low, high).all():
            return form
    return None


def _forms(requant: Requant) -> Iterator[tuple[int, int, IntArray]]:
    """(k, n, M) for which every M is an integer of 31 bits."""
    reduced = reduced_multiplier(np.array(requant.multiplier))
    shifts = np.where(reduced == 0, -16, np.array(requant.shift))
    for scale_bits in _SCALE_BITS:
        for shift in _SHIFTS:
            left = 16 + shifts + shift - scale_bits
            if (left > 31).any():
                continue
            multiplier = reduced << np.maximum(left, 0) >> np.maximum(-left, 0)
            exact = multiplier << np.maximum(-left, 0) == reduced << np.maximum(left, 0)
            if exact.all() and multiplier.max() <= INT32_MAX:
                yield scale_bits, shift, multiplier


def exact_multipliers(requant: Rescaling, low: IntArray, high: IntArray) -> IntArray | None:
    """(channels,): M with which floor(acc * M / 2**32 + 1/2), SMMULR, equals requant(acc) from low to high (channels,).

    M = m * 2**(17 + s). None where some channel has none: of another rule, or of sums beyond 32 bits.
    """
    if not isinstance(requant, Requant) or requant.rounding is not Rounding.INT64:
        return None
    if low.min() < INT32_MIN or high.max() > INT32_MAX:
        return None
    reduced = reduced_multiplier(np.array(requant.multiplier))
    left = np.where(reduced == 0, 0, 17 + np.array(requant.shift))
    if (left > 31).any():
        return None
    multiplier = reduced << np.maximum(left, 0) >> np.maximum(-left, 0)
    exact = multiplier << np.maximum(-left, 0) == reduced << np.maximum(left, 0)
    return np.broadcast_to(multiplier, low.shape) if exact.all() and multiplier.max() <= INT32_MAX else None
