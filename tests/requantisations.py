"""Requantisations for proofs to be tried on, and every accumulator that they are looked at for."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from tinygen.fixedpoint import IntArray
from tinygen.rescaling import FloatRequant, RealRequant, Requant, Rescaling, Rounding

INT8 = (-128, 127)
RANGE = 3000
"""Every accumulator within it is looked at, so that scales have to be such that steps occur in it."""

AWKWARD = (2**30, 2**30 + 1, 2**31 - 1, 2**31 - 2, 3 << 29, (3 << 29) + 1, 0x55555555, 0x6AAAAAAB, 1518500250)
"""Multipliers at powers of two, next to them, and such that products end in ties."""


def exactly(requant: Rescaling, zero_point: int, clamp: tuple[int, int], acc: IntArray) -> IntArray:
    return np.asarray(np.clip(requant.apply(acc) + zero_point, *clamp))


def limits(channels: int, low: int = -RANGE, high: int = RANGE) -> tuple[IntArray, IntArray]:
    return np.full(channels, low), np.full(channels, high)


def all_of(low: IntArray, high: IntArray) -> IntArray:
    """(n, channels): every accumulator of every channel, the last repeated."""
    return np.minimum(low + np.arange(int((high - low).max()) + 1)[:, None], high)


def awkward(shift: int, rounding: Rounding = Rounding.DOUBLE) -> Requant:
    return Requant(AWKWARD, (shift,) * len(AWKWARD), rounding)


@st.composite
def requantisations(draw: st.DrawFn) -> tuple[Rescaling, int, tuple[int, int], IntArray, IntArray]:
    """Requantisation of a few channels, zero point, clamp, ranges: any that a layer of int8 could have."""
    channels = draw(st.integers(1, 5))
    scales = [math.exp(draw(st.floats(math.log(1e-4), math.log(3.0)))) for _ in range(channels)]
    rounding = draw(st.sampled_from(Rounding))
    zero_point = draw(st.integers(-128, 127))
    requant: Rescaling
    if rounding is Rounding.REAL:
        requant = RealRequant(tuple(scales))
    elif rounding is Rounding.FLOAT:
        factors = tuple(np.array(scales, np.float32).tolist())
        requant = FloatRequant(factors, draw(st.sampled_from([0, zero_point, zero_point + 128])))
    else:
        requant = Requant.from_scales(scales, rounding)
    clamp = draw(st.sampled_from([INT8, (zero_point, 127), (zero_point, min(127, zero_point + 60))]))
    middle = np.array([draw(st.integers(-2 * RANGE, 2 * RANGE)) for _ in range(channels)])
    width = np.array([draw(st.integers(0, RANGE)) for _ in range(channels)])
    return requant, zero_point, clamp, middle - width, middle + width
