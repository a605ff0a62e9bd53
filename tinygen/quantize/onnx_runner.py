"""ONNX models at work, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.quantize.runner import Scaling
from tinygen.quantize.with_onnxruntime import SCALED_INPUT, failed


class OnnxRunner:
    """An ONNX model in ONNX Runtime, as it runs by default; the values between layers are outputs of another session.

    `model` is an onnx.ModelProto.
    """

    def __init__(self, model: Any) -> None:
        import onnx

        self.scalings = _scalings(model)
        self._inputs = {
            value.name: value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            for value in model.graph.input
            if value.name not in _constants(model)
        }
        self._outputs = [value.name for value in model.graph.output]
        self._plain = _session(model)
        self._names = self._between(model)
        self._all: Any = None
        self._model = model

    def outputs(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs as reals."""
        values = self._plain.run(self._outputs, self._feed(inputs))
        return [self._real(name, value) for name, value in zip(self._outputs, values, strict=True)]

    def tensors(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """What layers made, as reals."""
        if self._all is None:
            self._all = _session(_with_outputs(self._model, list(self._names.values())))
        values = self._all.run(list(self._names.values()), self._feed(inputs))
        return {name: self._real(name, value) for name, value in zip(self._names, values, strict=True)}

    def _between(self, model: Any) -> dict[str, str]:
        """The tensors to look at, by the names that the float model has for them."""
        quantised = {_float_name(node): node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
        if quantised:
            return quantised
        return {node.output[0]: node.output[0] for node in model.graph.node if node.op_type != "Constant"}

    def _feed(self, inputs: Sequence[Array]) -> dict[str, Array]:
        return {
            name: array if is_float else self.scalings[name].quantised(array)
            for (name, is_float), array in zip(self._inputs.items(), inputs, strict=True)
        }

    def _real(self, name: str, value: Array) -> Array:
        scaling = self.scalings.get(name)
        return value.astype(np.float64) if scaling is None or value.dtype.kind == "f" else scaling.real(value)


def _session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever its C++ throws
        raise failed("run the model", error) from None


def _constants(model: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _float_name(node: Any) -> str:
    """What the float model calls the value that a QuantizeLinear quantises."""
    name: str = node.input[0]
    return name.removesuffix(SCALED_INPUT)


def _scalings(model: Any) -> dict[str, Scaling]:
    """Those of inputs and of what QuantizeLinear nodes write, per tensor."""
    from onnx import numpy_helper

    constants = _constants(model)
    found = {}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        if scale.size != 1 or node.input[0] in constants:
            continue
        name = _float_name(node) if node.op_type == "QuantizeLinear" else node.input[0]
        found[name] = Scaling(float(scale.flat[0]), int(zero_point.flat[0]), zero_point.dtype.name)
    return found


def _with_outputs(model: Any, names: Sequence[str]) -> Any:
    """A copy with more outputs, whose types the runtime finds out."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    return copy
