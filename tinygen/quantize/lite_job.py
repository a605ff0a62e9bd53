"""Float models on their way to an int8 .tflite file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import InvalidModel, ModelError, UsageError
from tinygen.importers.tflite_file import RawModel, RawTensor, read_tflite
from tinygen.ir import Array
from tinygen.quantize.data import FloatPort
from tinygen.quantize.job import Choices, version_of
from tinygen.quantize.lite_runner import LiteRunner
from tinygen.quantize.measure import FloatLayer
from tinygen.quantize.programs import expect_package
from tinygen.quantize.with_edge_quantizer import EDGE_QUANTIZER
from tinygen.quantize.with_tensorflow import TENSORFLOW

_WHOLE = (
    "Save it whole, with model.save(PATH). Layers of your own are known only to your program: let it write a "
    "SavedModel, with model.export(FOLDER), and give that."
)
_SIMPLER = "In float it is read: leave out layers, to see which it is. Recurrent ones of Keras may need unroll=True."


class LiteJob:
    """A Keras model, a SavedModel, or a float .tflite file, which is quantised as it is. Edges are int8."""

    suffix = ".tflite"

    def __init__(self, source: Path, folder: Path, choices: Choices) -> None:
        if choices.percentile is not None:
            raise UsageError(
                f"{source} becomes a .tflite file, whose ranges hold all values", "Leave --percentile out."
            )
        self._source, self._folder = source, folder
        is_tflite = source.suffix.lower() == ".tflite"
        # Only one of them can keep some layers in int16.
        self._program = EDGE_QUANTIZER if is_tflite or choices.int16 else TENSORFLOW
        self._program.expect()
        expect_package("ai_edge_litert", "LiteRT", "litert")
        self._float = folder / "float.tflite"
        if is_tflite:
            self._float.write_bytes(source.read_bytes())
        else:
            TENSORFLOW.run(f"convert {source}", [source, self._float], _WHOLE)
        data = self._float.read_bytes()
        model = read_tflite(data, str(source))
        _refuse_quantised(source, model)
        graph = model.subgraphs[0]
        self.quantiser = version_of("ai-edge-quantizer" if self._program is EDGE_QUANTIZER else "tensorflow")
        self.inputs = [_port(source, graph.tensors[index]) for index in graph.inputs]
        self.outputs = [_port(source, graph.tensors[index]) for index in graph.outputs]
        self.layers = _layers(model)
        self._int16 = [_tensor_of(name, self.layers, source) for name in choices.int16]
        self.float_bytes = len(data)

    def to_int8(self, calibration: Mapping[str, Array]) -> bytes:
        """The int8 model."""
        arrays, out = self._folder / "calibration.npz", self._folder / "int8.tflite"
        by_position: dict[str, Any] = {str(at): calibration[port.name] for at, port in enumerate(self.inputs)}
        np.savez(arrays, **by_position)
        source = self._float if self._program is EDGE_QUANTIZER else self._source
        self._program.run(f"quantise {self._source}", [source, out, arrays, *self._int16], _SIMPLER)
        return out.read_bytes()

    def float_runner(self) -> LiteRunner:
        """The float model at work."""
        return LiteRunner(self._float, reference=False)

    def int8_runner(self) -> LiteRunner:
        """The int8 model at work."""
        return LiteRunner(self._folder / "int8.tflite", reference=True)


def _port(source: Path, tensor: RawTensor) -> FloatPort:
    if tensor.dtype != "float32":
        raise ModelError(
            f"{source}: {_short(tensor.name)!r} is {tensor.dtype}, not float32",
            "Inputs and outputs of a model that is to be quantised are float32.",
        )
    shape = tensor.shape_signature or tensor.shape
    if any(dim < 1 for dim in shape[1:]):
        raise ModelError(
            f"{source}: {_short(tensor.name)!r} has the shape {list(shape)}, where -1 is open",
            "Export the model with fixed shapes; only the first dimension, the batch, may be open.",
        )
    return FloatPort(tensor.name, tensor.shape)


def _refuse_quantised(source: Path, model: RawModel) -> None:
    graph = model.subgraphs[0]
    if not graph.inputs or not graph.outputs:
        raise InvalidModel(f"{source} has no input or no output", "Export it again.")
    for tensor in graph.tensors:
        if tensor.quantization is None or tensor.dtype not in ("int4", "int8", "uint8", "int16"):
            continue
        if tensor.data is not None and all(graph.tensors[index].dtype == "float32" for index in graph.inputs):
            raise ModelError(
                f"{source} is partly quantised: the weights {_short(tensor.name)!r} are {tensor.dtype}",
                "Convert the original model without optimisations, and quantise that.",
            )
        raise ModelError(
            f"{source} is already quantised: {_short(tensor.name)!r} is {tensor.dtype}",
            f"Build it as it is: tinygen build {source} -o out",
        )


def _layers(model: RawModel) -> list[FloatLayer]:
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        read = [graph.tensors[index] for index in operator.inputs if index >= 0]
        names = tuple(tensor.name for tensor in read if tensor.data is None)
        for index in operator.outputs:
            name = graph.tensors[index].name
            found.append(FloatLayer(_short(name), operator.op, name, names))
    return found


def _tensor_of(name: str, layers: Sequence[FloatLayer], source: Path) -> str:
    """The tensor that the layer of this name writes. Raises UsageError where there is none."""
    for layer in layers:
        if layer.name == name:
            return layer.output
    close = get_close_matches(name, [layer.name for layer in layers], n=3, cutoff=0.3)
    raise UsageError(
        f"{source} has no layer {name!r}",
        f"Is it {' or '.join(close)}?" if close else "tinygen quantize --layers shows their names.",
    )


def _short(name: str) -> str:
    """Of the names of all operators that one was made of, the first."""
    return name.split(";")[0]
