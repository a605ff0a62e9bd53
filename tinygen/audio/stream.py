"""The front end over samples as they come, and over whole recordings."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tinygen.audio.description import FrontEnd, LogMelFrontEnd, MicroFrontEnd
from tinygen.audio.log_mel import LogMelComputation
from tinygen.audio.mfcc import MfccComputation
from tinygen.audio.micro import MicroComputation
from tinygen.errors import InputError
from tinygen.ir import Array

_BLOCK = 256
"""Frames that are computed at a time, so that memory does not grow with a recording."""


class Stream:
    """A front end that remembers: however its samples are cut, the features are the same.

    `recordings`: shape of what is fed side by side, () for one recording.
    """

    def __init__(self, front_end: FrontEnd, recordings: tuple[int, ...] = ()) -> None:
        self.front_end = front_end
        self._recordings = recordings
        self._computation = _computation(front_end)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._samples = np.zeros((*self._recordings, self._computation.history), np.int16)
        self._computation.reset(self._recordings)

    def feed(self, samples: Array) -> Array:
        """The features of the frames that these samples complete.

        From int16 (..., samples) to int8, or uint16 without quantisation, (..., frames, channels): no frames, if none
        is complete. Raises InputError for samples of another type or shape.
        """
        _check(samples, self._recordings)
        front_end = self.front_end
        self._samples = np.concatenate([self._samples, samples], axis=-1)
        frames = max((self._samples.shape[-1] - self._length) // front_end.step + 1, 0)
        blocks = [np.zeros((*self._recordings, 0, front_end.features), front_end.dtype)]
        for start in range(0, frames, _BLOCK):
            count = min(_BLOCK, frames - start)
            blocks.append(self._computation.features(self._frames(start, count)))
        self._samples = self._samples[..., frames * front_end.step :]
        return np.concatenate(blocks, axis=-2)

    @property
    def _length(self) -> int:
        """Samples that a frame is computed from, those before it included."""
        return self._computation.history + self.front_end.window

    def _frames(self, first: int, count: int) -> Array:
        """The samples of some frames, int16 (..., count, length)."""
        front_end = self.front_end
        every = np.lib.stride_tricks.sliding_window_view(self._samples, self._length, axis=-1)
        return every[..., first * front_end.step :: front_end.step, :][..., :count, :]


def features(front_end: FrontEnd, samples: Array) -> Array:
    """The features of a whole recording, or of many of the same length.

    From int16 (samples,) or (recordings, samples) to int8, or uint16 without quantisation, (frames, channels) or
    (recordings, frames, channels). Raises InputError for samples of another type or shape.
    """
    if samples.ndim == 2 and samples.shape[1] < front_end.window <= samples.shape[0]:
        raise InputError(
            f"samples of shape {samples.shape} are {samples.shape[0]} recordings that are shorter than a frame",
            "Samples come last. Of interleaved channels, take one: samples[:, 0].",
        )
    return Stream(front_end, samples.shape[:-1]).feed(samples)


class _Computation(Protocol):
    """What becomes of frames of samples, from one to the next."""

    @property
    def history(self) -> int:
        """Samples before a frame that belong to it."""

    def reset(self, recordings: tuple[int, ...]) -> None:
        """Forget all frames."""

    def features(self, frames: Array) -> Array:
        """Of int16 (..., frames, history + window)."""


def _computation(front_end: FrontEnd) -> _Computation:
    if isinstance(front_end, MicroFrontEnd):
        return MicroComputation(front_end)
    return LogMelComputation(front_end) if isinstance(front_end, LogMelFrontEnd) else MfccComputation(front_end)


def _check(samples: Array, recordings: tuple[int, ...]) -> None:
    if samples.dtype != np.int16:
        raise InputError(
            f"samples are {samples.dtype}, and a front end takes int16",
            "Floats from -1 to 1: numpy.clip(numpy.rint(samples * 32768), -32768, 32767).astype(numpy.int16).",
        )
    if samples.shape[:-1] != recordings or samples.ndim == 0:
        expected = ", ".join([*map(str, recordings), "samples"])
        raise InputError(
            f"samples have the shape {samples.shape}, and this stream takes ({expected})",
            "Of interleaved channels, take one: samples[:, 0].",
        )
