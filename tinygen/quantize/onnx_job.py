"""Float models on their way to an int8 .onnx file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygen.errors import UsageError
from tinygen.ir import Array
from tinygen.quantize import onnx_float, with_onnxruntime
from tinygen.quantize.job import Choices, version_of
from tinygen.quantize.measure import FloatLayer
from tinygen.quantize.onnx_runner import OnnxRunner

_MOST_BYTES = 2**31


class OnnxJob:
    """A float .onnx file."""

    suffix = ".onnx"

    def __init__(self, source: Path, folder: Path, choices: Choices) -> None:
        if choices.int16:
            raise UsageError(
                f"{source} becomes int8 throughout: layers in int16 are for .tflite files", "Leave --int16 out."
            )
        with_onnxruntime.expect()
        model = onnx_float.prepared(source)
        self.inputs = onnx_float.inputs_of(source, model)
        self.outputs = onnx_float.outputs_of(source, model)
        self._folder = folder
        self._float = with_onnxruntime.simplified(model, folder)
        self._int8: Any = None
        self._choices = choices
        self.quantiser = version_of("onnxruntime")
        self.layers = _layers(self._float)
        self.float_bytes = self._float.ByteSize()

    def to_int8(self, calibration: Mapping[str, Array]) -> bytes:
        """The int8 model."""
        self._expect_room(len(next(iter(calibration.values()))))
        self._int8 = with_onnxruntime.to_int8(self._float, calibration, self._folder, self._choices)
        data: bytes = self._int8.SerializeToString(deterministic=True)
        return data

    def _expect_room(self, samples: int) -> None:
        """Raises UsageError where the values of all layers, which histograms are made of at once, are too many."""
        if self._choices.percentile is None:
            return
        sample = 4 * sum(
            math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*self._float.graph.input, *self._float.graph.value_info, *self._float.graph.output)
        )
        if samples * sample > _MOST_BYTES:
            raise UsageError(
                f"--percentile needs the values of all layers at once: {samples * sample:,} bytes for {samples} "
                "samples",
                f"Calibrate with fewer: --samples {_MOST_BYTES // sample}.",
            )

    def float_runner(self) -> OnnxRunner:
        """The float model at work."""
        return OnnxRunner(self._float)

    def int8_runner(self) -> OnnxRunner:
        """The int8 model at work."""
        return OnnxRunner(self._int8)


def _layers(model: Any) -> list[FloatLayer]:
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    return [
        FloatLayer(
            node.name or name,
            node.op_type,
            name,
            tuple(read for read in node.input if read and read not in constants),
            channel_axis=1,
        )
        for node in model.graph.node
        for name in node.output
        if name and name not in constants
    ]
