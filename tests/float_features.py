"""The definitions in floats that MLPerf Tiny's keyword models were trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import audio
from tinygen.ir import Array


def spectra(x: Array, front_end: audio.LogMelFrontEnd | audio.MfccFrontEnd, window: Array) -> Array:
    """Magnitudes in floats, (frames, bins from 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(x, front_end.window)[:: front_end.step]
    return np.abs(np.fft.rfft(frames * window, front_end.fft_size))[:, 1:]


def weights(front_end: audio.LogMelFrontEnd | audio.MfccFrontEnd) -> Array:
    """Of bins from 1 in filters, (bins, channels), as TensorFlow has them."""
    bank = front_end.filter_bank
    bins = np.arange(1, front_end.fft_size // 2 + 1) * front_end.sample_rate / front_end.fft_size
    places, lowest, highest = (1127 * np.log1p(np.array(hz) / 700) for hz in (bins, bank.lower_hz, bank.upper_hz))
    edges = np.linspace(lowest, highest, bank.channels + 2)
    return np.stack([np.interp(places, edges[c : c + 3], [0, 1, 0]) for c in range(bank.channels)], axis=1)


def decibels(front_end: audio.LogMelFrontEnd, samples: Array) -> Array:
    """The definition in floats, before it is quantised: 0 to 1."""
    x = samples / 2**15
    emphasised = x - front_end.pre_emphasis * np.concatenate([[0], x[:-1]])
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(front_end.window) / (front_end.window - 1))
    powers = spectra(emphasised, front_end, window) ** 2 / front_end.window
    found = 10 * np.log10(np.maximum(powers @ weights(front_end), 1e-30))
    return np.asarray(np.clip((found + front_end.offset_db) / front_end.range_db, 0, 1))


def cepstra(front_end: audio.MfccFrontEnd, samples: Array) -> Array:
    """The definition in floats, before it is quantised."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(front_end.window) / front_end.window)
    logarithms = np.log(spectra(samples / 2**15, front_end, window) @ weights(front_end) + front_end.epsilon)
    channels = front_end.filter_bank.channels
    angles = np.outer(np.arange(channels) + 0.5, np.arange(front_end.coefficients)) * np.pi / channels
    return np.asarray(logarithms @ np.cos(angles) * np.sqrt(2 / channels))


def exact_features(front_end: Any, samples: Array) -> Array:
    """int8 (frames, features): the definition, quantised as the model's input is."""
    real = decibels(front_end, samples) if isinstance(front_end, audio.LogMelFrontEnd) else cepstra(front_end, samples)
    return np.clip(np.rint(real / front_end.scale) + front_end.zero_point, -128, 127).astype(np.int8)
