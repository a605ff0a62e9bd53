"""Clips as a microphone would give them: a word somewhere, in a room, with noise; or noise alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sounds import amplitude, as_if_larger, background, equalised, generator, in_a_room, recorded
from speakers import SAMPLE_RATE, Sound, manner, speak
from vocabulary import BEGINNINGS, CLASSES, ENDINGS, SILENCE, UNHEARD_WORDS, UNKNOWN, UNKNOWN_WORDS, VOWELS, WORDS

LEAD = SAMPLE_RATE * 2 // 5
"""Samples before the earliest word: what a device has heard before it."""
LENGTH = LEAD + SAMPLE_RATE * 7 // 5
SHARES = {SILENCE: 0.08, UNKNOWN: 0.32}
"""Of all clips; the words have equal parts of what is left."""


@dataclass(frozen=True)
class Clip:
    """A recording of one word, or of none."""

    samples: npt.NDArray[np.int16]
    label: int
    """Of CLASSES."""
    start: int
    """Of the word, in samples; 0 where there is none."""
    end: int


def clip(part: str, seed: int, index: int) -> Clip:
    """The same one for the same numbers."""
    rng = generator(part, seed, index)
    shares = [SHARES.get(name, (1 - sum(SHARES.values())) / len(WORDS)) for name in CLASSES]
    label = int(rng.choice(len(CLASSES), p=shares))
    if CLASSES[label] == SILENCE:
        return Clip(recorded(background(LENGTH, part, rng) * amplitude(-60, -15, rng)), label, 0, 0)
    speech = said(unknown_text(part, rng) if CLASSES[label] == UNKNOWN else CLASSES[label], part, rng)
    speech = speech[: LENGTH - LEAD]
    start = int(rng.integers(LEAD, LENGTH - len(speech) + 1))
    sound = np.zeros(LENGTH)
    sound[start : start + len(speech)] = speech
    return Clip(with_noise(sound, part, rng), label, start, start + len(speech))


def said(text: str, part: str, rng: np.random.Generator) -> Sound:
    """A text, said by somebody somewhere."""
    speech = speak(text, manner(part, rng))
    return in_a_room(equalised(as_if_larger(speech, rng.uniform(0.78, 1.22)), rng), rng)


def with_noise(sound: Sound, part: str, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Recorded from some distance, with noise that is 3 to 40 decibels below what is said."""
    power = np.sqrt(np.mean(sound[sound != 0] ** 2))
    noise = background(len(sound), part, rng) * power * amplitude(-40, -3, rng)
    return recorded((sound + noise) * amplitude(-24, -2, rng))


def unknown_text(part: str, rng: np.random.Generator) -> str:
    """A word that is none of the model's, or some of them."""
    choice = rng.random()
    if choice < 0.25:
        return "".join(_syllable(rng) for _ in range(2))
    words = UNHEARD_WORDS if part == "test" and choice < 0.6 else UNKNOWN_WORDS
    return " ".join(rng.choice(np.array(words), 1 if choice < 0.85 else 3))


def _syllable(rng: np.random.Generator) -> str:
    return "".join(choices[int(rng.integers(len(choices)))] for choices in (BEGINNINGS, VOWELS, ENDINGS))
