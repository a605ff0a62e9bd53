"""Audio front ends: one description gives features in numpy for training, and C for the device, equal in every bit.

front_end = audio.load("micro")                        # or a TOML file, or audio.MicroFrontEnd(...)
features = audio.features(front_end, samples)           # int16 (samples,) -> int8 (frames, channels)

stream = audio.Stream(front_end)                        # the same from samples as they come
stream.feed(samples[:1000]), stream.feed(samples[1000:])

files = audio.generate(front_end, "mic")                # mic.h and mic.c: mic_feed(), mic_reset()
"""

from tinygen.audio.description import (
    FilterBank,
    FrontEnd,
    LogMelFrontEnd,
    LogScale,
    MfccFrontEnd,
    MicroFrontEnd,
    NoiseReduction,
    Pcan,
    Quantisation,
)
from tinygen.audio.files import load, names
from tinygen.audio.library import generate
from tinygen.audio.stream import Stream, features

__all__ = [
    "FilterBank",
    "FrontEnd",
    "LogMelFrontEnd",
    "LogScale",
    "MfccFrontEnd",
    "MicroFrontEnd",
    "NoiseReduction",
    "Pcan",
    "Quantisation",
    "Stream",
    "features",
    "generate",
    "load",
    "names",
]
