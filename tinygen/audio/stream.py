"""The front end over samples as they come, and over whole recordings."""

from __future__ import annotations

import numpy as np

from tinygen.audio import fft, filter_bank, gain, log_scale, noise, window
from tinygen.audio.description import FrontEnd
from tinygen.audio.integers import UINT16_MAX, IntArray
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
        self._window = window.coefficients(front_end.window)
        self._filters = filter_bank.filters(front_end)
        self._noise = noise.noise_weights(front_end)
        self._gain = None if front_end.pcan is None else (gain.gains(front_end), gain.knee(front_end))
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._samples = np.zeros((*self._recordings, 0), np.int16)
        self._average = np.zeros((*self._recordings, self.front_end.filter_bank.channels), np.int64)

    def feed(self, samples: Array) -> Array:
        """The features of the frames that these samples complete.

        From int16 (..., samples) to int8, or uint16 without quantisation, (..., frames, channels): no frames, if none
        is complete. Raises InputError for samples of another type or shape.
        """
        _check(samples, self._recordings)
        front_end = self.front_end
        self._samples = np.concatenate([self._samples, samples], axis=-1)
        frames = max((self._samples.shape[-1] - front_end.window) // front_end.step + 1, 0)
        blocks = [np.zeros((*self._recordings, 0, front_end.filter_bank.channels), front_end.dtype)]
        for start in range(0, frames, _BLOCK):
            count = min(_BLOCK, frames - start)
            blocks.append(self._features(self._frames(start, count)))
        self._samples = self._samples[..., frames * front_end.step :]
        return np.concatenate(blocks, axis=-2)

    def _frames(self, first: int, count: int) -> Array:
        """The samples of some frames, int16 (..., count, window)."""
        front_end = self.front_end
        every = np.lib.stride_tricks.sliding_window_view(self._samples, front_end.window, axis=-1)
        return every[..., first * front_end.step :: front_end.step, :][..., :count, :]

    def _features(self, frames: Array) -> Array:
        front_end = self.front_end
        values = window.windowed(frames, self._window)
        shift = window.headroom(values)
        padded = np.zeros((*values.shape[:-1], front_end.fft_size), np.int64)
        padded[..., : front_end.window] = (values << shift[..., np.newaxis]).astype(np.int16)
        signal = filter_bank.magnitudes(*fft.spectrum(padded), self._filters, shift)
        for frame in range(signal.shape[-2]):
            reduced, self._average = noise.reduced(signal[..., frame, :], self._average, self._noise)
            if self._gain is not None:
                reduced = gain.normalised(reduced, self._average, *self._gain)
            signal[..., frame, :] = reduced
        return _finished(signal, front_end)


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


def _finished(signal: IntArray, front_end: FrontEnd) -> Array:
    """From the channels' uint32 values to features."""
    if front_end.log is None:
        values = np.minimum(signal, UINT16_MAX)
    else:
        values = log_scale.logarithms(signal, front_end.correction_bits, front_end.log.scale_shift)
    if (rule := front_end.quantisation) is not None:
        values = (values * rule.multiplier + rule.divisor // 2) // rule.divisor + rule.zero_point
        values = np.clip(values, -128, 127)
    return values.astype(front_end.dtype)


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
