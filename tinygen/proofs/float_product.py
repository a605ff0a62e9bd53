"""Requantisation by ONNX Runtime's float32 operations, where cores have them: for what no line takes all steps of.

    VCVT.F32.S32 s, a ; VMUL.F32 s, s, m ; VCVTR.S32.F32 a, s ; ADD a, a, Z ; SSAT y, #8, a

All three round ties to even. The accumulator register a holds a power of two times the sum, which m makes up for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import INT32_MAX, FloatRequant, IntArray, Rescaling
from tinygen.proofs.high_product import HighProduct


@dataclass(frozen=True, eq=False)
class FloatProduct(HighProduct):
    """The same constants with another meaning: the multiplier is a float32's bits, the addend the zero point."""

    in_float: ClassVar[bool] = True

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels)."""
        factors = self.multiplier.astype(np.uint32).view(np.float32).astype(np.float64)
        requant = FloatRequant(tuple(factors.tolist()))
        y = np.clip(requant.apply(self.scale * np.asarray(acc, np.int64)) + self.addend, -128, 127)
        return np.asarray(np.clip(y, self.low_clamp, self.high_clamp))

    def describe(self) -> str:
        """In words."""
        return "float32 product, rounded to even: the profile's own instructions"


def float_product(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray, scale: int
) -> FloatProduct | None:
    """The form for every sum from low to high (channels,), in registers that hold `scale` times the sum.

    None for other rules, for scales that are no powers of two, and for sums that do not fit.
    """
    if not isinstance(requant, FloatRequant) or requant.added or scale & (scale - 1):
        return None
    if clamp[0] < -128 or clamp[1] > 127 or scale * max(-int(low.min()), int(high.max())) > INT32_MAX:
        return None
    factors = np.broadcast_to(np.array(requant.factors, np.float32), low.shape) / np.float32(scale)
    if factors.min() < np.finfo(np.float32).tiny:
        return None
    return FloatProduct(
        scale=scale,
        shift=0,
        start=np.zeros(low.shape, np.int64),
        multiplier=np.ascontiguousarray(factors).view(np.uint32).astype(np.int64),
        addend=np.full(low.shape, zero_point, np.int64),
        step=None,
        low=low,
        high=high,
        low_clamp=clamp[0] if clamp[0] > -128 else None,
        high_clamp=clamp[1] if clamp[1] < 127 else None,
    )
