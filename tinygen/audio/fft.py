"""The real FFT: in 16 bits equal in every bit to kissfft's fixed-point one, and in 32 bits.

A real FFT of n points is a complex one of n / 2 over pairs of samples, and a last step that takes the two apart. The
complex one is in passes of radix 4, the first of radix 2 where n / 2 is no power of 4. Each pass divides its input by
its radix, so values shrink by n in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.audio.integers import IntArray, as_int16
from tinygen.ir import read_only

ONE = 2**15 - 1
"""What 1 is in factors of 15 fraction bits."""

Complex = tuple[IntArray, IntArray]
"""Real and imaginary parts."""


@dataclass(frozen=True)
class Pass:
    """Butterflies of `radix` values, `span` values apart, in blocks of radix * span values."""

    radix: int
    span: int


def passes(points: int) -> tuple[Pass, ...]:
    """The passes of a complex FFT whose size is a power of two, first to last."""
    found = []
    span = 1
    if points.bit_length() % 2 == 0:
        found.append(Pass(2, 1))
        span = 2
    while span < points:
        found.append(Pass(4, span))
        span *= 4
    return tuple(found)


def order(points: int) -> IntArray:
    """int64 (points,): where each value of the input goes before the first pass."""
    places = np.arange(points)
    positions = np.zeros(points, np.int64)
    for step in reversed(passes(points)):
        positions += places % step.radix * step.span
        places //= step.radix
    return np.asarray(read_only(positions))


def twiddles(points: int) -> npt.NDArray[np.int16]:
    """int16 (points, 2): exp(-2 pi i k / points), real and imaginary."""
    return _unit(-2 * np.pi * np.arange(points) / points)


def turns(points: int) -> npt.NDArray[np.int16]:
    """int16 (points // 2, 2): exp(-pi i (k / points + 1 / 2)) from k = 1: the last step's factors."""
    return _unit(-np.pi * ((np.arange(points // 2) + 1) / points + 0.5))


def _unit(phase: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    parts = np.stack([np.cos(phase), np.sin(phase)], axis=-1)
    return np.asarray(read_only(np.floor(0.5 + ONE * parts).astype(np.int16)))


@dataclass(frozen=True)
class Arithmetic:
    """How values are divided, multiplied by factors of 15 fraction bits, and kept."""

    divided: Callable[[IntArray, int], IntArray]
    times: Callable[[Complex, Complex], Complex]
    kept: Callable[[IntArray], IntArray]


def _rounded(product: IntArray) -> IntArray:
    return as_int16((product + (1 << 14)) >> 15)


def _times_16(values: Complex, factors: Complex) -> Complex:
    real = _rounded(values[0] * factors[0] - values[1] * factors[1])
    return real, _rounded(values[0] * factors[1] + values[1] * factors[0])


def _times_32(values: Complex, factors: Complex) -> Complex:
    real = (values[0] * factors[0] >> 16) - (values[1] * factors[1] >> 16)
    return 2 * real, 2 * ((values[0] * factors[1] >> 16) + (values[1] * factors[0] >> 16))


BITS_16 = Arithmetic(lambda x, divisor: _rounded(x * (ONE // divisor)), _times_16, as_int16)
"""The original's: rounded, to 32767 / 32768 of the quotient at most; what does not fit wraps."""

BITS_32 = Arithmetic(lambda x, divisor: x >> divisor.bit_length() - 1, _times_32, lambda x: x)
"""Rounded down. Real input below 2**30 fits: no sum of its frequencies is larger than 2**31."""


def spectrum(samples: IntArray, arithmetic: Arithmetic = BITS_16) -> Complex:
    """Bins 1 to n / 2 - 1 of each row of real values (..., n): two arrays (..., n / 2 - 1)."""
    points = samples.shape[-1] // 2
    values = np.empty((*samples.shape[:-1], points, 2), np.int64)
    values[..., order(points), :] = samples.reshape(*samples.shape[:-1], points, 2)
    real, imaginary = values[..., 0], values[..., 1]
    table = twiddles(points).astype(np.int64)
    for step in passes(points):
        real, imaginary = _pass(step, (real, imaginary), table, arithmetic)
    return _bins((real, imaginary), arithmetic)


def _pass(step: Pass, values: Complex, table: IntArray, arithmetic: Arithmetic) -> Complex:
    shape = values[0].shape
    blocks = (*shape[:-1], -1, step.radix, step.span)
    parts = [arithmetic.divided(part, step.radix).reshape(blocks) for part in values]
    one_by_one = [(parts[0][..., k, :], parts[1][..., k, :]) for k in range(step.radix)]
    if step.span > 1:  # in the first pass, all factors are 1
        stride = len(table) // (step.radix * step.span)
        factors = [table[np.arange(step.span) * stride * k] for k in range(step.radix)]
        pairs = zip(one_by_one[1:], factors[1:], strict=True)
        one_by_one[1:] = [arithmetic.times(values, (factor[:, 0], factor[:, 1])) for values, factor in pairs]
    combined = (_radix_2 if step.radix == 2 else _radix_4)(*one_by_one)
    real, imaginary = (np.stack([one[part] for one in combined], axis=-2) for part in (0, 1))
    return arithmetic.kept(real).reshape(shape), arithmetic.kept(imaginary).reshape(shape)


def _radix_2(a: Complex, b: Complex) -> tuple[Complex, ...]:
    return _plus(a, b), _minus(a, b)


def _radix_4(a: Complex, b: Complex, c: Complex, d: Complex) -> tuple[Complex, ...]:
    even, odd = _plus(a, c), _plus(b, d)
    difference, turned = _minus(a, c), _minus(b, d)
    turned = turned[1], -turned[0]  # times -i
    return _plus(even, odd), _plus(difference, turned), _minus(even, odd), _minus(difference, turned)


def _bins(values: Complex, arithmetic: Arithmetic) -> Complex:
    """The bins of real values from the transform of their pairs, k and n / 2 - k from values k and n / 2 - k."""
    points = values[0].shape[-1]
    half = points // 2
    factors = turns(points).astype(np.int64)
    low = (values[0][..., 1 : half + 1], values[1][..., 1 : half + 1])
    high = slice(points - 1, half - 1, -1)
    mirrored = (values[0][..., high], arithmetic.kept(-values[1][..., high]))
    low, mirrored = ((arithmetic.divided(x, 2), arithmetic.divided(y, 2)) for x, y in (low, mirrored))
    sums, differences = _plus(low, mirrored), _minus(low, mirrored)
    turned = arithmetic.times(differences, (factors[:, 0], factors[:, 1]))
    real, imaginary = (np.empty((*values[0].shape[:-1], points - 1), np.int64) for _ in range(2))
    real[..., :half] = (sums[0] + turned[0]) >> 1
    imaginary[..., :half] = (sums[1] + turned[1]) >> 1
    # Both halves have bin n / 4, and this one's stays.
    real[..., half - 1 :] = ((sums[0] - turned[0]) >> 1)[..., ::-1]
    imaginary[..., half - 1 :] = ((turned[1] - sums[1]) >> 1)[..., ::-1]
    return real, imaginary


def _plus(a: Complex, b: Complex) -> Complex:
    return a[0] + b[0], a[1] + b[1]


def _minus(a: Complex, b: Complex) -> Complex:
    return a[0] - b[0], a[1] - b[1]
