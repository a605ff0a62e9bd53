"""Who speaks: voices of two speech synthesisers, espeak-ng and flite, as Debian packages them.

A voice is in one part of the data only: nobody who is heard in training speaks in the test.
"""

from __future__ import annotations

import io
import subprocess
import wave
from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

Sound = npt.NDArray[np.float64]

SAMPLE_RATE = 16000
PARTS = ("train", "validation", "test")

_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc")
_VARIANTS = {
    "train": (
        *("Alex", "Alicia", "Andrea", "Andy", "AnxiousAndy", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Jacky"),
        *("Lee", "Mario", "Michael", "Nguyen", "RicishayMax", "Tweaky", "adam", "anika", "announcer", "antonio"),
        *("aunty", "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "f1", "f2", "f3", "grandma"),
        *("grandpa", "iven", "iven2", "iven3", "iven4", "john", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4"),
        *("klatt5", "klatt6", "m1", "m2", "m3", "m4", "m7", "marcelo", "max", "miguel", "norbert", "pedro", "quincy"),
        *("rob", "sandro", "shelby", "steph", "steph2", "steph3", "travis", "whisper", "whisperf"),
    ),
    "validation": ("f5", "m6", "Annie", "gustave", "michel", "Marco", "paul"),
    "test": ("f4", "m5", "m8", "Mike", "belinda", "linda", "robert", "victor", "zac", "Hugo", "pablo"),
}
_FLITE = {"train": ("awb", "kal", "kal16"), "validation": (), "test": ("rms", "slt")}
_FLITE_SHARE = 20
"""There are few voices of flite, which sounds different: each is heard as often as a twentieth of the others."""


@dataclass(frozen=True)
class Manner:
    """How something is said: by whom, how fast, and how high."""

    program: str
    voice: str
    speed: float
    """Of the voice's own."""
    pitch: float
    """0 to 1: the range in which espeak-ng's voices speak."""


def voices(part: str) -> tuple[tuple[str, str], ...]:
    """Programs and voices of a part of the data, as often as they are heard."""
    espeak = [("espeak-ng", f"{accent}+{variant}") for variant in _VARIANTS[part] for accent in _ACCENTS]
    return (*espeak, *(("flite", voice) for voice in _FLITE[part] for _ in range(len(espeak) // _FLITE_SHARE)))


def manner(part: str, rng: np.random.Generator) -> Manner:
    """A random one."""
    choices = voices(part)
    program, voice = choices[int(rng.integers(len(choices)))]
    return Manner(program, voice, float(rng.uniform(0.75, 1.4)), float(rng.uniform(0.1, 0.9)))


def speak(text: str, how: Manner) -> Sound:
    """A text, said: at 16 kHz, from -1 to 1, without the silence before and after. Always the same for the same."""
    if how.program == "flite":
        command = ["flite", "-voice", how.voice, "--setf", f"duration_stretch={1 / how.speed:.3f}", "-t", text]
        command += ["-o", "/dev/stdout"]
    else:
        speed, pitch = round(160 * how.speed), round(99 * how.pitch)
        command = ["espeak-ng", "-v", how.voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    try:
        data = subprocess.run(command, check=True, capture_output=True).stdout
    except FileNotFoundError:
        raise SystemExit(f"there is no program {how.program}: apt install espeak-ng flite") from None
    return _trimmed(_samples(data))


def _samples(data: bytes) -> Sound:
    with wave.open(io.BytesIO(data)) as sound:
        rate = sound.getframerate()
        # Programs that write to a pipe cannot know the length beforehand: the header says too much.
        samples = np.frombuffer(sound.readframes(1 << 30), "<i2") / 32768
    shared = gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // shared, rate // shared))


_QUIET = 0.01


def _trimmed(samples: Sound) -> Sound:
    loud = np.flatnonzero(np.abs(samples) > _QUIET * np.abs(samples).max())
    part = samples[loud[0] : loud[-1] + 1]
    return np.asarray(part / np.abs(part).max())
