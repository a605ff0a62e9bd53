"""The keyword example: what is said in its recordings is heard, frame by frame as in whole windows."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tinygen import audio, pipeline, reference
from tinygen.ir import Array
from tinygen.listening.detector import NOTHING, DetectorWish, labels_of
from tinygen.listening.detector_file import detector_wish
from tinygen.listening.detector_for import detector_for
from tinygen.listening.frames import frames_of
from tinygen.listening.hearing import hear_with
from tinygen.listening.listener import Listener
from tinygen.listening.wav import read_wav
from tinygen.options import ONNXRUNTIME, Options, Streaming
from tinygen.resources import resource

FOLDER = resource("examples", "keywords")
MODEL = FOLDER / "keywords.tflite"
ONNX_MODEL = FOLDER / "keywords.onnx"
OPTIONS = {
    MODEL: Options(streaming=Streaming()),
    ONNX_MODEL: Options(ONNXRUNTIME, io="int8", layout="nhwc", streaming=Streaming()),
}
FRONT_END = "micro-20ms"
LATEST_S = 1.0
"""After a word's end, by which it is heard."""

SPOKEN = json.loads((FOLDER / "recordings" / "spoken.json").read_text())

needs_synthesisers = pytest.mark.skipif(
    importlib.util.find_spec("scipy") is None or not (shutil.which("espeak-ng") and shutil.which("flite")),
    reason="no speech synthesisers: apt install espeak-ng flite; pip install 'tinygen[train]'",
)


def the_detector() -> DetectorWish:
    return detector_wish(str(FOLDER / "detector.json"), labels_of(str(FOLDER / "labels.txt")))


@cache
def streamed(file: Path = MODEL) -> pipeline.Model:
    return pipeline.read(file, OPTIONS[file])


def listener(file: Path = MODEL) -> Listener:
    model = streamed(file)
    hearing = hear_with(FRONT_END, detector=the_detector())
    frames = frames_of(model.graph, model.stream, hearing)
    assert (frames.kept, frames.new) == (0, 1)
    return Listener(
        model.graph, hearing.front_end, frames, detector_for(model.graph, hearing.front_end, frames, hearing.detector)
    )


@cache
def heard(name: str, file: Path = MODEL) -> tuple[list[tuple[str, float]], Array]:
    """Words with the times of the frames' ends in a recording, and all results."""
    front_end = audio.load(FRONT_END)
    words = [label for label in the_detector().labels if label]
    results = listener(file).feed(read_wav(FOLDER / "recordings" / name, front_end.sample_rate))
    ends = (front_end.window + front_end.step * np.arange(len(results))) / front_end.sample_rate
    found = [(words[each.word], end) for each, end in zip(results, ends, strict=True) if each.word != NOTHING]
    return found, np.array([np.frombuffer(each.outputs[0], np.int8) for each in results])


@pytest.mark.parametrize("name", sorted(SPOKEN))
def test_what_is_said_is_heard_once_and_nothing_else(name: str) -> None:
    said = [each for each in SPOKEN[name] if each["said"] in the_detector().labels]
    found, _ = heard(name)
    assert [word for word, _ in found] == [each["said"] for each in said]
    for (word, seconds), each in zip(found, said, strict=True):
        assert each["start"] < seconds < each["end"] + LATEST_S, word


def test_onnx_hears_the_conversation() -> None:
    """Behind the same front end, with the same detector."""
    said = [each["said"] for each in SPOKEN["conversation.wav"] if each["said"] in the_detector().labels]
    found, _ = heard("conversation.wav", ONNX_MODEL)
    assert [word for word, _ in found] == said


def test_every_word_is_said_alone_and_among_others() -> None:
    words = {label for label in the_detector().labels if label}
    assert len(words) >= 10
    alone = [said[0]["said"] for said in SPOKEN.values() if len(said) == 1]
    assert words < set(alone)
    conversation = {each["said"] for each in SPOKEN["conversation.wav"]}
    assert conversation & words and conversation - words


def test_a_frame_at_a_time_gives_what_whole_windows_give() -> None:
    front_end = audio.load(FRONT_END)
    whole = pipeline.read(MODEL).graph
    shape = whole.tensors[whole.inputs[0]].shape
    features = audio.features(front_end, read_wav(FOLDER / "recordings" / "conversation.wav", front_end.sample_rate))
    before = np.full((shape[1] - 1, front_end.features), front_end.zero_point, np.int8)
    frames = np.concatenate([before, features])
    _, results = heard("conversation.wav")
    assert len(results) == len(features)
    for index in [*range(0, len(features), 17), len(features) - 1]:
        window = frames[index : index + shape[1]].reshape(shape)
        expected = reference.evaluate(whole, [window])[whole.outputs[0]]
        np.testing.assert_array_equal(results[index], expected.reshape(-1), f"result {index}")


def test_the_figures_are_those_of_the_model() -> None:
    figures = json.loads((FOLDER / "figures.json").read_text())
    assert figures["model_bytes"] == MODEL.stat().st_size <= 60_000
    assert figures["onnx_model_bytes"] == ONNX_MODEL.stat().st_size <= 60_000
    confusion = figures["confusion"]
    counts = {(said, word): count for said, row in confusion.items() for word, count in row.items()}
    right = sum(count for (said, word), count in counts.items() if said == word)
    assert sum(counts.values()) == figures["test_clips"]
    assert figures["int8_accuracy"] == round(right / figures["test_clips"], 4)


@needs_synthesisers
def test_the_data_are_the_same_however_many_processes_make_them() -> None:
    script = (
        "import sys, hashlib, features\n"
        "made = features.make('test', 1, range(16), int(sys.argv[1]))\n"
        "parts = (made.features, made.labels, made.spans)\n"
        "print(made.features.std() > 1, hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())\n"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", script, processes], cwd=FOLDER, check=True, capture_output=True, text=True
        ).stdout
        for processes in ("1", "2")
    ]
    assert made[0].startswith("True ") and made[0] == made[1]


@needs_synthesisers
def test_nobody_speaks_in_two_parts_of_the_data() -> None:
    script = "import json, speakers; print(json.dumps([sorted(set(speakers.voices(part))) for part in speakers.PARTS]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=FOLDER, check=True, capture_output=True, text=True)
    parts = [{tuple(voice) for voice in part} for part in json.loads(done.stdout)]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))
