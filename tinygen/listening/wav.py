"""Recordings from WAV files."""

from __future__ import annotations

import shlex
import wave
from pathlib import Path

import numpy as np

from tinygen.errors import InputError, UsageError
from tinygen.ir import Array

_UNKNOWN_LENGTH = 0x7FFF_F000
"""Bytes: who writes into a pipe does not know how much there will be, and announces at least as much."""
_FLOATS = "unknown format: 3"


def read_wav(path: Path, sample_rate: int, channel: int | None = None) -> Array:
    """int16 (samples,) of a file of 16 bits at this rate, in Hz: its only channel, or the `channel`, the first being 1.

    Raises InputError for any other file, and for one that ends before it should; UsageError for a channel that there
    is not.
    """
    convert = f"Convert it: sox {shlex.quote(str(path))} -r {sample_rate} -c 1 -b 16 converted.wav"
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width, length = (
                file.getframerate(),
                file.getnchannels(),
                file.getsampwidth(),
                file.getnframes(),
            )
            data = file.readframes(length)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, EOFError, wave.Error) as error:
        reason = "its samples are floats" if str(error) == _FLOATS else str(error) or "it ends too early"
        raise InputError(f"cannot read {path}: {reason}", convert) from None
    if channel is not None and not 1 <= channel <= channels:
        raise UsageError(
            f"{path} has no channel {channel}", f"Choose one from 1 to {channels}, or leave --channel out."
        )
    if (rate, width) != (sample_rate, 2) or (channels != 1 and channel is None):
        one = "" if channels == 1 or (rate, width) != (sample_rate, 2) else "Choose one: --channel 1. Or mix them. "
        raise InputError(
            f"{path} has {channels} channel{'s' if channels != 1 else ''} of {8 * width} bits at {rate:,} Hz; the "
            f"front end takes 1 of 16 bits at {sample_rate:,} Hz",
            one + convert,
        )
    frame = 2 * channels
    found = len(data) // frame
    if found < length and length * frame < _UNKNOWN_LENGTH:
        raise InputError(
            f"{path} ends after {found:,} of the {length:,} samples that it announces",
            "Was it copied whole, and was the recording ended? To take what there is: "
            f"sox --ignore-length {shlex.quote(str(path))} whole.wav",
        )
    samples = np.frombuffer(data[: found * frame], "<i2").reshape(found, channels)
    return samples[:, (channel or 1) - 1].astype(np.int16)
