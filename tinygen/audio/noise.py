"""Noise reduction: a slow average of each channel, taken away from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.audio.description import MicroFrontEnd
from tinygen.audio.integers import IntArray, as_uint32

WEIGHT_BITS = 14
_ONE = 1 << WEIGHT_BITS


@dataclass(frozen=True)
class NoiseWeights:
    """A description's weights, in 14 fraction bits."""

    smoothing_bits: int
    even: int
    odd: int
    remaining: int


def noise_weights(front_end: MicroFrontEnd) -> NoiseWeights:
    """The original's float32 values, rounded down."""
    noise = front_end.noise_reduction
    even, odd, remaining = (
        int(np.float32(value) * np.float32(_ONE))
        for value in (noise.even_smoothing, noise.odd_smoothing, noise.min_signal_remaining)
    )
    return NoiseWeights(noise.smoothing_bits, even, odd, remaining)


def reduced(signal: IntArray, average: IntArray, weights: NoiseWeights) -> tuple[IntArray, IntArray]:
    """A frame without its noise and the new average, from it and the average before; all uint32 (..., channels)."""
    smoothing = np.where(np.arange(signal.shape[-1]) % 2, weights.odd, weights.even)
    scaled = as_uint32(signal << weights.smoothing_bits)
    average = as_uint32((scaled * smoothing + average * (_ONE - smoothing)) >> WEIGHT_BITS)
    least = signal * weights.remaining >> WEIGHT_BITS
    rest = scaled - np.minimum(average, scaled) >> weights.smoothing_bits
    return np.maximum(rest, least), average
