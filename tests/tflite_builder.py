"""Writes .tflite files from test cases, with the schema's own object API: independent of our reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from tinygen.ops.case import Case, CaseTensor

# (op, input ids, output ids, options); -1 is an absent input.
OperatorSpec = tuple[str, Sequence[int], Sequence[int], Mapping[str, object]]

# Operators whose option table has another name than theirs.
_OPTION_TABLES = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "SUM": "ReducerOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions",
}

# Of operators that LiteRT has not had from the first version on; TensorFlow Lite Micro does not look at them.
_VERSIONS = {"BROADCAST_TO": 2}

# Operators whose absent inputs converters spell as -1 up to the last.
_SPELT_IN_FULL = {"UNIDIRECTIONAL_SEQUENCE_LSTM"}

# Enumerations of option fields; fields called ..._type are TensorType.
_ENUMERATIONS = {
    "fused_activation_function": schema.ActivationFunctionType,
    "mode": schema.MirrorPadMode,
    "padding": schema.Padding,
    "weights_format": schema.FullyConnectedOptionsWeightsFormat,
}


def build_case(case: Case) -> bytes:
    """A model of one operator. Inputs that are not constant become the model's inputs, in order.

    Absent inputs at the end are left out, as converters do for most operators; to spell them as -1, use build_model.
    """
    inputs = [tensor for tensor in case.inputs if tensor is not None]
    ids = iter(range(len(inputs)))
    input_ids = [-1 if tensor is None else next(ids) for tensor in case.inputs]
    while case.op not in _SPELT_IN_FULL and input_ids and input_ids[-1] == -1:
        input_ids.pop()
    output_ids = range(len(inputs), len(inputs) + len(case.outputs))
    return build_model(
        tensors=[*inputs, *case.outputs],
        operators=[(case.op, input_ids, output_ids, case.options)],
        inputs=[index for index, tensor in enumerate(inputs) if tensor.data is None and not tensor.is_variable],
        outputs=output_ids,
        variables=[index for index, tensor in enumerate(inputs) if tensor.is_variable],
    )


def build_model(
    tensors: Sequence[CaseTensor],
    operators: Sequence[OperatorSpec],
    inputs: Sequence[int],
    outputs: Sequence[int],
    names: Sequence[str] | None = None,
    variables: Collection[int] = (),
) -> bytes:
    """A model of one subgraph. `variables` are ids of tensors that keep their values between calls."""
    return pack(build_object(tensors, operators, inputs, outputs, names, variables))


def build_object(
    tensors: Sequence[CaseTensor],
    operators: Sequence[OperatorSpec],
    inputs: Sequence[int],
    outputs: Sequence[int],
    names: Sequence[str] | None = None,
    variables: Collection[int] = (),
) -> schema.ModelT:
    """As build_model, but before packing, for tests that break something."""
    names = names or [f"tensor{index}" for index in range(len(tensors))]
    model = schema.ModelT()
    model.version = 3
    model.description = "written by tinygen's tests"
    model.buffers = [_buffer(None)]  # buffer 0 stands for "no data"
    codes: dict[str, int] = {}
    graph = schema.SubGraphT()
    graph.name = "main"
    graph.inputs = list(inputs)
    graph.outputs = list(outputs)
    graph.tensors = []
    for index, (tensor, name) in enumerate(zip(tensors, names, strict=True)):
        buffer = 0
        if tensor.data is not None:
            buffer = len(model.buffers)
            model.buffers.append(_buffer(_bytes_of(tensor)))
        graph.tensors.append(_tensor(tensor, name, buffer, index in variables))
    graph.operators = [_operator(spec, codes.setdefault(spec[0], len(codes))) for spec in operators]
    model.operatorCodes = [_operator_code(op) for op in codes]
    model.subgraphs = [graph]
    return model


def add_signature(model: schema.ModelT, key: str, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
    """Give tensors of the model, by index, names for its callers."""
    signature = schema.SignatureDefT()
    signature.signatureKey = key
    signature.inputs, signature.outputs = (
        [schema.TensorMapT(name=name, tensorIndex=index) for name, index in ports.items()]
        for ports in (inputs, outputs)
    )
    model.signatureDefs = [*(model.signatureDefs or []), signature]


def pack(model: schema.ModelT) -> bytes:
    """The file of an object tree."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def option_table(op: str) -> str | None:
    """The schema's name of an operator's option table, None if it has none."""
    wanted = _OPTION_TABLES.get(op, op.replace("_", "") + "Options").lower()
    return next((name for name in vars(schema.BuiltinOptions) if name.lower() == wanted), None)


