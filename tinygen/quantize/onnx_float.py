"""Float ONNX models before they are quantised: what can be, and with a batch of one and a name for every node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygen.errors import InvalidModel, ModelError
from tinygen.quantize.data import FloatPort
from tinygen.quantize.onnx_external import take_in
from tinygen.quantize.onnx_means import with_global_pools

PER_CHANNEL_OPSET = 13
"""The first in which DequantizeLinear has an axis."""

_LONGEST = 300
"""Letters of what onnx says."""
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")


def prepared(path: Path) -> Any:
    """The model of a file as an onnx.ModelProto, with fixed shapes. Raises ModelError."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
        take_in(path, model)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise InvalidModel(f"{path} is not a readable ONNX model: {_said(error)}", "Export it again.") from None
    _refuse_quantised(path, model)
    _expect_values(path, model)
    _forget_notes(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            _fix_shape(path, value)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or (node.output[0] if node.output else f"node_{index}")
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < PER_CHANNEL_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET)
        except Exception as error:  # whatever its C++ throws
            raise ModelError(
                f"{path} has opset {opset}, and weights of each channel's own scale need {PER_CHANNEL_OPSET}; "
                f"converting it fails: {_said(error)}",
                f"Export it again with opset {PER_CHANNEL_OPSET} or higher.",
            ) from None
    # Shapes between the nodes, where the file has them, are those of the open batch.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise InvalidModel(f"{path}: its shapes do not fit each other: {_said(error)}", "Export it again.") from None
    return with_global_pools(inferred)


def inputs_of(path: Path, model: Any) -> list[FloatPort]:
    """The inputs of a prepared model. Raises ModelError for others than float32."""
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    ports = []
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type.elem_type
        if kind != onnx.TensorProto.FLOAT:
            raise ModelError(
                f"{path}: the input {value.name!r} is {onnx.TensorProto.DataType.Name(kind).lower()}, not float",
                "Export the model with float32 inputs.",
            )
        ports.append(FloatPort(value.name, _shape(value)))
    if not ports:
        raise ModelError(f"{path} has no input", "There is nothing to quantise in what only has constants.")
    return ports


def outputs_of(path: Path, model: Any) -> list[FloatPort]:
    """The outputs of a prepared model. Raises ModelError where a shape is not known."""
    ports = [FloatPort(value.name, _shape(value)) for value in model.graph.output]
    for port in ports:
        if 0 in port.shape:
            raise ModelError(
                f"{path}: the output {port.name!r} has no fixed shape", "Export the model with fixed shapes."
            )
    return ports


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _fix_shape(path: Path, value: Any) -> None:
    for index, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.dim_value > 0:
            continue
        if index:
            raise ModelError(
                f"{path}: dimension {index} of the input {value.name!r} is open ({dim.dim_param or 'without a name'})",
                "Export the model with fixed shapes; only the first dimension, the batch, may be open.",
            )
        dim.dim_value = 1


def _expect_values(path: Path, model: Any) -> None:
    """Raises InvalidModel for constants whose bytes are not those of their shape, which the checker lets pass."""
    from onnx import numpy_helper

    tensors = [*model.graph.initializer]
    tensors += [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in tensors:
        try:
            numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidModel(
                f"{path}: the constant {tensor.name!r} cannot be read: {_said(error)}", "Export it again."
            ) from None


def _forget_notes(model: Any) -> None:
    """What exporters note for people: half of a small file, with the paths of the program that made the model."""
    graph = model.graph
    for noted in (model, graph, *graph.input, *graph.output, *graph.node, *graph.initializer):
        noted.ClearField("doc_string")
        if "metadata_props" in noted.DESCRIPTOR.fields_by_name:  # not in every version of onnx
            del noted.metadata_props[:]


def _refuse_quantised(path: Path, model: Any) -> None:
    for node in model.graph.node:
        if node.op_type in _QUANTISED or node.op_type.startswith("QLinear"):
            raise ModelError(
                f"{path} is already quantised: node {node.name or node.output[0]!r} is a {node.op_type}",
                f"Build it as it is: tinygen build {path} -o out",
            )


def _said(error: Exception) -> str:
    """What an error says, on one line: onnx breaks it before and behind the name of a node."""
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__
