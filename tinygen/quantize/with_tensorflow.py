"""Keras models and SavedModels through TensorFlow's converter: the program behind TENSORFLOW.

    python -m tinygen.quantize.with_tensorflow SOURCE FLOAT.tflite
    python -m tinygen.quantize.with_tensorflow SOURCE INT8.tflite CALIBRATION.npz

Without calibration data, a float model is written. The data are arrays (samples, *shape), called "0", "1", ... in the
order of the float model's inputs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.quantize.programs import Program

TENSORFLOW = Program(
    module="tinygen.quantize.with_tensorflow", title="TensorFlow", needs="tensorflow", extra="tensorflow"
)


def _converter(source: Path, folder: Path) -> Any:
    """A converter of the source; of a Keras model with a batch of one, so that an open one needs no arithmetic."""
    import tensorflow as tf

    if not source.is_dir():
        model = tf.keras.models.load_model(source, compile=False)
        specs = [tf.TensorSpec((1, *each.shape[1:]), each.dtype, name=each.name) for each in model.inputs]
        archive = tf.keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            name="serving_default",
            fn=lambda *given: model(given[0] if len(given) == 1 else list(given), training=False),
            input_signature=specs,
        )
        archive.write_out(folder, verbose=False)
        source = folder
    return tf.lite.TFLiteConverter.from_saved_model(str(source))


def _to_int8(converter: Any, arrays: list[Array]) -> None:
    """Have the converter quantise to int8 throughout, inputs and outputs included."""
    import tensorflow as tf

    def samples() -> Iterator[list[Array]]:
        for sample in zip(*arrays, strict=True):
            yield list(sample)

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


def _main(source: Path, out: Path, calibration: Path | None = None) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        converter = _converter(source, Path(folder))
        if calibration is not None:
            arrays = np.load(calibration)
            _to_int8(converter, [arrays[str(index)] for index in range(len(arrays.files))])
        out.write_bytes(converter.convert())


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