def option_enumeration(field: str) -> type | None:
    """The schema's enumeration of an option field, None if the field is no enumeration."""
    return schema.TensorType if field.endswith("_type") else _ENUMERATIONS.get(field)


def camel_case(field: str) -> str:
    """The object API's name of a field: "stride_w" becomes "strideW"."""
    first, *rest = field.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _operator_code(op: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.version = _VERSIONS.get(op, 1)
    if op.startswith("CUSTOM:"):
        code.customCode = op.removeprefix("CUSTOM:")
        op = "CUSTOM"
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode = min(code.builtinCode, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    return code


def _operator(spec: OperatorSpec, opcode_index: int) -> schema.OperatorT:
    op, inputs, outputs, options = spec
    operator = schema.OperatorT()
    operator.opcodeIndex = opcode_index
    operator.inputs = list(inputs)
    operator.outputs = list(outputs)
    table = option_table(op)
    if table is None:
        if options:
            raise ValueError(f"{op} has no option table, but options {dict(options)} are given")
        return operator
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
    operator.builtinOptions = getattr(schema, f"{table}T")()
    for field, value in options.items():
        attribute = camel_case(field)
        if not hasattr(operator.builtinOptions, attribute):
            raise ValueError(f"{table} has no field {field}")
        setattr(operator.builtinOptions, attribute, _option_value(field, value))
    return operator


def _option_value(field: str, value: object) -> object:
    enumeration = option_enumeration(field)
    if enumeration is not None:
        return getattr(enumeration, value.name if isinstance(value, Enum) else str(value))
    return list(value) if isinstance(value, tuple) else value


def _tensor(tensor: CaseTensor, name: str, buffer: int, is_variable: bool) -> schema.TensorT:
    result = schema.TensorT()
    result.name = name
    result.shape = list(tensor.shape)
    result.type = getattr(schema.TensorType, tensor.dtype.upper())
    result.buffer = buffer
    result.isVariable = is_variable
    if tensor.scale is not None:
        scales = list(tensor.scale) if isinstance(tensor.scale, tuple) else [tensor.scale]
        result.quantization = schema.QuantizationParametersT()
        result.quantization.scale = scales
        result.quantization.zeroPoint = [tensor.zero_point] * len(scales)
        result.quantization.quantizedDimension = tensor.axis
    return result


def _bytes_of(tensor: CaseTensor) -> bytes:
    data = np.asarray(tensor.data)
    if tensor.dtype == "int4":
        return _nibbles(data)
    if (data.dtype.name, data.shape) != (tensor.dtype, tensor.shape):
        raise ValueError(f"a tensor of {tensor.dtype} {tensor.shape} has data of {data.dtype} {data.shape}")
    return data.tobytes()


def _nibbles(data: np.ndarray) -> bytes:
    """Two values to a byte, the first in the low half."""
    halves = [int(value) & 15 for value in data.reshape(-1)]
    if len(halves) % 2:
        halves.append(0)
    return bytes(low | high << 4 for low, high in zip(halves[0::2], halves[1::2], strict=True))


def _buffer(data: bytes | None) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = None if data is None else np.frombuffer(data, np.uint8)
    return buffer
