"""The host's microphone, through sounddevice, from the extra `mic`."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tinygen.errors import ToolFailed, ToolMissing
from tinygen.ir import Array

_CHUNKS_A_SECOND = 10
_PATIENCE_S = 5.0
_GLANCE_S = 0.2
"""How often it is asked whether it is over, when nothing comes."""


class Microphone:
    """What it hears, int16 (samples,) at a time, as it comes."""

    def __init__(self, sample_rate: int, seconds: float | None, is_over: Callable[[], bool]) -> None:
        self.behind = 0.0
        """Seconds that who takes the samples has been late, at most."""
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._left = None if seconds is None else round(seconds * sample_rate)
        self._is_over = is_over

    def hear(self, samples: Any, frames: int, time: Any, status: Any) -> None:
        """Called by the device, on a thread of its own."""
        self._heard.put(bytes(samples))

    def __iter__(self) -> Iterator[Array]:
        waited = 0.0
        while self._left != 0 and not self._is_over():
            self.behind = max(self.behind, (self._heard.qsize() - 1) / _CHUNKS_A_SECOND)
            try:
                samples = np.frombuffer(self._heard.get(timeout=_GLANCE_S), np.int16)[: self._left]
            except queue.Empty:
                waited += _GLANCE_S
                if waited > _PATIENCE_S:
                    raise _silent() from None
                continue
            waited = 0.0
            if self._left is not None:
                self._left -= len(samples)
            yield samples


@contextlib.contextmanager
def microphone(
    sample_rate: int, seconds: float | None, is_over: Callable[[], bool] = lambda: False
) -> Iterator[Microphone]:
    """The default input device, for so many seconds, or until `is_over`; it is closed on leaving.

    Raises ToolMissing where the extra or PortAudio is not installed, ToolFailed where there is no microphone, or none
    at this rate, in Hz.
    """
    sounddevice = _sounddevice()
    heard = Microphone(sample_rate, seconds, is_over)
    try:
        with sounddevice.RawInputStream(
            samplerate=sample_rate,
            blocksize=max(sample_rate // _CHUNKS_A_SECOND, 1),
            channels=1,
            dtype="int16",
            callback=heard.hear,
        ):
            yield heard
    except sounddevice.PortAudioError as error:
        raise ToolFailed(
            f"there is no microphone that gives one channel of 16 bits at {sample_rate:,} Hz: {error}",
            "Plug one in, or choose it in the system's settings; python -m sounddevice lists what there is.",
        ) from None


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError:
        raise ToolMissing(
            "the microphone needs the Python package sounddevice", "Install it: pip install 'tinygen[mic]'"
        ) from None
    except OSError as error:  # what it is made of is not there
        raise ToolMissing(
            f"the microphone needs PortAudio: {error}",
            "Install it; on Debian and Ubuntu: sudo apt-get install libportaudio2",
        ) from None
    found: ModuleType = sounddevice
    return found


def _silent() -> ToolFailed:
    return ToolFailed(
        f"nothing came from the microphone for {_PATIENCE_S:g} s", "Is it plugged in, and may programs use it?"
    )
