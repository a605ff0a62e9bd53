"""Mel-frequency cepstral coefficients, in integers of 32 bits."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinygen.audio import fft, filter_bank, log_scale
from tinygen.audio.description import MfccFrontEnd
from tinygen.audio.integers import IntArray, rounded_root
from tinygen.ir import Array, read_only

SAMPLE_BITS = 15
"""Fraction bits of samples."""
WINDOW_BITS = 15
FACTOR_BITS = 16
"""Fraction bits of the factors from binary logarithms to features."""
SCALE_BITS = FACTOR_BITS + log_scale.FRACTION_BITS


def window(size: int) -> npt.NDArray[np.int16]:
    """int16 (size,): a Hann window that starts with 0 and would be 0 again behind its end, in 15 fraction bits."""
    values = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.asarray(read_only(np.minimum(np.rint(values * (1 << WINDOW_BITS)), 2**15 - 1).astype(np.int16)))


def epsilon(front_end: MfccFrontEnd) -> int:
    """What is added to the sum that a filter gathers."""
    return round(front_end.epsilon * 2 ** _sum_bits(front_end))


def cosines(front_end: MfccFrontEnd) -> npt.NDArray[np.int16]:
    """int16 (coefficients, channels): the DCT, times what a binary logarithm is in steps of the feature."""
    return np.asarray(read_only(np.rint(_exact_cosines(front_end) * 2**FACTOR_BITS).astype(np.int16)))


def offsets(front_end: MfccFrontEnd) -> tuple[int, ...]:
    """For each coefficient what is added to its sum of products, in SCALE_BITS fraction bits."""
    lost = _exact_cosines(front_end).sum(axis=1) * _sum_bits(front_end)
    return tuple(round((front_end.zero_point + 0.5 - x) * 2**SCALE_BITS) for x in lost.tolist())


def _sum_bits(front_end: MfccFrontEnd) -> float:
    """Fraction bits of what a filter gathers."""
    return SAMPLE_BITS + WINDOW_BITS - math.log2(front_end.fft_size) + filter_bank.WEIGHT_BITS


def _exact_cosines(front_end: MfccFrontEnd) -> Array:
    channels = front_end.filter_bank.channels
    angles = np.outer(np.arange(front_end.coefficients), np.arange(channels) + 0.5) * (np.pi / channels)
    return np.asarray(math.log(2) * math.sqrt(2 / channels) / front_end.scale * np.cos(angles))


class MfccComputation:
    """An MfccFrontEnd over frames; nothing is remembered."""

    history = 0

    def __init__(self, front_end: MfccFrontEnd) -> None:
        self._front_end = front_end
        self._window = window(front_end.window).astype(np.int64)
        self._filters = filter_bank.even_filters(front_end)
        self._epsilon = epsilon(front_end)
        self._cosines = cosines(front_end).astype(np.int64)
        self._offsets = np.array(offsets(front_end))

    def reset(self, recordings: tuple[int, ...]) -> None:
        """There is nothing to forget."""

    def features(self, frames: Array) -> Array:
        """int8 (..., frames, coefficients) from int16 (..., frames, window)."""
        padded = np.zeros((*frames.shape[:-1], self._front_end.fft_size), np.int64)
        padded[..., : self._front_end.window] = frames.astype(np.int64) * self._window
        real, imaginary = fft.spectrum(padded, fft.BITS_32)
        gathered = filter_bank.powers(rounded_root(real**2 + imaginary**2), self._filters)
        return self._finished(gathered).astype(np.int8)

    def _finished(self, gathered: IntArray) -> IntArray:
        logarithms = log_scale.binary_logarithms(gathered + self._epsilon)
        features = logarithms @ self._cosines.T + self._offsets >> SCALE_BITS
        return np.asarray(np.clip(features, -128, 127), np.int64)
