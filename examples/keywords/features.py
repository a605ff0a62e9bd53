"""The data set: features of clips, as the device computes them, and where in them the word is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from clips import LEAD, LENGTH, Clip, clip

from tinygen import audio

FRONT_END = "micro-20ms"
_FILE = 4000
"""Clips in a file."""
_BLOCK = 8
"""Clips whose features are computed at a time: what fits into a processor's cache."""


@dataclass(frozen=True)
class Part:
    """Of the data: what a device hears, after it has heard something else."""

    features: npt.NDArray[np.int8]
    """(clips, frames, channels)"""
    labels: npt.NDArray[np.uint8]
    """(clips,): of CLASSES."""
    spans: npt.NDArray[np.int16]
    """(clips, 2): the first frame that has something of the word, and the last."""


def load(part: str, clips: int, seed: int, folder: Path, processes: int = 2) -> Part:
    """A part of the data, from files in a folder; those that are not there yet are made."""
    found = [
        _load(part, seed, range(start, min(start + _FILE, clips)), folder, processes)
        for start in range(0, clips, _FILE)
    ]
    return _joined([(each.features, each.labels, each.spans) for each in found])


def _load(part: str, seed: int, indices: range, folder: Path, processes: int) -> Part:
    file = folder / f"{part}-{seed}-{indices.start}-{indices.stop}.npz"
    if not file.exists():
        print(f"making {file}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        made = make(part, seed, indices, processes)
        unfinished = file.with_suffix(".unfinished.npz")
        np.savez_compressed(unfinished, features=made.features, labels=made.labels, spans=made.spans)
        unfinished.rename(file)
    with np.load(file) as data:
        return Part(data["features"], data["labels"], data["spans"])


def make(part: str, seed: int, indices: range, processes: int = 2) -> Part:
    """Some clips of a part of the data: the same whatever the processes."""
    blocks = [indices[start : start + _BLOCK] for start in range(0, len(indices), _BLOCK)]
    with ProcessPoolExecutor(processes) as pool:
        return _joined(list(pool.map(partial(_block, part, seed), blocks)))


def _joined(parts: Sequence[tuple[npt.NDArray[Any], ...]]) -> Part:
    features, labels, spans = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Part(features, labels, spans)


def _block(part: str, seed: int, indices: range) -> tuple[npt.NDArray[np.int8], ...]:
    found = [clip(part, seed, index) for index in indices]
    front_end = audio.load(FRONT_END)
    every = audio.features(front_end, np.stack([each.samples for each in found]))
    lead = LEAD // front_end.step
    spans = np.array([_span(each, front_end.step) for each in found], np.int16) - lead
    return every[:, lead:], np.array([each.label for each in found], np.uint8), np.maximum(spans, 0)


def _span(each: Clip, step: int) -> tuple[int, int]:
    return each.start // step, min(each.end // step, LENGTH // step - 2)
