"""The C of a detector."""

from __future__ import annotations

import numpy as np

from tinygen import c_text
from tinygen.c_text import C_TYPES
from tinygen.emit import render
from tinygen.listening.detector import Detector
from tinygen.listening.part import COUNTER_BYTES, LibraryPart
from tinygen.manifest import Port


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
        "indices": c_text.array_lines(np.array(outputs, np.uint16)) if outputs != list(range(len(words))) else [],
        "words": [
            {
                "literal": c_text.string_literal(word.label),
                "comment": c_text.comment_text(word.label),
                "threshold": word.threshold + zero_point * detector.window,
            }
            for word in words
        ],
    }
    recent_bytes = detector.window * len(words) * np.dtype(output.dtype).itemsize
    # A pointer and a threshold for each word, and its index where that is not its place.
    table_bytes = sum(8 + len(word.label.encode()) + 1 for word in words) + (2 * len(words) if values["indices"] else 0)
    counters = 2 + bool(zero_point)
    return LibraryPart(
        {f"src/{name}_detector.{end}": render(f"listening/detector.{end}.j2", **values) for end in ("h", "c")},
        -(-recent_bytes // 4) * 4 + 4 * len(words) + counters * COUNTER_BYTES,
        table_bytes,
    )
