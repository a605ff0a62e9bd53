"""Figures: what the models hear in clips, and what detectors hear in long recordings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import conversations
import hearing
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from conversations import Recording
from hearing import Outputs, Score
from vocabulary import CLASSES

from tinygen import pipeline
from tinygen.listening.detector import DetectorWish

MINUTE_S = 60.0
_KINDS = {
    "commands": conversations.commands,
    "chatter": conversations.chatter,
    "similar": conversations.similar,
    "noises": conversations.noises,
}

_WINDOWS = (5, 10, 15, 20)
_CUTOFFS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.96)
_MOST_FALSE_ALARMS = 20.0
"""In an hour of people who talk without pauses, as far as there is such a detector."""


@dataclass(frozen=True)
class Long:
    """What the model made of long recordings of some voices."""

    commands: list[Outputs]
    chatter: list[Outputs]
    similar: list[Outputs]
    noises: list[Outputs]


def int8_scores(flatbuffer: bytes, windows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """(windows, classes) from (windows, frames, channels), run one by one."""
    # The optimised kernels may round differently from one processor to the next; the reference kernels do not.
    reference = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=flatbuffer, experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    scores = []
    for window in windows:
        interpreter.set_tensor(source, window[np.newaxis, :, np.newaxis])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(result)[0])
    return np.array(scores)


def confusion(found: npt.NDArray[np.integer], labels: npt.NDArray[np.uint8]) -> dict[str, dict[str, int]]:
    """Of each class that was said, how often it was heard as which one."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(counts, (labels, found), 1)
    return {
        said: {heard: int(counts[i, j]) for j, heard in enumerate(CLASSES) if counts[i, j]}
        for i, said in enumerate(CLASSES)
    }


def long_recordings(model: Path, part: str, minutes: int, processes: int) -> Long:
    """Results of the streamed model over so many minutes of each kind, spoken by a part's voices."""
    wanted = list(product(_KINDS, range(minutes)))
    with ProcessPoolExecutor(processes) as pool:
        made = list(pool.map(partial(_recording, part), wanted))
        found = list(pool.map(partial(_outputs, model), [made[start::processes] for start in range(processes)]))
    by_place = [found[index % processes][index // processes] for index in range(len(wanted))]
    return Long(**{kind: [each for each, (k, _) in zip(by_place, wanted, strict=True) if k == kind] for kind in _KINDS})


def _recording(part: str, wanted: tuple[str, int]) -> Recording:
    kind, number = wanted
    return _KINDS[kind](part, number, MINUTE_S)


def _outputs(model: Path, recordings: Sequence[Recording]) -> list[Outputs]:
    return hearing.outputs(model, recordings)


def choose(model: pipeline.Model, found: Long) -> DetectorWish:
    """The detector that hears most words with few false alarms; or the one with the fewest, if all have too many."""

    def rank(chosen: DetectorWish) -> tuple[float, int]:
        commands, chatter = (scored(model, chosen, each) for each in (found.commands, found.chatter))
        excess = max(per_hour(chatter.false_alarms, chatter) - _MOST_FALSE_ALARMS, 0.0)
        return -excess, commands.hits - commands.wrong - commands.false_alarms

    return max((hearing.wish(cutoff, window) for window, cutoff in product(_WINDOWS, _CUTOFFS)), key=rank)


def scored(model: pipeline.Model, chosen: DetectorWish, found: Sequence[Outputs]) -> Score:
    """What a detector makes of recordings."""
    detector = hearing.detector(model, chosen)
    return hearing.total([hearing.score(each, detector) for each in found])


def per_hour(count: int, of: Score) -> float:
    """So many of these in an hour of the recordings."""
    return round(count * 3600 / of.seconds, 1)


def long_figures(model: pipeline.Model, chosen: DetectorWish, found: Long) -> dict[str, Any]:
    """What is said of a detector."""
    commands, chatter, similar, noises = (
        scored(model, chosen, each) for each in (found.commands, found.chatter, found.similar, found.noises)
    )
    return {
        "minutes_of_each": round(chatter.seconds / 60),
        "words_spoken": commands.spoken,
        "words_heard": commands.hits,
        "words_mistaken": commands.wrong,
        "false_alarms_between_words": commands.false_alarms,
        "false_alarms_in_chatter": chatter.false_alarms,
        "similar_words_spoken": sum(len(each.recording.spoken) for each in found.similar),
        "similar_words_mistaken": similar.false_alarms,
        "false_alarms_in_noise": noises.false_alarms,
    }
