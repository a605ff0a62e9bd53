"""Train the digits example and write the int8 models, their held-out images and their measured figures.

The images are the 1797 handwritten digits (8x8 pixels, values 0..16) that scikit-learn carries, so nothing is
downloaded. The .tflite model is quantised by TensorFlow's own converter, the .onnx model by ONNX Runtime.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

# TensorFlow reads this when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import onnx
    import onnxruntime
    import sklearn
    import tensorflow as tf
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError as error:
    raise SystemExit(
        f"Training needs TensorFlow, ONNX Runtime and scikit-learn ({error}): pip install 'tinygen[train]'"
    ) from error

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from onnx_export import to_onnx

from tinygen import quantize

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Quantised = npt.NDArray[np.int8]

SEED = 7
HELD_OUT_IMAGES = 360
EPOCHS = 30
BATCH_SIZE = 32
PEAK_LEARNING_RATE = 3e-3
IMAGE_SHAPE = (8, 8, 1)
CLASSES = 10
PIXEL_MAX = 16.0


@dataclass(frozen=True)
class Split:
    """Training and held-out images with their labels; pixels are in 0..1."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def load_split() -> Split:
    """Return the stratified split, the same one every time."""
    digits = load_digits()
    images = (digits.images / PIXEL_MAX).astype(np.float32).reshape(-1, *IMAGE_SHAPE)
    labels = digits.target.astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=HELD_OUT_IMAGES, stratify=labels, random_state=SEED
    )
    return Split(train_images, train_labels, test_images, test_labels)


def with_shifts(images: Images, labels: Labels) -> tuple[Images, Labels]:
    """Add four copies of every image, each moved by one pixel, with background moving in."""
    height, width, _ = IMAGE_SHAPE
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    shifted = [padded[:, top : top + height, left : left + width] for top, left in corners]
    return np.concatenate(shifted), np.tile(labels, len(corners))


def build_model() -> Any:
    """Return the untrained network.

    There is no batch normalisation, so each float layer is one operator of the converted model.
    """
    layers = tf.keras.layers
    image = tf.keras.Input(shape=IMAGE_SHAPE)
    stem = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    branch = layers.DepthwiseConv2D(3, padding="same", activation="relu")(stem)
    branch = layers.Conv2D(16, 1)(branch)
    x = layers.Add()([stem, branch])
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 1, activation="relu")(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(CLASSES)(x)
    return tf.keras.Model(image, layers.Softmax()(x))


def train(split: Split) -> Any:
    """Train for a fixed number of epochs.

    The held-out images must not choose anything, so there is no early stopping and no best epoch.
    """
    images, labels = with_shifts(split.train_images, split.train_labels)
    steps = EPOCHS * -(-len(images) // BATCH_SIZE)
    model = build_model()
    model.compile(
        optimizer=tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(images, labels, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    return model


def quantise(model: Any, calibration: Images) -> bytes:
    """Convert to int8 throughout, inputs and outputs included."""

    def representative_data() -> Iterator[list[Images]]:
        for image in calibration:
            yield [image[np.newaxis]]

    # A signature with batch 1 keeps the shape arithmetic of a dynamic batch out of the graph.
    signature = [tf.TensorSpec((1, *IMAGE_SHAPE), tf.float32)]
    with TemporaryDirectory() as folder:
        model.export(folder, input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative_data
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        return bytes(converter.convert())


def quantise_images(flatbuffer: bytes, images: Images) -> Quantised:
    """Bring images to the scale and zero point of the model's input."""
    scale, zero_point = tf.lite.Interpreter(model_content=flatbuffer).get_input_details()[0]["quantization"]
    # A middle grey falls within a float32 rounding error of a tie, so float32 would leave its value to chance.
    steps = np.round(images.astype(np.float64) / float(scale)) + zero_point
    limits = np.iinfo(np.int8)
    quantised: Quantised = np.clip(steps, limits.min, limits.max).astype(np.int8)
    return quantised


def float_accuracy(model: Any, images: Images, labels: Labels) -> float:
    """Share of images that the float model labels correctly."""
    return float(np.mean(model.predict(images, verbose=0).argmax(axis=1) == labels))


def int8_accuracy(flatbuffer: bytes, inputs: Quantised, labels: Labels) -> float:
    """Share of images that the .tflite labels correctly, run image by image."""
    # The optimised kernels may round differently from one processor to the next; the reference kernels do not.
    reference = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=flatbuffer, experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    correct = 0
    for image, label in zip(inputs, labels, strict=True):
        interpreter.set_tensor(source, image[np.newaxis])
        interpreter.invoke()
        correct += int(interpreter.get_tensor(result)[0].argmax() == label)
    return correct / len(labels)


def quantise_onnx(model: Any, split: Split) -> tuple[bytes, float]:
    """Return the same network as int8 ONNX, and the share of held-out images that it labels correctly."""
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "digits_float.onnx", Path(folder) / "digits.onnx"
        onnx.save(to_onnx(model, "digits"), source)
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        images = np.moveaxis(split.test_images, -1, 1)
        scores = np.concatenate([session.run(None, {"image": image[np.newaxis]})[0] for image in images])
        np.testing.assert_allclose(scores, model.predict(split.test_images, verbose=0), atol=1e-5)
        train, test = Path(folder) / "train.npz", Path(folder) / "test.npz"
        np.savez(train, image=np.moveaxis(split.train_images, -1, 1))
        np.savez(test, image=images, labels=split.test_labels)
        wishes = quantize.Wish(train), quantize.Wish(test)
        made = quantize.quantise(
            source, wishes[0], out, "qemu-mps2-an386", samples=len(split.train_images), test=wishes[1]
        )
    assert made.figures.int8_score is not None
    return made.data, made.figures.int8_score.value


def count_macs(model: Any) -> int:
    """Multiply-accumulates of one inference, positions that fall on padding included."""
    layers = tf.keras.layers
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            per_output = int(np.prod(layer.kernel_size))
        elif isinstance(layer, layers.Conv2D):
            per_output = int(np.prod(layer.kernel_size)) * int(layer.input.shape[-1])
        elif isinstance(layer, layers.Dense):
            per_output = int(layer.input.shape[-1])
        else:
            continue
        total += per_output * int(np.prod(layer.output.shape[1:]))
    return total


def main() -> None:
    """Train, quantise, measure and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    split = load_split()
    model = train(split)
    flatbuffer = quantise(model, split.train_images)
    inputs = quantise_images(flatbuffer, split.test_images)
    protobuf, onnx_accuracy = quantise_onnx(model, split)
    figures = {
        "held_out_images": len(split.test_labels),
        "float_accuracy": round(float_accuracy(model, split.test_images, split.test_labels), 4),
        "int8_accuracy": round(int8_accuracy(flatbuffer, inputs, split.test_labels), 4),
        "model_bytes": len(flatbuffer),
        "onnx_int8_accuracy": round(onnx_accuracy, 4),
        "onnx_model_bytes": len(protobuf),
        "macs": count_macs(model),
        "onnxruntime": onnxruntime.__version__,
        "tensorflow": tf.__version__,
        "scikit_learn": sklearn.__version__,
    }
    figures_text = json.dumps(figures, indent=2, sort_keys=True) + "\n"

    (out / "digits.tflite").write_bytes(flatbuffer)
    (out / "digits.onnx").write_bytes(protobuf)
    np.savez_compressed(out / "digits_test.npz", inputs=inputs, labels=split.test_labels)
    (out / "figures.json").write_text(figures_text, encoding="utf-8")
    print(figures_text, end="")


if __name__ == "__main__":
    main()
