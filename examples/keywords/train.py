"""Train the keyword example from nothing, and write the int8 model, its detector, recordings, and measured figures.

Nothing is downloaded: speech synthesisers say the words. Nobody who is heard in training speaks in the test, and the
features are those of the front end that the device runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import features
import hearing
import keywords_onnx
import measure
import network
import numpy as np
import recordings
import tensorflow as tf
from vocabulary import CLASSES, WORDS
from windows import middle

from tinygen import audio
from tinygen.listening.detector import DetectorWish

SEED = 7
CLIPS = {"train": 48_000, "validation": 2_000, "test": 4_000}
EPOCHS = 40
CALIBRATION_WINDOWS = 500
LONG_MINUTES = 15
CHOOSING_MINUTES = 12


def main() -> None:
    """Make the data, train, quantise, measure and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).resolve().parent
    parser.add_argument("--out", type=Path, default=here, help="folder to write to")
    parser.add_argument("--data", type=Path, default=Path("build/keywords"), help="folder that keeps the data set")
    parser.add_argument("--processes", type=int, default=2, help="how many make clips at a time (default: 2)")
    given = parser.parse_args()

    scale = audio.load(features.FRONT_END).scale
    assert scale is not None
    parts = {part: features.load(part, count, SEED, given.data, given.processes) for part, count in CLIPS.items()}
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(SEED)
    model = network.train(parts["train"], parts["validation"], scale, EPOCHS, rng)
    shown = middle(parts["train"])[:CALIBRATION_WINDOWS]
    flatbuffer = network.quantise(model, shown, scale)
    for_onnx = keywords_onnx.quantise(model, shown, scale)
    with TemporaryDirectory() as made:
        finish(model, flatbuffer, for_onnx, parts["test"], scale, Path(made), given.processes)
        shutil.copytree(made, given.out, dirs_exist_ok=True)


def finish(
    model: Any, flatbuffer: bytes, for_onnx: bytes, test: features.Part, scale: float, out: Path, processes: int
) -> None:
    """Choose the detector, measure, and write all files to a folder."""
    file = out / "keywords.tflite"
    file.write_bytes(flatbuffer)
    (out / "keywords.onnx").write_bytes(for_onnx)
    streamed = hearing.streamed(file)
    heard = measure.long_recordings(file, "validation", CHOOSING_MINUTES, processes)
    chosen = measure.choose(streamed, heard)
    _write_detector(chosen, out)
    long = measure.long_recordings(file, "test", LONG_MINUTES, processes)
    found = measure.int8_scores(flatbuffer, middle(test)).argmax(axis=1)
    figures = {
        "test_clips": len(test.labels),
        "float_accuracy": round(network.float_accuracy(model, test, scale), 4),
        "int8_accuracy": round(float(np.mean(found == test.labels)), 4),
        "onnx_int8_accuracy": round(keywords_onnx.accuracy(for_onnx, middle(test), test.labels, scale), 4),
        "confusion": measure.confusion(found, test.labels),
        "detector": measure.long_figures(streamed, chosen, long),
        "takes_of_recordings": recordings.write(file, chosen, out / "recordings"),
        "training_clips": CLIPS["train"],
        "epochs": EPOCHS,
        "model_bytes": len(flatbuffer),
        "onnx_model_bytes": len(for_onnx),
        "tensorflow": tf.__version__,
        "onnxruntime": keywords_onnx.onnxruntime.__version__,
        "machine": platform.machine(),
    }
    text = json.dumps(figures, indent=1) + "\n"
    (out / "figures.json").write_text(text, encoding="utf-8")
    print(text, end="")


def _write_detector(chosen: DetectorWish, out: Path) -> None:
    micro = {
        "probability_cutoff": chosen.thresholds[0],
        "sliding_window_size": chosen.window,
        "feature_step_size": chosen.frame_ms,
    }
    content = {"type": "micro", "wake_word": ", ".join(WORDS), "model": "keywords.tflite", "version": 2, "micro": micro}
    (out / "detector.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lines = [label or "-" for label in hearing.LABELS]
    assert len(lines) == len(CLASSES)
    (out / "labels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
