"""The network, its training and its quantisation, with TensorFlow.

Nothing is padded along time, no layer skips frames, and the mean over all frames comes last: so the network can be
computed frame by frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

# TensorFlow reads this when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import tensorflow as tf
except ImportError as error:
    raise SystemExit(f"Training needs TensorFlow ({error}): pip install 'tinygen[train]'") from error
from features import Part
from vocabulary import CLASSES
from windows import FRAMES, augmented, epoch, middle

CHANNELS = 64
KERNELS = (5, 7, 9, 11)
"""Frames that the filters of each depthwise layer see."""
BATCH_SIZE = 128
PEAK_LEARNING_RATE = 5e-3
_WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""


def build_model(bands: int) -> Any:
    """The untrained network, from features of so many channels of the front end, as real numbers, to class scores."""
    layers = tf.keras.layers
    frames = tf.keras.Input(shape=(FRAMES, 1, bands))

    def normalised(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(x))

    x = normalised(layers.Conv2D(CHANNELS, (3, 1), use_bias=False)(frames))
    for taps in KERNELS:
        x = normalised(layers.DepthwiseConv2D((taps, 1), use_bias=False)(x))
        x = normalised(layers.Conv2D(CHANNELS, 1, use_bias=False)(x))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(frames, layers.Dense(len(CLASSES), activation="softmax")(x))


def train(data: Part, validation: Part, scale: float, epochs: int, rng: np.random.Generator) -> Any:
    """A trained network. `scale`: of the front end's features, whose zero point is -128."""
    model = build_model(data.features.shape[-1])
    steps = len(data.labels) // BATCH_SIZE
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        PEAK_LEARNING_RATE / 100,
        int(epochs * steps * (1 - _WARM_UP)),
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=int(epochs * steps * _WARM_UP),
    )
    model.compile(
        tf.keras.optimizers.AdamW(schedule, weight_decay=1e-3),
        tf.keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    for number in range(epochs):
        windows, labels = epoch(data, rng)
        sequence = tf.data.Dataset.from_generator(
            lambda windows=windows, labels=labels: _batches(windows, labels, scale, rng),
            output_signature=(
                tf.TensorSpec((BATCH_SIZE, FRAMES, 1, windows.shape[-1]), tf.float32),
                tf.TensorSpec((BATCH_SIZE,), tf.int32),
            ),
        )
        found = model.fit(sequence.prefetch(4), steps_per_epoch=steps, verbose=0).history
        is_last = number == epochs - 1
        seen = float_accuracy(model, validation, scale) if number % 5 == 4 or is_last else None
        heard = "" if seen is None else f", on other voices {seen:.4f}"
        print(f"epoch {number + 1} of {epochs}: accuracy {found['accuracy'][0]:.4f}{heard}", flush=True)
    return model


def _batches(
    windows: npt.NDArray[np.int8], labels: npt.NDArray[np.uint8], scale: float, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
    for start in range(0, len(labels) - BATCH_SIZE + 1, BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        yield real(augmented(windows[part], rng), scale), labels[part].astype(np.int32)


def real(windows: npt.NDArray[np.int8], scale: float) -> npt.NDArray[np.float32]:
    """What the features stand for, in the shape of the network's input."""
    return ((windows.astype(np.float32) + 128) * np.float32(scale))[:, :, np.newaxis]


def float_accuracy(model: Any, data: Part, scale: float) -> float:
    """Share of clips that the float model hears right, with the word in the middle of the window."""
    scores = model.predict(real(middle(data), scale), batch_size=512, verbose=0)
    return float(np.mean(scores.argmax(axis=1) == data.labels))


def with_ends(windows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """After a window of both ends of the features' range: the input gets the front end's scale and zero point."""
    ends = np.where(np.arange(windows[0].size).reshape(windows[0].shape) % 2, 127, -128).astype(np.int8)
    return np.concatenate([ends[np.newaxis], windows])


def quantise(model: Any, windows: npt.NDArray[np.int8], scale: float) -> bytes:
    """Convert to int8 throughout, inputs and outputs included. `windows` (count, frames, bands) show what to expect."""
    shown = real(with_ends(windows), scale)

    def representative_data() -> Iterator[list[npt.NDArray[np.float32]]]:
        for window in shown:
            yield [window[np.newaxis]]

    # A signature with batch 1 keeps the shape arithmetic of a dynamic batch out of the graph.
    signature = [tf.TensorSpec((1, *shown.shape[1:]), tf.float32)]
    with TemporaryDirectory() as folder:
        model.export(folder, input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative_data
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        return bytes(converter.convert())
