"""The recordings that come with the example: each word once, other words, and a conversation; all by test voices."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import hearing
import numpy as np
from conversations import Recording, converse
from sounds import generator
from speakers import SAMPLE_RATE
from vocabulary import WORDS

from tinygen import pipeline
from tinygen.listening.detector import DetectorWish

CONVERSATION = "conversation"
_TEXTS = ("hello", "right", "music", "stop", "please", "yes", "yesterday", "left")
"""Of the conversation."""
_OTHERS = ("seven", "garden")
_SECONDS = 1.5
_CONVERSATION_S = 10.0
_FIRST_S = 0.4
_PAUSES_S = (0.5, 0.75)
_TAKES, _MOST_TAKES = 20, 400
"""That are made at a time, and before this is given up."""


def write(file: Path, chosen: DetectorWish, folder: Path) -> dict[str, int]:
    """Write recordings, and what is said when in them; how many takes each one took.

    A recording is the first take in which the model hears what is said, and nothing else, so that it can serve as an
    example and a test: how often that succeeds is a matter for other recordings.
    """
    model = hearing.streamed(file)
    folder.mkdir(parents=True, exist_ok=True)
    spoken, counts = {}, {}
    for number, (name, texts, seconds) in enumerate(_wanted()):
        recording, counts[name] = _first_heard(file, model, chosen, number, texts, seconds)
        _write_wav(folder / f"{name}.wav", recording)
        spoken[f"{name}.wav"] = [
            asdict(each) | {"start": round(each.start, 2), "end": round(each.end, 2)} for each in recording.spoken
        ]
    (folder / "spoken.json").write_text(json.dumps(spoken, indent=1) + "\n", encoding="utf-8")
    return counts


def _wanted() -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Names, texts, and seconds."""
    for text in (*WORDS, *_OTHERS):
        yield text, (text,), _SECONDS
    yield CONVERSATION, _TEXTS, _CONVERSATION_S


def _first_heard(
    file: Path, model: pipeline.Model, chosen: DetectorWish, number: int, texts: tuple[str, ...], seconds: float
) -> tuple[Recording, int]:
    detector = hearing.detector(model, chosen)
    for start in range(0, _MOST_TAKES, _TAKES):
        takes = [
            converse("test", generator("test", 5, number, take), seconds, texts, _PAUSES_S, _FIRST_S)
            for take in range(start, start + _TAKES)
        ]
        for count, found in enumerate(hearing.outputs(file, takes), start + 1):
            score = hearing.score(found, detector)
            everything = tuple(each.said for each in found.recording.spoken) == texts
            if everything and score.spoken == score.hits and not score.wrong and not score.false_alarms:
                return found.recording, count
    raise SystemExit(f"the model heard none of {_MOST_TAKES} takes of {' '.join(texts)}: train it longer")


def _write_wav(path: Path, recording: Recording) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(recording.samples.astype(np.dtype("<i2")).tobytes())
