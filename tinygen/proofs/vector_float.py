"""Requantisation of whole vectors by MVE in float32, as ONNX Runtime does it: equal by what the instructions are.

    VADD.I32 a, a, B ; VCVT.F32.S32 a, a ; VMUL.F32 a, a, M ; VCVTN.S32.F32 a, a
    VQMOVN[BT].S32 y, a ; VQADD.S16 y, y, Z ; VQMOVNB.S16 y, y

Each rounds as the operation of the rule does that it stands for, ties to even; saturation comes where the clamp does.
Where no product is beyond int16, VMOVNT.I32 y, b does for both VQMOVN, with lanes a in y. If Z is even, too, one
addition rounds to an integer and adds Z: floats from 2**23 to 2**24 are the integers, and 1.5 * 2**23 + Z is even.

    VADD.F32 a, a, 1.5 * 2**23 + Z ; VMOVNT.I32 a, b ; VQMOVNB.S16 y, a

The lowest 16 bits of such a float are those of the integer less 1.5 * 2**23.
For layers with channels that rounding in float32 leaves no line (`tinygen.proofs.vector_product`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.rescaling import FloatRequant, Rescaling


@dataclass(frozen=True, eq=False)
class VectorFloat:
    """Constants of the form for every channel of a layer; arrays are int64 (channels,).

    Its sums and constants are used as those of a line are whose K is one, and which has no step.
    """

    multiplier: IntArray
    """the bits of M, a float32"""
    zero_point: int
    """Z"""
    low: IntArray
    """the least accumulator"""
    high: IntArray
    """the greatest"""
    low_clamp: int | None
    """the least output, where saturation does not see to it"""
    high_clamp: int | None
    """the greatest output, likewise"""
    shift: int = 0
    bits: int = 8
    is_uniform: bool = True
    step: None = None

    @property
    def scale_bits(self) -> IntArray:
        """Sums are what they are."""
        return np.zeros_like(self.multiplier)

    @property
    def start(self) -> IntArray:
        """B for sums that are the accumulator."""
        return np.zeros_like(self.multiplier)

    @property
    def is_narrow(self) -> bool:
        """Whether all products lie within int16, with Z, too."""
        farthest = np.maximum(np.abs(self.low), np.abs(self.high)) * self._factors.astype(np.float64)
        return bool(farthest.max() < 2**15 - 2**8)

    @property
    def rounder(self) -> int | None:
        """The bits of the float32 that rounds products to integers and adds Z to them; None: there is none."""
        if not self.is_narrow or self.zero_point % 2:
            return None
        return int(np.float32(1.5 * 2**23 + self.zero_point).view(np.uint32))

    @property
    def _factors(self) -> npt.NDArray[np.float32]:
        return self.multiplier.astype(np.uint32).view(np.float32)

    def apply(self, acc: IntArray) -> IntArray:
        """What the instructions give for accumulators (..., channels) of 32 bits, within `low` and `high`."""
        products = np.asarray(acc).astype(np.float32) * self._factors
        if self.rounder is not None:
            bits = (products + np.uint32(self.rounder).view(np.float32)).view(np.uint32)
            return self._clamped(bits.astype(np.uint16).view(np.int16).astype(np.int64))
        rounded = np.clip(np.rint(products), -(2.0**31), 2.0**31 - 1)
        narrow = np.clip(rounded.astype(np.int64), -(2**15), 2**15 - 1)
        return self._clamped(narrow + self.zero_point)

    def _clamped(self, y: IntArray) -> IntArray:
        low = -128 if self.low_clamp is None else self.low_clamp
        high = 127 if self.high_clamp is None else self.high_clamp
        return np.asarray(np.clip(np.clip(y, -128, 127), low, high))

    def describe(self) -> str:
        """The form, and the sums that there can be, in words."""
        channels = f"{len(self.low)} channel{'s' if len(self.low) > 1 else ''}"
        return (
            f"float32 products in vectors, rounded to even, as the profile has it: {channels}, "
            f"sums from {self.low.min():,} to {self.high.max():,}"
        )


def vector_float(
    requant: Rescaling, zero_point: int, clamp: tuple[int, int], low: IntArray, high: IntArray
) -> VectorFloat | None:
    """The form of clip(requant(acc) + zero_point, *clamp) for acc from low to high (channels,).

    None where the rule is another one, or where the clamp does not lie within int8.
    """
    if not isinstance(requant, FloatRequant) or requant.added or clamp[0] < -128 or clamp[1] > 127:
        return None
    bits = np.array(requant.factors, np.float32).view(np.uint32).astype(np.int64)
    return VectorFloat(
        np.broadcast_to(bits, low.shape),
        zero_point,
        low,
        high,
        clamp[0] if clamp[0] > -128 else None,
        clamp[1] if clamp[1] < 127 else None,
    )
