"""What a model file says of its tensors, in the dictionaries and words of TensorFlow Lite's interpreter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygen.errors import CallError
from tinygen.importers.tflite_file import RawTensor
from tinygen.ir import Array, Graph, Quant, Tensor

Details = dict[str, Any]
"""name, index, shape, shape_signature, dtype, quantization, quantization_parameters, sparsity_parameters."""


class ModelTensors:
    """The tensors of a model by their indices in its file."""

    def __init__(self, graph: Graph, raw: Sequence[RawTensor], names: Iterable[str]) -> None:
        """`names` are those that the file's tensors have in the graph, in order."""
        self._graph = graph
        self._raw = raw
        self._names = list(names)
        # Options of reading may have made ports that the file does not have: they come behind.
        self._names += [name for name in (*graph.inputs, *graph.outputs) if name not in self._names]

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The name in the graph. Raises CallError for an index that there is not."""
        at = int(index)
        if not 0 <= at < len(self._names):
            raise CallError(f"Invalid tensor index {at} exceeds max tensor index {len(self._names)}")
        return self._names[at]

    def index(self, name: str) -> int:
        """The index of a name."""
        return self._names.index(name)

    def details(self, index: int) -> Details:
        """What the interpreter tells of a tensor: of the graph's, which options of reading may have changed, or else
        of the file's.
        """
        raw = self._file_tensor(index)
        tensor = self._graph.tensors.get(self.name(index))
        if tensor is None:
            assert raw is not None
            tensor = _from_file(raw)
        return _details(index, tensor, raw)

    def constant(self, index: int) -> Array | None:
        """The value of a constant, None for other tensors."""
        tensor, raw = self._graph.tensors.get(self.name(index)), self._file_tensor(index)
        if tensor is not None:
            return tensor.data
        return None if raw is None else raw.data

    def _file_tensor(self, index: int) -> RawTensor | None:
        return self._raw[index] if index < len(self._raw) else None


def _from_file(raw: RawTensor) -> Tensor:
    quant = None
    if raw.quantization is not None:
        quant = Quant(raw.quantization.scale, raw.quantization.zero_point, raw.quantization.axis)
    try:
        dtype = np.dtype(_DTYPES.get(raw.dtype, raw.dtype))
    except TypeError:
        dtype = np.dtype(object)  # a resource, or a type of the schema that numpy has not
    return Tensor(raw.name, raw.shape, dtype, quant)


_DTYPES = {"int4": "int8", "string": "bytes"}


def _details(index: int, tensor: Tensor, raw: RawTensor | None) -> Details:
    quant = tensor.quant
    signature = tensor.shape if raw is None or raw.shape_signature is None else raw.shape_signature
    scales = np.array([] if quant is None else quant.scale, np.float32)
    zero_points = np.array([] if quant is None else quant.zero_point, np.int32)
    return {
        "name": tensor.name if raw is None else raw.name,
        "index": index,
        "shape": np.array(tensor.shape, np.int32),
        "shape_signature": np.array(signature, np.int32),
        "dtype": tensor.dtype.type,
        "quantization": (float(scales[0]), int(zero_points[0])) if len(scales) == 1 else (0.0, 0),
        "quantization_parameters": {
            "scales": scales,
            "zero_points": zero_points,
            "quantized_dimension": 0 if quant is None else quant.axis,
            "block_size": 0,
        },
        "sparsity_parameters": {},
    }


def mismatch(value: Array, tensor: Tensor, index: int) -> str:
    """Why an array cannot be the value of a tensor; empty if it can."""
    if value.dtype != tensor.dtype:
        found = "STRING" if value.dtype.kind in "SU" else value.dtype.name.upper()
        wanted = tensor.dtype.name.upper()
        return f"Got value of type {found} but expected type {wanted} for input {index}, name: {tensor.name}"
    if value.ndim != len(tensor.shape):
        return f"Dimension mismatch. Got {value.ndim} but expected {len(tensor.shape)} for input {index}."
    for axis, (given, needed) in enumerate(zip(value.shape, tensor.shape, strict=True)):
        if given != needed:
            return f"Dimension mismatch. Got {given} but expected {needed} for dimension {axis} of input {index}."
    return ""
