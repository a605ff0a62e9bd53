"""The front end of TensorFlow Lite Micro, stage by stage."""

from __future__ import annotations

import numpy as np

from tinygen.audio import fft, filter_bank, gain, log_scale, noise, window
from tinygen.audio.description import MicroFrontEnd
from tinygen.audio.integers import UINT16_MAX, IntArray
from tinygen.ir import Array


class MicroComputation:
    """A MicroFrontEnd over frames; it remembers a slow average of each channel."""

    history = 0

    def __init__(self, front_end: MicroFrontEnd) -> None:
        self._front_end = front_end
        self._window = window.coefficients(front_end.window)
        self._filters = filter_bank.filters(front_end)
        self._noise = noise.noise_weights(front_end)
        self._gain = None if front_end.pcan is None else (gain.gains(front_end), gain.knee(front_end))

    def reset(self, recordings: tuple[int, ...]) -> None:
        """Forget the averages; from now on there are so many recordings side by side."""
        self._average = np.zeros((*recordings, self._front_end.filter_bank.channels), np.int64)

    def features(self, frames: Array) -> Array:
        """int8 or uint16 (..., frames, channels) from int16 (..., frames, window)."""
        front_end = self._front_end
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


def _finished(signal: IntArray, front_end: MicroFrontEnd) -> Array:
    """From the channels' uint32 values to features."""
    if front_end.log is None:
        values = np.minimum(signal, UINT16_MAX)
    else:
        values = log_scale.logarithms(signal, front_end.correction_bits, front_end.log.scale_shift)
    if (rule := front_end.quantisation) is not None:
        values = (values * rule.multiplier + rule.divisor // 2) // rule.divisor + rule.zero_point
        values = np.clip(values, -128, 127)
    return values.astype(front_end.dtype)
