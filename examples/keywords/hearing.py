"""What the model and its detector hear in recordings, computed by the generated C on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from conversations import Recording
from features import FRONT_END
from vocabulary import CLASSES, WORDS

from tinygen import output, pipeline
from tinygen.listening.detector import NOTHING, Detecting, Detector, DetectorWish
from tinygen.listening.detector_for import detector_for
from tinygen.listening.frames import frames_of
from tinygen.listening.hearing import hear_with
from tinygen.listening.peers import host_listener
from tinygen.options import Options, Streaming

Results = npt.NDArray[np.int8]

PATIENCE_S = 1.0
"""After a word; what is heard later does not belong to it."""
LABELS = tuple(name if name in WORDS else "" for name in CLASSES)
_BOARD = "qemu-mps2-an386"


@dataclass(frozen=True)
class Outputs:
    """What the model made of a recording."""

    results: Results
    """(results, classes)"""
    first_s: float
    """When there was the first one."""
    step_s: float
    recording: Recording


@dataclass(frozen=True)
class Score:
    """What a detector made of it."""

    spoken: int
    """Words of the model."""
    hits: int
    wrong: int
    """Another word was heard in place of one, or the same one twice."""
    false_alarms: int
    """Elsewhere."""
    seconds: float


def wish(cutoff: float, window: int) -> DetectorWish:
    """The detector as it is published: mean over so many results, what it has to exceed, and a second of pause."""
    return DetectorWish("", LABELS, (cutoff,) * len(LABELS), window, frame_ms=20, levels=255)


def streamed(file: Path) -> pipeline.Model:
    """A model, to be computed frame by frame."""
    return pipeline.read(file, Options(streaming=Streaming()))


def detector(model: pipeline.Model, chosen: DetectorWish) -> Detector:
    """For a streamed model, with its thresholds as integers."""
    hearing = hear_with(FRONT_END, detector=chosen)
    frames = frames_of(model.graph, model.stream, hearing)
    return detector_for(model.graph, hearing.front_end, frames, chosen)


def outputs(file: Path, recordings: Sequence[Recording]) -> list[Outputs]:
    """All results of a model's streamed library, for each recording from a reset on."""
    made = pipeline.build(streamed(file), _BOARD, "keywords", hearing=hear_with(FRONT_END))
    front_end = made.manifest.front_end
    assert front_end is not None
    first, step = front_end.first / front_end.sample_rate, front_end.step / front_end.sample_rate
    found = []
    with tempfile.TemporaryDirectory() as folder:
        output.write(made.files, Path(folder))
        with host_listener(Path(folder), made.manifest) as listener:
            for recording in recordings:
                heard = listener.listen(recording.samples, True)
                results = np.frombuffer(b"".join(each.outputs[0] for each in heard), np.int8)
                found.append(Outputs(results.reshape(-1, len(CLASSES)), first, step, recording))
    return found


def heard(found: Outputs, chosen: Detector, zero_point: int = -128) -> list[tuple[str, float]]:
    """Words and when they were heard, in seconds."""
    detecting = Detecting(chosen, zero_point)
    words = [detecting.take(result) for result in found.results]
    return [
        (chosen.words[word].label, found.first_s + index * found.step_s)
        for index, word in enumerate(words)
        if word != NOTHING
    ]


def score(found: Outputs, chosen: Detector) -> Score:
    """Compare what is heard with what is said."""
    spoken = [each for each in found.recording.spoken if each.said in WORDS]
    hits, wrong, false_alarms = set(), 0, 0
    for word, time in heard(found, chosen):
        near = [index for index, each in enumerate(spoken) if each.start < time <= each.end + PATIENCE_S]
        meant = [index for index in near if spoken[index].said == word and index not in hits]
        hits.update(meant[:1])
        wrong += bool(near) and not meant
        false_alarms += not near
    seconds = len(found.results) * found.step_s
    return Score(len(spoken), len(hits), wrong, false_alarms, seconds)


def total(scores: Sequence[Score]) -> Score:
    """Of several recordings."""
    return Score(
        sum(each.spoken for each in scores),
        sum(each.hits for each in scores),
        sum(each.wrong for each in scores),
        sum(each.false_alarms for each in scores),
        sum(each.seconds for each in scores),
    )
