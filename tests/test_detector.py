"""Words from results: the reference and the generated C by their definition, and what files may say."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tinygen import audio
from tinygen.c_text import C_TYPES
from tinygen.errors import TinygenError, UsageError
from tinygen.ir import Array, Graph, Quant, Tensor
from tinygen.listening.detector import NOTHING, Detecting, Detector, DetectorWish, Word, labels_of
from tinygen.listening.detector_file import THRESHOLD, detector_wish
from tinygen.listening.detector_for import detector_for
from tinygen.listening.detector_library import detector_library
from tinygen.listening.frames import Frames
from tinygen.manifest import Port

DETECTORS = {
    "one word": (Detector((Word("yes", 0, 3 * 150),), 3, 10), "uint8", 0, 1),
    "zero point": (Detector((Word("yes", 0, 100), Word("no", 1, 300)), 2, 0), "int8", -128, 2),
    "some of many": (Detector((Word("a", 1, 40), Word("b", 3, 60), Word('"c"\\?', 4, 50)), 7, 3), "int8", 5, 6),
    "no window": (Detector((Word("a", 0, 9000),), 1, 1), "int16", -7, 2),
    "longest window": (Detector((Word("a", 0, 255 * 200),), 255, 2), "uint8", 0, 1),
}


def results_near_thresholds(detector: Detector, dtype: str, zero_point: int, elements: int, count: int = 2000) -> Array:
    """Random walks of the outputs, around what the thresholds ask for."""
    rng = np.random.default_rng(elements)
    limits = np.iinfo(dtype)
    wanted = np.full(elements, float(zero_point))
    for word in detector.words:
        wanted[word.output] += word.threshold / detector.window
    spread = (limits.max - limits.min) / 8
    values = (
        wanted + rng.normal(0, spread / 8, (count, elements)) + spread * rng.normal(size=(count // 50, 1)).repeat(50, 0)
    )
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max).astype(dtype))


def by_definition(detector: Detector, results: Array, zero_point: int) -> list[int]:
    heard, since, left = [], 0, 0
    for index in range(len(results)):
        recent = results[max(since, index + 1 - detector.window) : index + 1].astype(int) - zero_point
        means = {i: recent[:, word.output].sum() for i, word in enumerate(detector.words)}
        found = [i for i, word in enumerate(detector.words) if means[i] > word.threshold]
        if left or not found:
            left = max(left - 1, 0)
            heard.append(NOTHING)
            continue
        heard.append(max(found, key=lambda i: (means[i], -i)))
        since, left = index + 1, detector.pause
    return heard


def port(dtype: str, zero_point: int, elements: int) -> Port:
    size = elements * np.dtype(dtype).itemsize
    return Port("y", "net_output", "static", dtype, (1, elements), None, 1 / 256, zero_point, size)


@pytest.mark.parametrize("name", DETECTORS)
def test_words_are_heard_by_definition_in_numpy_and_in_c(name: str, tmp_path: Path) -> None:
    detector, dtype, zero_point, elements = DETECTORS[name]
    results = results_near_thresholds(detector, dtype, zero_point, elements)
    expected = by_definition(detector, results, zero_point)
    assert {*expected} == {NOTHING, *range(len(detector.words))}
    detecting = Detecting(detector, zero_point)
    assert [detecting.take(result) for result in results] == expected

    part = detector_library(detector, "net", "here", port(dtype, zero_point, elements))
    for path, text in part.files.items():
        (tmp_path / Path(path).name).write_text(text)
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsanitize=undefined")
    for compiler in ("gcc", "clang"):
        library = tmp_path / f"{compiler}.so"
        source = tmp_path / "net_detector.c"
        flags = (*strict, "-fsanitize-undefined-trap-on-error" if compiler == "gcc" else "-fsanitize-trap=all")
        subprocess.run([compiler, *flags, "-shared", "-fPIC", source, "-o", library], check=True)
        c = ctypes.CDLL(str(library))
        assert [c.net_detect(result.tobytes()) for result in results] == expected
        c.net_detect_reset()
        assert [c.net_detect(result.tobytes()) for result in results] == expected
        words = (ctypes.c_char_p * len(detector.words)).in_dll(c, "net_words")
        assert [word.decode() for word in words] == [word.label for word in detector.words]
    assert C_TYPES[dtype] in part.files["src/net_detector.h"]


# --- files ------------------------------------------------------------------------------------------------------------


def net(elements: int, dtype: str = "uint8", scale: float = 1 / 256) -> Graph:
    quant = Quant(np.array([scale], np.float32), np.array([0]))
    tensor = Tensor("y", (1, elements), np.dtype(dtype), quant if dtype != "float32" else None)
    return Graph("net.tflite", {"y": tensor}, (), (), ("y",))


def wake_word(path: Path, **micro: object) -> str:
    values = {"probability_cutoff": 0.97, "sliding_window_size": 5, "feature_step_size": 10}
    path.write_text(json.dumps({"type": "micro", "wake_word": "okay nabu", "micro": {**values, **micro}}))
    return str(path)


def found_in(file: str | None, labels: str | None = None, elements: int = 1) -> Detector:
    wish = detector_wish(file, () if labels is None else labels_of(labels))
    return detector_for(net(elements), audio.load("micro"), Frames(40, 0, 3, -128), wish)


def test_published_wake_words_are_heard_as_they_are_meant(tmp_path: Path) -> None:
    # A second, in results of 30 ms; the cutoff in levels of uint8, rounded down as ESPHome does.
    expected = Detector((Word("okay nabu", 0, 247 * 5),), 5, 34)
    assert found_in(wake_word(tmp_path / "nabu.json")) == expected
    assert found_in(wake_word(tmp_path / "nabu.json"), "hello").words[0].label == "hello"


def test_first_version_says_its_window_in_other_words(tmp_path: Path) -> None:
    path = tmp_path / "jarvis.json"
    micro = {"probability_cutoff": 0.5, "sliding_window_average_size": 10}
    path.write_text(json.dumps({"wake_word": "hey jarvis", "micro": micro}))
    wish = detector_wish(str(path))
    assert (wish.window, wish.frame_ms) == (10, 20)


TOML = """
window = 4
refractory_ms = 500
threshold = 0.5
labels = ["yes", "no", "-"]
[thresholds]
no = 0.25
"""


def test_thresholds_of_single_words(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text(TOML)
    assert found_in(str(path), elements=3) == Detector((Word("yes", 0, 512), Word("no", 1, 256)), 4, 17)


def test_labels_are_enough(tmp_path: Path) -> None:
    expected = tuple(Word(label, index, int(THRESHOLD * 256 * 5)) for index, label in ((0, "yes"), (2, "no")))
    assert found_in(None, "yes,-,no", 3).words == expected
    path = tmp_path / "labels.txt"
    path.write_text("yes\n-\nno\n")
    assert found_in(None, str(path), 3).words == expected


@pytest.mark.parametrize(
    ("file", "content", "labels", "elements", "expected"),
    [
        ("a.json", "{", None, 1, "cannot read .*a.json"),
        ("a.json", '{"wake_word": "x"}', None, 1, "no manifest of a micro wake word: KeyError 'micro'"),
        ("a.json", None, None, 1, "there is no file|cannot read"),
        ("a.toml", TOML, None, 4, r"3 labels \(yes, no, -\) for the 4 elements"),
        ("a.toml", TOML + "mabye = 0.3", None, 3, "unknown key thresholds.mabye"),
        ("a.toml", TOML.replace("window = 4", "window = 0"), None, 3, "window = 0"),
        ("a.toml", TOML.replace("= 0.5", "= 50"), None, 3, "a threshold = 50 cannot be"),
        (None, None, "-,-", 2, "no label that is a word"),
        (None, None, "a\tb,-", 2, "cannot be printed"),
    ],
)
def test_what_cannot_be_meant(
    file: str | None, content: str | None, labels: str | None, elements: int, expected: str, tmp_path: Path
) -> None:
    path = None if file is None else tmp_path / file
    if path is not None and content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=expected):
        found_in(None if path is None else str(path), labels, elements)


def test_other_frames_and_outputs_that_are_no_integers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trained on a frame every 20 ms, this front end has one every 10 ms"):
        found_in(wake_word(tmp_path / "nabu.json", feature_step_size=20))
    wish = DetectorWish("", ("a",), (0.5,))
    with pytest.raises(TinygenError, match=r"yields float32(.|\n)*--io int8"):
        detector_for(net(1, "float32"), audio.load("micro"), Frames(40, 0, 3, -128), wish)
