"""Windows of the model's size, cut out of clips: what it is trained and tested on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from features import Part
from vocabulary import CLASSES, UNKNOWN

Windows = npt.NDArray[np.int8]

FRAMES = 49
"""Of a window: one second."""
_CUT_SHARE = 0.1
"""Of the windows of an epoch: those in which most of the word is missing, and which are none of the words."""


def middle(data: Part) -> Windows:
    """A window (frames, channels) of each clip, with its word in the middle as far as there are frames around it."""
    return _cut(data.features, _latest(data.features, data.spans.sum(axis=1) // 2 - FRAMES // 2))


def epoch(data: Part, rng: np.random.Generator) -> tuple[Windows, npt.NDArray[np.uint8]]:
    """A window of each clip, at a random place that has all of the word, and their classes; in random order.

    Where a window can be placed so that it has less than a third of the word, that happens now and then.
    """
    count, frames = data.features.shape[:2]
    first, last = data.spans.astype(np.int64).T
    low = np.maximum(last + 1 - FRAMES, 0)
    starts = rng.integers(low, np.maximum(np.minimum(first, frames - FRAMES), low) + 1)
    third = (last - first) // 3
    is_cut = rng.random(count) < _CUT_SHARE
    too_early, too_late = first + third - FRAMES, last - third
    starts, labels = starts.copy(), data.labels.copy()
    for place, reachable in ((too_early, too_early >= 0), (too_late, too_late <= frames - FRAMES)):
        chosen = is_cut & reachable & (last > first)
        starts[chosen] = place[chosen]
        labels[chosen] = CLASSES.index(UNKNOWN)
    order = rng.permutation(count)
    return _cut(data.features[order], starts[order]), labels[order]


def augmented(windows: Windows, rng: np.random.Generator) -> Windows:
    """As other voices might sound: channels moved up or down by one, some of them and some frames missing."""
    moved = windows.copy()
    moves = rng.integers(-1, 2, len(windows))
    moved[moves > 0, :, 1:] = windows[moves > 0, :, :-1]
    moved[moves < 0, :, :-1] = windows[moves < 0, :, 1:]
    for axis, most in ((1, 6), (2, 5)):
        places = np.arange(windows.shape[axis])
        size = rng.integers(0, most + 1, (len(windows), 1))
        start = rng.integers(0, windows.shape[axis], (len(windows), 1))
        missing = (places >= start) & (places < start + size)
        moved[np.broadcast_to(np.expand_dims(missing, 3 - axis), windows.shape)] = -128
    return moved


def _latest(features: Windows, starts: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return np.asarray(np.clip(starts, 0, features.shape[1] - FRAMES), np.int64)


def _cut(features: Windows, starts: npt.NDArray[np.int64]) -> Windows:
    return np.asarray(features[np.arange(len(features))[:, np.newaxis], starts[:, np.newaxis] + np.arange(FRAMES)])
