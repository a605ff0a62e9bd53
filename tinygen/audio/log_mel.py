"""Decibels of the power in filters, in integers of 32 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.audio import fft, filter_bank, log_scale
from tinygen.audio.description import LogMelFrontEnd
from tinygen.audio.integers import IntArray
from tinygen.ir import Array, read_only

SAMPLE_BITS = 15
"""Fraction bits of samples."""
EMPHASIS_BITS = 5
WINDOW_BITS = 15
PRODUCT_SHIFT = 6
"""What products of samples and window lose, so that they stay below 2**30."""
ENERGY_SHIFT = 16
"""What energies lose, so that sums of their products with weights stay below 2**63."""
SCALE_BITS = 32
"""Fraction bits of the slope from binary logarithms to features."""


@dataclass(frozen=True)
class Line:
    """From a binary logarithm of 16 fraction bits to a feature: (x * slope + offset) >> SCALE_BITS, within limits."""

    slope: int
    offset: int
    lowest: int
    highest: int


def emphasis(front_end: LogMelFrontEnd) -> int:
    """Of 32 parts of a sample, those that are taken from the next one."""
    return int(front_end.pre_emphasis * (1 << EMPHASIS_BITS))


def coefficients(size: int) -> npt.NDArray[np.int16]:
    """int16 (size,): a Hamming window that reaches both ends, in 15 fraction bits."""
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(size) / (size - 1))
    return np.asarray(read_only(np.minimum(np.rint(window * (1 << WINDOW_BITS)), 2**15 - 1).astype(np.int16)))


def line(front_end: LogMelFrontEnd) -> Line:
    """The last step: decibels, offset, range, scale and zero point at once."""
    # The binary logarithm of what a filter gathers when its power is 1.
    spectrum_bits = SAMPLE_BITS + EMPHASIS_BITS + WINDOW_BITS - PRODUCT_SHIFT - math.log2(front_end.fft_size)
    one = 2 * spectrum_bits - ENERGY_SHIFT + filter_bank.WEIGHT_BITS + math.log2(front_end.window)
    per_octave = 10 * math.log10(2) / front_end.range_db / front_end.scale
    start = front_end.offset_db / front_end.range_db / front_end.scale + front_end.zero_point - per_octave * one
    return Line(
        slope=round(per_octave * 2 ** (SCALE_BITS - log_scale.FRACTION_BITS)),
        offset=round((start + 0.5) * 2**SCALE_BITS),
        lowest=front_end.zero_point,
        highest=min(127, round(1 / front_end.scale) + front_end.zero_point),
    )


class LogMelComputation:
    """A LogMelFrontEnd over frames; nothing is remembered but the sample before the next frame."""

    history = 1

    def __init__(self, front_end: LogMelFrontEnd) -> None:
        self._front_end = front_end
        self._emphasis = emphasis(front_end)
        self._window = coefficients(front_end.window).astype(np.int64)
        self._filters = filter_bank.even_filters(front_end)
        self._line = line(front_end)

    def reset(self, recordings: tuple[int, ...]) -> None:
        """There is nothing to forget."""

    def features(self, frames: Array) -> Array:
        """int8 (..., frames, channels) from int16 (..., frames, 1 + window): the first sample is the one before."""
        samples = frames.astype(np.int64)
        emphasised = (samples[..., 1:] << EMPHASIS_BITS) - self._emphasis * samples[..., :-1]
        padded = np.zeros((*frames.shape[:-1], self._front_end.fft_size), np.int64)
        padded[..., : self._front_end.window] = emphasised * self._window >> PRODUCT_SHIFT
        real, imaginary = fft.spectrum(padded, fft.BITS_32)
        gathered = filter_bank.powers((real**2 + imaginary**2) >> ENERGY_SHIFT, self._filters)
        return self._finished(gathered).astype(np.int8)

    def _finished(self, gathered: IntArray) -> IntArray:
        logarithm = log_scale.binary_logarithms(np.maximum(gathered, 1))
        feature = logarithm * self._line.slope + self._line.offset >> SCALE_BITS
        return np.asarray(np.clip(feature, self._line.lowest, self._line.highest), np.int64)
