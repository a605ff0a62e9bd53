"""The C of a detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import c_text
from tinygen.c_text import C_TYPES
from tinygen.emit import render
from tinygen.listening.detector import Detector
from tinygen.listening.part import COUNTER_BYTES, LibraryPart
from tinygen.manifest import Port
from tinygen.part_sizes import PartSizes

_CODE_BYTES = 360
"""At most, as GCC compiles it for Cortex-M with -O2."""


def detector_library(detector: Detector, name: str, origin: str, output: Port) -> LibraryPart:
    """For the model's library `name` with this output, quantised."""
    zero_point, words = output.zero_point or 0, detector.words
    outputs = [word.output for word in words]
    values = {
        "name": name,
        "prefix_upper": name.upper(),
        "origin": origin,
        "output_type": C_TYPES[output.dtype],
        "zero_point": zero_point,
        "window": detector.window,
        "pause": detector.pause,
        "indices": c_text.array_lines(np.array(outputs, np.uint16)) if not _are_all(detector) else [],
        "words": [
            {
                "literal": c_text.string_literal(word.label),
                "comment": c_text.comment_text(word.label),
                "threshold": word.threshold + zero_point * detector.window,
            }
            for word in words
        ],
    }
    return LibraryPart(
        {f"src/{name}_detector.{end}": render(f"listening/detector.{end}.j2", **values) for end in ("h", "c")},
        detector_sizes(detector, np.dtype(output.dtype), zero_point),
    )


def detector_sizes(detector: Detector, dtype: np.dtype[Any], zero_point: int) -> PartSizes:
    """What it takes, for an output of this type and zero point."""
    words = detector.words
    recent_bytes = detector.window * len(words) * dtype.itemsize
    counters = 2 + bool(zero_point)
    # A pointer and a threshold for each word, and its index where that is not its place.
    index_bytes = 0 if _are_all(detector) else 2 * len(words)
    return PartSizes(
        {"detector": -(-recent_bytes // 4) * 4 + 4 * len(words) + counters * COUNTER_BYTES},
        {"words": sum(8 + len(word.label.encode()) + 1 for word in words) + index_bytes},
        _CODE_BYTES,
    )


def _are_all(detector: Detector) -> bool:
    """Whether each word is the element of the output that it is among the words."""
    return [word.output for word in detector.words] == list(range(len(detector.words)))
