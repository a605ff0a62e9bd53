"""What microphones hear besides words: rooms, noise, machines, music, and people who talk elsewhere."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve
from speakers import SAMPLE_RATE, Sound, manner, speak
from vocabulary import UNKNOWN_WORDS

_TALKS = 40
"""Recordings of each part's people who talk; more are mixed from them."""


def generator(part: str, *numbers: int) -> np.random.Generator:
    """Random numbers of a part of the data, the same for the same numbers."""
    return np.random.default_rng([zlib.crc32(part.encode()), *numbers])


def amplitude(low: float, high: float, rng: np.random.Generator) -> float:
    """Random, of so many decibels."""
    return float(10 ** (rng.uniform(low, high) / 20))


def recorded(sound: Sound) -> npt.NDArray[np.int16]:
    """As a microphone's samples: what is above 1 is clipped."""
    return np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int16)


def background(length: int, part: str, rng: np.random.Generator) -> Sound:
    """Noise of a random kind, with a mean square of 1."""
    kind = rng.choice(["hiss", "hum", "knocks", "music", "people"], p=[0.4, 0.15, 0.1, 0.1, 0.25])
    if kind == "people":
        noise = _people(length, part, rng)
    else:
        # Power falls with the frequency by this exponent: 0 is white, 1 pink, 2 brown.
        noise = _coloured(length, rng.uniform(-0.5, 2.0), rng)
        if kind != "hiss":
            louder = {"hum": _hum, "knocks": _knocks, "music": _music}[str(kind)](length, rng)
            noise = noise / _strength(noise) * amplitude(-30, -6, rng) + louder / _strength(louder)
    return noise / _strength(noise)


def in_a_room(speech: Sound, rng: np.random.Generator) -> Sound:
    """With the echoes of a random room, in half of all cases; as long as before."""
    if rng.random() < 0.5:
        return speech
    seconds = rng.uniform(0.05, 0.35)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    echoes = rng.standard_normal(len(time)) * np.exp(-6.9 * time / seconds) * rng.uniform(0.02, 0.15)
    echoes[0] = 1.0
    heard = fftconvolve(speech, echoes)[: len(speech)]
    return np.asarray(heard / np.abs(heard).max())


def as_if_larger(speech: Sound, factor: float) -> Sound:
    """As a speaker whose throat is longer by this factor: all frequencies lower, and all of it longer."""
    at = np.arange(int(len(speech) * factor)) / factor
    return np.interp(at, np.arange(len(speech)), speech)


def equalised(speech: Sound, rng: np.random.Generator) -> Sound:
    """Through a random microphone: some decibels more or less in some octaves."""
    spectrum = np.fft.rfft(speech)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE), 60.0) / 60)
    decibels = np.interp(octaves, np.arange(8), np.cumsum(rng.normal(0, 2, 8)))
    heard = np.fft.irfft(spectrum * 10 ** (decibels / 20), len(speech))
    return np.asarray(heard / np.abs(heard).max())


def _strength(sound: Sound) -> float:
    return float(np.sqrt(np.mean(sound**2))) + 1e-9


def _coloured(length: int, exponent: float, rng: np.random.Generator) -> Sound:
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20.0)
    return np.fft.irfft(spectrum * frequency ** (-exponent / 2), length)


def _hum(length: int, rng: np.random.Generator) -> Sound:
    return _tone(np.arange(length), rng.uniform(45, 300), rng)


def _tone(places: npt.NDArray[np.int64], hertz: float, rng: np.random.Generator) -> Sound:
    harmonics = np.arange(1, 9)
    weights = rng.uniform(0, 1, len(harmonics)) / harmonics
    phases = rng.uniform(0, 2 * np.pi, len(harmonics))
    angles = 2 * np.pi * hertz / SAMPLE_RATE * np.outer(places, harmonics) + phases
    return np.asarray(np.sin(angles) @ weights)


def _knocks(length: int, rng: np.random.Generator) -> Sound:
    noise = np.zeros(length)
    for _ in range(int(rng.integers(1, 2 + 4 * length // SAMPLE_RATE))):
        start = int(rng.integers(length))
        size = min(length - start, SAMPLE_RATE // 4)
        fading = np.exp(-np.arange(size) / SAMPLE_RATE / rng.uniform(0.003, 0.05))
        noise[start : start + size] += _coloured(size, rng.uniform(-0.5, 2), rng) * fading if size > 1 else 0
    return noise


def _music(length: int, rng: np.random.Generator) -> Sound:
    noise = np.zeros(length)
    start = 0
    while start < length:
        size = min(int(rng.uniform(0.1, 0.6) * SAMPLE_RATE), length - start)
        for _ in range(int(rng.integers(1, 4))):
            fading = np.exp(-np.arange(size) / SAMPLE_RATE / rng.uniform(0.05, 1))
            noise[start : start + size] += _tone(np.arange(size), 110 * 2 ** (rng.integers(0, 36) / 12), rng) * fading
        start += size
    return noise


def _people(length: int, part: str, rng: np.random.Generator) -> Sound:
    noise = np.zeros(length)
    for _ in range(int(rng.integers(3, 7))):
        talk = np.resize(_talk(part, int(rng.integers(_TALKS))), length)
        noise += np.roll(talk, int(rng.integers(length))) * rng.uniform(0.3, 1.0)
    return noise


@lru_cache(maxsize=_TALKS)
def _talk(part: str, number: int) -> Sound:
    """Somebody of a part's voices who says some words, none of them the model's."""
    rng = generator(part, number)
    return in_a_room(speak(" ".join(rng.choice(np.array(UNKNOWN_WORDS), 8)), manner(part, rng)), rng)
