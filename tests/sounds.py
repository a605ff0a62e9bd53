"""Samples that take a front end to its limits, and front ends of all kinds."""

from __future__ import annotations

import dataclasses
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinygen import audio
from tinygen.audio import FilterBank, FrontEnd, LogMelFrontEnd, LogScale, MfccFrontEnd, MicroFrontEnd, Pcan
from tinygen.ir import Array

MICRO, DECIBELS, MFCC = (audio.load(name) for name in ("micro", "logmel-mlperf-sww", "mfcc-mlperf-kws"))
assert isinstance(MICRO, MicroFrontEnd) and isinstance(DECIBELS, LogMelFrontEnd) and isinstance(MFCC, MfccFrontEnd)
RAW = dataclasses.replace(MICRO, quantisation=None)
"""The values that the original yields."""

FRONT_ENDS: Mapping[str, FrontEnd] = {
    **{name: audio.load(name) for name in audio.names()},
    "raw": RAW,
    "without gain": dataclasses.replace(RAW, pcan=None),
    "without logarithm": dataclasses.replace(RAW, pcan=None, log=None),
    "8 kHz": dataclasses.replace(RAW, sample_rate=8000, filter_bank=FilterBank(40, 125, 3800)),
    "44.1 kHz, odd step": dataclasses.replace(
        RAW, sample_rate=44_100, window_ms=25, filter_bank=FilterBank(80, 20, 18_000)
    ),
    "48 kHz": dataclasses.replace(MICRO, sample_rate=48_000, window_ms=25),
    "odd window, no overlap": dataclasses.replace(
        RAW, sample_rate=11_025, window_ms=15, step_ms=15, filter_bank=FilterBank(40, 125, 5000)
    ),
    "window as long as the FFT": dataclasses.replace(RAW, window_ms=64, step_ms=32),
    "small, channels without frequencies": dataclasses.replace(
        RAW, window_ms=5, step_ms=3, filter_bank=FilterBank(30, 0, 6000)
    ),
    "mfcc, 8 kHz, as many coefficients as channels": dataclasses.replace(
        MFCC,
        sample_rate=8000,
        window_ms=41,
        step_ms=7,
        filter_bank=FilterBank(23, 0, 4000),
        coefficients=23,
        epsilon=0.1,
    ),
    "decibels, odd window, step and FFT": dataclasses.replace(
        DECIBELS, sample_rate=11_025, window_ms=29, step_ms=11, filter_bank=FilterBank(20, 100, 5000), zero_point=-100
    ),
    "smallest FFT, no shifts": dataclasses.replace(
        RAW,
        window_ms=4,
        step_ms=1,
        filter_bank=FilterBank(5, 300, 7000),
        noise_reduction=dataclasses.replace(RAW.noise_reduction, smoothing_bits=0),
        pcan=Pcan(0.5, 80, 12),
        log=LogScale(0),
    ),
    "low frequencies only": dataclasses.replace(RAW, filter_bank=FilterBank(10, 300, 2000)),
}


def sounds(length: int, seed: int = 0) -> Mapping[str, Array]:
    """int16 (length,): silence, noise, tones, clipping, impulses."""
    rng = np.random.default_rng(seed)
    time = np.arange(length)
    wide: Mapping[str, Array] = {
        "silence": np.zeros(length),
        "quiet noise": rng.integers(-3, 4, length),
        "full-scale noise": rng.integers(-(2**15), 2**15, length),
        "highest": np.full(length, 2**15 - 1),
        "lowest": np.full(length, -(2**15)),
        "half of the sample rate": np.where(time % 2, 2**15 - 1, -(2**15)),
        "clipped square": np.where(time // 37 % 2, 2**15 - 1, -(2**15)),
        "lowest and nothing": rng.choice([-(2**15), 0], length),
        "impulses": np.where(time % 997 == 0, -(2**15), 0),
        "clipped sine": 60_000 * np.sin(0.3 * time),
        "swept sine": (2**15 - 1) * np.sin(1e-5 * time**2),
        "growing noise": rng.normal(size=length) * np.exp(np.linspace(0, 10, length)),
    }
    return {name: np.clip(np.rint(values), -(2**15), 2**15 - 1).astype(np.int16) for name, values in wide.items()}


def write_wav(path: Path, samples: Array, rate: int = 8000, channels: int = 1, width: int = 2) -> Path:
    """A recording."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path
