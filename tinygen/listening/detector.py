"""From results to words: which of them, and when. In integers, as the generated C does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.errors import UsageError
from tinygen.ir import Array

NOTHING = -1
"""Instead of a word."""


@dataclass(frozen=True)
class Word:
    """What is heard when one of the model's outputs is high for a while."""

    label: str
    output: int
    """Its index among the elements of the model's output."""
    threshold: int
    """What the sum of the last outputs, less their zero points, has to exceed."""


@dataclass(frozen=True)
class Detector:
    """Means over the last results, thresholds, and a pause after each word."""

    words: tuple[Word, ...]
    window: int
    """Results that a mean is over; those before the first are zeros, and so are those before a word."""
    pause: int
    """Results after a word in which no other one is heard."""


class Detecting:
    """A detector at work."""

    def __init__(self, detector: Detector, zero_point: int) -> None:
        self._detector = detector
        self._zero_point = zero_point
        self._outputs = [word.output for word in detector.words]
        self._thresholds = np.array([word.threshold for word in detector.words])
        self.reset()

    def reset(self) -> None:
        """Forget all results."""
        self._recent = np.zeros((self._detector.window, len(self._outputs)), np.int64)
        self._left = 0

    def take(self, result: Array) -> int:
        """The word, by its index, that is heard with this result, the model's output; or NOTHING."""
        new = result.reshape(-1)[self._outputs].astype(np.int64) - self._zero_point
        self._recent = np.concatenate([self._recent[1:], new[np.newaxis]])
        if self._left:
            self._left -= 1
            return NOTHING
        sums = self._recent.sum(axis=0)
        heard = np.where(sums > self._thresholds, sums, np.iinfo(np.int64).min)
        word = int(heard.argmax())
        if sums[word] <= self._thresholds[word]:
            return NOTHING
        self.reset()
        self._left = self._detector.pause
        return word


@dataclass(frozen=True)
class DetectorWish:
    """A detector for a model that is not known yet. Raises UsageError for what cannot be.

    Smoothing, thresholds and pause as wake-word models publish them.
    """

    source: str
    """File, as it was given; or empty."""
    labels: tuple[str, ...]
    """Of each element of the output; empty for those that are no words, "unknown" and "silence"."""
    thresholds: tuple[float, ...]
    """What a mean has to exceed, of each element, in real numbers."""
    window: int = 5
    pause_ms: int = 1000
    frame_ms: int | None = None
    """Of the front end that the model was trained on, if that is known."""
    levels: int | None = None
    """Thresholds are rounded down to so many levels between 0 and 1; None: to what the output has."""

    def __post_init__(self) -> None:
        where = f"{self.source}: " if self.source else ""
        _within(f"{where}window", self.window, 1, 255)
        _within(f"{where}refractory_ms", self.pause_ms, 0, 60_000)
        for threshold in self.thresholds:
            _within(f"{where}a threshold", threshold, 0, 1)
        for label in self.labels:
            if not label.isprintable():
                raise UsageError(f"{where}the label {label!r} cannot be printed", "Choose another.")
        if not any(self.labels):
            raise UsageError(f"{where}there is no label that is a word", "Name at least one.")

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words."""
        labels = ",".join(label or "-" for label in self.labels)
        return (*(("--detector", self.source) if self.source else ()), "--labels", labels)


def _within(what: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{what} = {value:g} cannot be", f"From {low} to {high}.")


def labels_of(text: str) -> tuple[str, ...]:
    """Labels from a list with commas, or from a file with one in each line; "-" stands for none.

    Raises UsageError for a file that is no text.
    """
    words = text.split(",")
    if len(words) == 1 and Path(text).is_file():
        try:
            words = Path(text).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as wrong:
            raise UsageError(f"cannot read {text}: {wrong}", "Labels are text, one in each line.") from None
    return tuple("" if word.strip() == "-" else word.strip() for word in words)
