"""Detectors from files: TOML, or the JSON that ESPHome's wake words are published with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinygen.errors import UsageError
from tinygen.listening.detector import DetectorWish
from tinygen.toml_table import Table

THRESHOLD = 0.8
"""Where none is said."""

_LEVELS = 255
"""Of a cutoff in JSON: what reads them compares uint8."""
_FIRST_FRAME_MS = 20
"""Of models of the JSON's first version, which does not say it."""


def detector_wish(file: str | None, labels: tuple[str, ...] = ()) -> DetectorWish:
    """What a file says, with these labels instead of the file's if there are some; without a file, by default.

    Raises UsageError for what cannot be read, or does not make sense.
    """
    if file is None:
        return DetectorWish("", labels, (THRESHOLD,) * len(labels))
    path = Path(file)
    return _from_json(path, labels) if path.suffix.lower() == ".json" else _from_toml(path, labels)


def _from_toml(path: Path, labels: tuple[str, ...]) -> DetectorWish:
    table = Table.read(path, UsageError)
    there = table.keys()
    said = table.texts("labels") if "labels" in there or not labels else ()
    names = labels or tuple("" if name == "-" else name for name in said)
    threshold = table.number("threshold") if "threshold" in there else THRESHOLD
    own = table.numbers("thresholds", [name for name in names if name]) if "thresholds" in there else {}
    found = DetectorWish(
        source=str(path),
        labels=names,
        thresholds=tuple(own.get(name, threshold) for name in names),
        window=table.integer("window", 1, 255),
        pause_ms=table.integer("refractory_ms", 0, 60_000),
    )
    table.finish()
    return found


def _from_json(path: Path, labels: tuple[str, ...]) -> DetectorWish:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        micro = content["micro"]
        size = micro["sliding_window_size"] if "sliding_window_size" in micro else micro["sliding_window_average_size"]
        names = labels or (str(content["wake_word"]),)
        return DetectorWish(
            source=str(path),
            labels=names,
            thresholds=(float(micro["probability_cutoff"]),) * len(names),
            window=int(size),
            frame_ms=int(micro.get("feature_step_size", _FIRST_FRAME_MS)),
            levels=_LEVELS,
        )
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as wrong:
        raise UsageError(f"cannot read {path}: {wrong}", "It is the JSON that the wake word came with.") from None
    except (KeyError, TypeError, ValueError) as wrong:
        raise UsageError(
            f"{path} is no manifest of a micro wake word: {type(wrong).__name__} {wrong}",
            "It has wake_word, and micro with probability_cutoff and sliding_window_size; others are TOML.",
        ) from None
