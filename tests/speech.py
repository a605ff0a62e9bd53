"""Recordings of speech as the inputs of streaming wake-word models."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from pymicro_features import MicroFrontend
from shared import shared_models

from tinygen.ir import Array
from tinygen.samples import Sample

FRAME_S = 0.01
_RATE = 16_000
_BYTES_PER_FRAME = 2 * int(_RATE * FRAME_S)
_RAW = 0.0390625  # the front end gives its integers times this


def recording(name: str) -> Path:
    """A recording of the shared data."""
    models = shared_models()
    assert models is not None
    return models.parent / "data" / "speech" / f"{name}.wav"


def samples_of(path: Path) -> Array:
    """int16 (samples,): a recording's first channel."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (_RATE, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    return both[:, 0].copy()


def features(samples: Array) -> Array:
    """int8 (frames, 40), a frame every FRAME_S: what microWakeWord models are trained on, quantised as ESPHome does.

    From the public front end, of int16 (samples,).
    """
    audio = samples.tobytes()
    front_end = MicroFrontend()
    frames = []
    for start in range(0, len(audio) - _BYTES_PER_FRAME + 1, _BYTES_PER_FRAME):
        output = front_end.process_samples(audio[start : start + _BYTES_PER_FRAME])
        assert output.samples_read == _BYTES_PER_FRAME // 2
        frames += [output.features] if output.features else []  # none before the first window is full
    raw = np.round(np.array(frames) / _RAW).astype(np.int64)
    return np.clip((raw * 256 + 333) // 666 - 128, -128, 127).astype(np.int8)


def steps(name: str, frames: int = 3) -> list[Sample]:
    """A recording as consecutive inputs of so many frames each."""
    return inputs(name, features(samples_of(recording(name))), frames)


def inputs(name: str, found: Array, frames: int) -> list[Sample]:
    """Features as consecutive inputs of so many frames each, from a reset on."""
    whole = found[: len(found) // frames * frames].reshape(-1, 1, frames, found.shape[1])
    return [Sample(f"{name}, step {index}", (x,), reset=index == 0) for index, x in enumerate(whole)]
