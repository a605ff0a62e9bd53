"""Long recordings: words of the model among others, with pauses, in changing noise; and what is said when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt
from clips import said, unknown_text
from sounds import amplitude, background, generator, recorded
from speakers import SAMPLE_RATE
from vocabulary import OTHER_WORDS, SIMILAR_WORDS, UNHEARD_OTHER_WORDS, UNHEARD_SIMILAR_WORDS, WORDS


@dataclass(frozen=True)
class Spoken:
    """What somebody said."""

    said: str
    start: float
    """In seconds."""
    end: float


@dataclass(frozen=True)
class Recording:
    """What a microphone would give, and what there is in it."""

    samples: npt.NDArray[np.int16]
    spoken: tuple[Spoken, ...]


def commands(part: str, seed: int, seconds: float) -> Recording:
    """Words of the model and others, one after the other, each by another voice of the part."""
    rng = generator(part, 1, seed)
    texts = (str(rng.choice(np.array(WORDS))) if rng.random() < 0.6 else unknown_text(part, rng) for _ in repeat(0))
    return converse(part, rng, seconds, texts, (0.8, 2.0))


def chatter(part: str, seed: int, seconds: float) -> Recording:
    """People who go on saying words that are quite different, in the test also such as are not in the training."""
    rng = generator(part, 2, seed)
    words = (*OTHER_WORDS, *UNHEARD_OTHER_WORDS) if part == "test" else OTHER_WORDS
    return converse(part, rng, seconds, _choices(words, rng), (0.1, 1.0))


def similar(part: str, seed: int, seconds: float) -> Recording:
    """Words that sound like one of the model's, one after the other; in the test also such as are not in training."""
    rng = generator(part, 4, seed)
    words = (*SIMILAR_WORDS, *UNHEARD_SIMILAR_WORDS) if part == "test" else SIMILAR_WORDS
    return converse(part, rng, seconds, _choices(words, rng), (0.8, 2.0))


def _choices(words: tuple[str, ...], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield str(rng.choice(np.array(words)))


def noises(part: str, seed: int, seconds: float) -> Recording:
    """Nobody near says anything."""
    rng = generator(part, 3, seed)
    sound = background(int(seconds * SAMPLE_RATE), part, rng)
    return Recording(recorded(sound * amplitude(-50, -15, rng)), ())


def converse(
    part: str,
    rng: np.random.Generator,
    seconds: float,
    texts: Iterable[str],
    pauses: tuple[float, float],
    first: float = 1.0,
) -> Recording:
    """As many texts as fit, with pauses between them, in a noise that is 6 to 40 decibels below what is said.

    `pauses`: shortest and longest; they and `first`, when the first text begins, are in seconds.
    """
    sound = np.zeros(int(seconds * SAMPLE_RATE))
    spoken = []
    place = int(first * SAMPLE_RATE)
    for text in texts:
        speech = said(text, part, rng)
        if place + len(speech) > len(sound):
            break
        # Of the same strength, whatever the peaks; then nearer to the microphone or farther from it.
        strength = amplitude(-32, -20, rng) / np.sqrt(np.mean(speech**2))
        sound[place : place + len(speech)] = speech * min(strength, 0.9)
        spoken.append(Spoken(text, place / SAMPLE_RATE, (place + len(speech)) / SAMPLE_RATE))
        place += len(speech) + int(rng.uniform(*pauses) * SAMPLE_RATE)
    power = np.sqrt(np.mean(sound[sound != 0] ** 2)) if spoken else 1.0
    noise = background(len(sound), part, rng) * power * amplitude(-40, -6, rng)
    return Recording(recorded(sound + noise), tuple(spoken))
