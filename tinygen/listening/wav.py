"""Recordings from WAV files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from tinygen.errors import InputError
from tinygen.ir import Array


def read_wav(path: Path, sample_rate: int) -> Array:
    """int16 (samples,) of a file with one channel at this rate, in Hz. Raises InputError for any other file."""
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(f"cannot read {path}: {error or 'it ends too early'}", _convert(path, sample_rate)) from None
    if (rate, channels, width) != (sample_rate, 1, 2):
        raise InputError(
            f"{path} has {channels} channel{'s' if channels != 1 else ''} of {8 * width} bits at {rate:,} Hz; the "
            f"front end takes 1 of 16 bits at {sample_rate:,} Hz",
            _convert(path, sample_rate),
        )
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)


def _convert(path: Path, sample_rate: int) -> str:
    return f"Convert it: sox {path} -r {sample_rate} -c 1 -b 16 converted.wav"
