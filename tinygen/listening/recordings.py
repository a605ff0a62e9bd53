"""Samples to check a library with that takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tinygen.ir import Array

_LOW, _HIGH = -(2**15), 2**15 - 1


def recordings(length: int, seed: int) -> Mapping[str, Array]:
    """int16 (length,), by name: what takes arithmetic to its limits, and what is like sound."""
    rng = np.random.default_rng(seed)
    time = np.arange(length)
    sounds: Mapping[str, Array] = {
        "full-scale noise": rng.integers(_LOW, _HIGH + 1, length),
        "silence": np.zeros(length),
        "swept tone": _HIGH * np.sin(np.pi * time**2 / (2 * max(length, 1))),
        "noise in bursts": rng.normal(0, 3000, length) * (np.sin(time / 700) > 0),
    }
    return {name: np.clip(np.rint(sound), _LOW, _HIGH).astype(np.int16) for name, sound in sounds.items()}


def cut(samples: Array, seed: int) -> Iterator[Array]:
    """Pieces from one sample to some thousands: short ones as frequent as long ones."""
    rng = np.random.default_rng(seed)
    while len(samples):
        length = int(np.exp(rng.uniform(0, 8)))
        yield samples[:length]
        samples = samples[length:]
