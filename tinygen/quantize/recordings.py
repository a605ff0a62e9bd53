"""Samples from recordings, through an audio front end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygen import audio
from tinygen.errors import InputError
from tinygen.ir import Array
from tinygen.listening.wav import read_wav
from tinygen.quantize.data import FloatPort

SUFFIXES = (".wav",)


def samples(path: Path, port: FloatPort, front_end: audio.FrontEnd) -> Array:
    """The samples of a .wav file, float32 (windows, *shape): its frames, in windows of as many as the input takes.

    Windows do not overlap, and what is left at the end makes none; a recording that is too short for one is followed
    by silence. Values are those that the front end's integers stand for, where it says so. Raises InputError.
    """
    frames, rest = divmod(port.elements, front_end.features)
    if rest or not frames:
        raise InputError(
            f"the input {port.name!r} takes {list(port.shape)}, which is no number of frames of "
            f"{front_end.features} features",
            "Choose the front end that the model was trained with.",
        )
    sound = read_wav(path, front_end.sample_rate)
    needed = front_end.window + (frames - 1) * front_end.step
    if len(sound) < needed:
        sound = np.pad(sound, (0, needed - len(sound)))
    found = audio.features(front_end, sound).astype(np.float32)
    if front_end.scale is not None and front_end.zero_point is not None:
        found = (found - front_end.zero_point) * np.float32(front_end.scale)
    windows = len(found) // frames
    return np.asarray(found[: windows * frames].reshape(windows, *port.shape))
