"""Decodes a TensorFlow Lite file into plain data: what the file says, and nothing about what it means.

The numbers beside field names are field ids of the schema. A broken file of any kind is InvalidModel, whose message
begins with the name of the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from tinygen.errors import InvalidModel
from tinygen.importers import tflite_schema as schema
from tinygen.importers.flatbuffer import FlatbufferError, Table, identifier, root_table

MAX_RANK = 8
MAX_TENSOR_BYTES = 2**40
ABSENT = -1  # among the inputs of an operator: an optional input that is not given

_DAMAGED = "The file is damaged or incomplete: copy or export it again."
_NOT_TFLITE = "Give a TensorFlow Lite model, as written by the TensorFlow Lite converter."
_FIX_BATCH = "Convert it with a fixed batch size: input_shape=(1, …)."
_EXPORT_AGAIN = "Export the model again with a current converter."

# How files begin that people mistake for .tflite files.
_LOOKALIKES = (
    (b"PK\x03\x04", "a zip archive (.keras files are zip archives too)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it (.h5)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "an ELF executable"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
_ONNX_SECOND_FIELDS = b"\x12\x1a\x22\x2a\x30\x32\x3a\x42"  # tags of the fields that can follow ONNX's ir_version


# The types that hold arrays compare by identity, as arrays have no truth value for ==.


@dataclass(frozen=True, eq=False)
class RawQuantization:
    """Affine quantisation: one scale and zero point, or one for each index along `axis`. Both arrays are read-only."""

    scale: np.ndarray  # float32, finite and positive
    zero_point: np.ndarray  # int64, as long as scale
    axis: int  # means something only where there is more than one scale


@dataclass(frozen=True, eq=False)
class RawTensor:
    """A tensor.

    `dtype` is numpy's name, or the schema's in lower case where numpy has no such type ("int4", "string"). `data` of
    the former are a read-only array of the tensor's shape; of the latter, the buffer's bytes. `shape_signature` has
    -1 for dimensions that are open until run time.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...] | None
    dtype: str
    quantization: RawQuantization | None
    data: np.ndarray | None
    is_variable: bool
    was_uint8: bool = False
    """Whether the file has it as uint8: values and zero points are 128 less than there."""

    def may_have(self, shape: tuple[int, ...]) -> bool:
        """Whether this is its shape, but for dimensions that are open."""
        stated = self.shape_signature or self.shape
        return len(stated) == len(shape) and all(dim in (-1, found) for dim, found in zip(stated, shape, strict=True))


@dataclass(frozen=True)
class RawOperator:
    """An operator: "CONV_2D", "CUSTOM:<code>", or "BUILTIN_<n>" for a number that the schema does not know.

    `options` are all fields of its option table, absent ones with the schema's defaults, enumerations by name. A
    custom operator has one option, "custom_options", which is bytes. Inputs and intermediates can be ABSENT.
    """

    index: int
    op: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, object]
    intermediates: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class RawSubgraph:
    """Tensors, and the operators between them in the order of execution."""

    name: str
    tensors: tuple[RawTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[RawOperator, ...]


@dataclass(frozen=True)
class RawSignature:
    """Names for the inputs and outputs of a subgraph, each with its tensor's index."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class RawModel:
    """A file; `subgraphs[0]` is what runs."""

    source: str
    version: int
    description: str
    subgraphs: tuple[RawSubgraph, ...]
    signatures: tuple[RawSignature, ...]


@dataclass(frozen=True)
class _OperatorCode:
    """What kind of operator; `builtin` is None if the schema does not know its number."""

    op: str
    builtin: schema.BuiltinOperator | None
    version: int


def read_tflite(data: bytes, source: str) -> RawModel:
    """Decode the file `data`; `source` is its name in messages."""
    try:
        _check_identifier(data)
        return _read_model(root_table(data), source)
    except FlatbufferError as error:
        raise InvalidModel(f"{source}: {error}", _DAMAGED) from error
    except InvalidModel as error:  # from the functions below, which do not know the name of the source
        raise InvalidModel(f"{source}: {error.message}", error.remedy) from None


def _check_identifier(data: bytes) -> None:
    if not data:
        raise InvalidModel("the file is empty (0 bytes)", _DAMAGED)
    found, wanted = identifier(data), schema.IDENTIFIER
    if found == wanted:
        return
    looks = _looks_like(data)
    if looks:
        start = data[:8].hex(" ")
        raise InvalidModel(f"the file starts with {start}: this looks like {looks}, not a .tflite file", _NOT_TFLITE)
    if len(data) < 8:
        raise InvalidModel(f"the file has {len(data)} bytes, too few for a .tflite file", _DAMAGED)
    if found[:3] == wanted[:3]:
        what = f"identifier {found!r} at byte 4: another version of the schema than {wanted.decode()}"
        raise InvalidModel(what, _EXPORT_AGAIN)
    raise InvalidModel(f"identifier {wanted.decode()} missing: bytes 4 to 7 are {found!r}", _NOT_TFLITE)


def _looks_like(data: bytes) -> str | None:
    for start, what in _LOOKALIKES:
        if data.startswith(start):
            return what
    # ONNX has no signature: a protobuf whose first field is the small number ir_version.
    if len(data) > 2 and data[0] == 0x08 and 0 < data[1] < 32 and data[2] in _ONNX_SECOND_FIELDS:
        return "an ONNX model"
    head = data[:512]
    if len(head) >= 8 and all(32 <= byte < 127 or byte in b"\t\n\r" for byte in head):
        return "C source (give the .tflite file that it was made of)" if b"unsigned char" in head else "text"
    return None


def _read_model(model: Table, source: str) -> RawModel:
    version = model.integer("version", 0, "uint32")
    if version != schema.VERSION:
        raise InvalidModel(f"schema version {version}; only version {schema.VERSION} is known", _EXPORT_AGAIN)
    codes = [_read_operator_code(index, code) for index, code in enumerate(model.tables("operator_codes", 1))]
    buffers = [_read_buffer(buffer) for buffer in model.tables("buffers", 4)]
    subgraphs = tuple(
        _read_subgraph(f"subgraph {index}, " if index else "", subgraph, codes, buffers)
        for index, subgraph in enumerate(model.tables("subgraphs", 2))
    )
    if not subgraphs:
        raise InvalidModel("the model has no subgraphs, hence nothing to run", _EXPORT_AGAIN)
    signatures = tuple(_read_signature_def(table, subgraphs) for table in model.tables("signature_defs", 7))
    return RawModel(source, version, model.string("description", 3) or "", subgraphs, signatures)


def _read_signature_def(table: Table, subgraphs: Sequence[RawSubgraph]) -> RawSignature:
    key = table.string("signature_key", 2) or ""
    label = f"signature {_shown(key)!r}"
    subgraph = table.integer("subgraph_index", 4, "uint32")
    if subgraph >= len(subgraphs):
        raise InvalidModel(f"{label}: it names subgraph {subgraph}, but there are {len(subgraphs)}", _DAMAGED)
    count = len(subgraphs[subgraph].tensors)
    maps = [_read_tensor_map(label, name, table.tables(name, field), count) for field, name in enumerate(_MAPS)]
    return RawSignature(key, subgraph, *maps)


_MAPS = ("inputs", "outputs")


def _read_tensor_map(label: str, role: str, entries: Iterator[Table], tensor_count: int) -> Mapping[str, int]:
    found = {}
    for entry in entries:
        name, index = entry.string("name", 0) or "", entry.integer("tensor_index", 1, "uint32")
        if index >= tensor_count:
            what = f"{label}: {role} {_shown(name)!r} is tensor {index}, but the graph has {tensor_count} tensors"
            raise InvalidModel(what, _DAMAGED)
        found[name] = index
    return MappingProxyType(found)


def _read_operator_code(index: int, code: Table) -> _OperatorCode:
    # Numbers above 127 do not fit the deprecated field, which then holds a placeholder; old files have only that one.
    number = max(code.integer("deprecated_builtin_code", 0, "int8"), code.integer("builtin_code", 3))
    custom = code.string("custom_code", 1) or ""
    version = code.integer("version", 2, default=1)
    if number < 0:
        raise InvalidModel(f"operator code {index}: the operator's number is {number}, less than 0", _DAMAGED)
    try:
        builtin = schema.BuiltinOperator(number)
    except ValueError:
        return _OperatorCode(f"BUILTIN_{number}", None, version)
    op = f"CUSTOM:{custom}" if builtin is schema.BuiltinOperator.CUSTOM else builtin.name
    return _OperatorCode(op, builtin, version)


def _read_buffer(buffer: Table) -> np.ndarray | None:
    """The bytes of a buffer, None if there are none."""
    data = buffer.vector("data", 0, "u1")
    offset = buffer.integer("offset", 1, "uint64")
    if data is None and offset > 1:  # models of more than 2 GB keep their data behind the flatbuffer; 0 and 1 mean no
        data = buffer.outside("data", offset, buffer.integer("size", 2, "uint64"))
    return None if data is None or data.size == 0 else data


def _read_subgraph(
    where: str, subgraph: Table, codes: Sequence[_OperatorCode], buffers: Sequence[np.ndarray | None]
) -> RawSubgraph:
    tensors = tuple(
        _read_tensor(where, index, tensor, buffers) for index, tensor in enumerate(subgraph.tables("tensors", 0))
    )
    operators = tuple(
        _read_operator(where, index, operator, codes, len(tensors))
        for index, operator in enumerate(subgraph.tables("operators", 3))
    )
    label = f"{where}graph"
    return RawSubgraph(
        name=subgraph.string("name", 4) or "",
        tensors=tensors,
        inputs=_tensor_indices(label, subgraph, "inputs", 1, len(tensors)),
        outputs=_tensor_indices(label, subgraph, "outputs", 2, len(tensors)),
        operators=operators,
    )


def _read_tensor(where: str, index: int, tensor: Table, buffers: Sequence[np.ndarray | None]) -> RawTensor:
    name = tensor.string("name", 3) or ""
    label = f"{where}tensor {index} ({_shown(name)})"
    kind = _member(label, "type", schema.TensorType, tensor.integer("type", 1, "int8"))
    if tensor.table("sparsity", 6) is not None:
        raise InvalidModel(f"{label}: its data are stored sparse, which is not supported", "Export it dense.")
    if tensor.integer("external_buffer", 10, "uint32"):
        raise InvalidModel(f"{label}: its data are stored in another file", "Export the model as a single file.")
    shape = _read_shape(label, tensor, kind)
    raw = _buffer_of(label, tensor.integer("buffer", 2, "uint32"), buffers)
    if raw is not None and kind is schema.TensorType.BOOL:
        tensor.spend("buffer", raw.size)  # each tensor gets its own copy; all others view the buffer
    return RawTensor(
        index=index,
        name=name,
        shape=shape,
        shape_signature=_read_signature(label, tensor, shape),
        dtype=kind.name.lower(),
        quantization=_read_quantization(label, tensor, shape),
        data=None if raw is None else _decode(label, kind, shape, raw),
        is_variable=tensor.boolean("is_variable", 5),
    )


def _read_shape(label: str, tensor: Table, kind: schema.TensorType) -> tuple[int, ...]:
    vector = tensor.vector("shape", 0, "<i4")
    if vector is None:
        return ()
    if len(vector) > MAX_RANK:
        raise InvalidModel(f"{label}: it has {len(vector)} dimensions, more than {MAX_RANK}", _DAMAGED)
    shape: tuple[int, ...] = tuple(vector.tolist())
    if min(shape, default=0) < 0:
        raise InvalidModel(f"{label}: its shape {shape} has a negative dimension", _FIX_BATCH)
    size = _byte_size(kind, shape)
    if size > MAX_TENSOR_BYTES:
        raise InvalidModel(f"{label}: shape {shape} takes {size} bytes, more than {MAX_TENSOR_BYTES}", _DAMAGED)
    return shape


def _read_signature(label: str, tensor: Table, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    vector = tensor.vector("shape_signature", 7, "<i4")
    if vector is None or len(vector) == 0:  # writers leave out, or leave empty, what says no more than the shape
        return None
    if len(vector) != len(shape):
        what = f"its shape_signature has {len(vector)} dimensions, its shape {len(shape)}"
        raise InvalidModel(f"{label}: {what}", _EXPORT_AGAIN)
    signature: tuple[int, ...] = tuple(vector.tolist())
    if min(signature) < -1:
        raise InvalidModel(f"{label}: its shape_signature {signature} has a dimension below -1", _EXPORT_AGAIN)
    return signature


def _read_quantization(label: str, tensor: Table, shape: tuple[int, ...]) -> RawQuantization | None:
    table = tensor.table("quantization", 4)
    if table is None:
        return None
    if table.integer("details_type", 4, "uint8"):
        what = "its quantisation is custom, blockwise or along several axes, which is not supported"
        raise InvalidModel(f"{label}: {what}", "Quantise it per tensor or per channel.")
    scale = table.vector("scale", 2, "<f4")
    zero_point = table.vector("zero_point", 3, "<i8")
    axis = table.integer("quantized_dimension", 6)
    if scale is None or len(scale) == 0:
        return None
    count = len(scale)
    if zero_point is None or len(zero_point) == 0:
        zero_point = np.zeros(count, np.int64)
        zero_point.setflags(write=False)
    if len(zero_point) != count:
        raise InvalidModel(f"{label}: it has {count} scales and {len(zero_point)} zero points", _EXPORT_AGAIN)
    bad = np.flatnonzero(~(np.isfinite(scale) & (scale > 0)))
    if bad.size:
        what = f"scale[{bad[0]}] is {scale[bad[0]]}; scales must be finite and positive"
        raise InvalidModel(f"{label}: {what}", _EXPORT_AGAIN)
    if count > 1:
        if not 0 <= axis < len(shape):
            what = f"it is quantised along axis {axis}, but its shape is {shape}"
            raise InvalidModel(f"{label}: {what}", _EXPORT_AGAIN)
        if shape[axis] != count:
            what = f"it has {count} scales for the {shape[axis]} indices of axis {axis}"
            raise InvalidModel(f"{label}: {what}", _EXPORT_AGAIN)
    return RawQuantization(scale, zero_point, axis)


def _buffer_of(label: str, index: int, buffers: Sequence[np.ndarray | None]) -> np.ndarray | None:
    if index == 0:
        # Buffer 0 stands for "none". Runtimes disagree on what they do where a file puts data there.
        if buffers and buffers[0] is not None:
            what = f"it has buffer 0, which must be empty but holds {buffers[0].size} bytes"
            raise InvalidModel(f"{label}: {what}", _EXPORT_AGAIN)
        return None
    if index >= len(buffers):
        raise InvalidModel(f"{label}: it has buffer {index}, but there are {len(buffers)} buffers", _DAMAGED)
    return buffers[index]


def _byte_size(kind: schema.TensorType, shape: tuple[int, ...]) -> int:
    """How many bytes a tensor's data take; of elements without a size, how many elements there are."""
    if kind in schema.UNSIZED:
        return math.prod(shape)
    bits = schema.PACKED_BITS.get(kind)
    if bits is None:
        bits = 8 * np.dtype(kind.name.lower()).itemsize
    return (math.prod(shape) * bits + 7) // 8


def _decode(label: str, kind: schema.TensorType, shape: tuple[int, ...], raw: np.ndarray) -> np.ndarray:
    """A buffer's bytes as the tensor's elements."""
    if kind in schema.UNSIZED:
        return raw
    wanted, dtype = _byte_size(kind, shape), kind.name.lower()
    if raw.size != wanted:
        what = f"its buffer has {raw.size} bytes, but {dtype} of shape {shape} takes {wanted}"
        raise InvalidModel(f"{label}: {what}", _DAMAGED)
    if kind in schema.PACKED_BITS:
        return raw
    # Bytes other than 0 and 1 make a numpy bool misbehave.
    data = raw != 0 if kind is schema.TensorType.BOOL else raw.view(np.dtype(dtype).newbyteorder("<"))
    data = data.reshape(shape)
    data.setflags(write=False)
    return data


def _read_operator(
    where: str, index: int, operator: Table, codes: Sequence[_OperatorCode], tensor_count: int
) -> RawOperator:
    opcode_index = operator.integer("opcode_index", 0, "uint32")
    if opcode_index >= len(codes):
        what = f"{where}operator {index}: it has operator code {opcode_index}, but there are {len(codes)}"
        raise InvalidModel(what, _DAMAGED)
    code = codes[opcode_index]
    label = f"{where}operator {index} ({_shown(code.op)})"
    return RawOperator(
        index=index,
        op=code.op,
        version=code.version,
        inputs=_tensor_indices(label, operator, "inputs", 1, tensor_count, lowest=ABSENT),
        outputs=_tensor_indices(label, operator, "outputs", 2, tensor_count),
        options=MappingProxyType(_read_options(label, operator, code.builtin)),
        intermediates=_tensor_indices(label, operator, "intermediates", 8, tensor_count, lowest=ABSENT),
    )


def _read_options(label: str, operator: Table, builtin: schema.BuiltinOperator | None) -> dict[str, object]:
    if builtin is schema.BuiltinOperator.CUSTOM:
        return {"custom_options": _read_custom_options(operator)}
    wanted = schema.OPTIONS.get(builtin) if builtin is not None else None
    if wanted is None:
        return {}
    number, table = operator.union("builtin_options", 4)
    if number not in (0, wanted.number):
        found = schema.OPTION_TABLE_NAMES.get(number, f"option table {number}")
        raise InvalidModel(f"{label}: it has {found}, but it takes {wanted.name}", _DAMAGED)
    return {field.name: _read_option(label, table, field) for field in wanted.fields}


def _read_option(label: str, table: Table | None, field: schema.Field) -> object:
    """One option, or its default if the field or the whole table is absent."""
    match field.kind:
        case "int32":
            return field.default if table is None else table.integer(field.name, field.id, default=field.default)
        case "bool":
            default = bool(field.default)
            return default if table is None else table.boolean(field.name, field.id, default)
        case "float32":
            default_value = float(field.default)
            return default_value if table is None else table.float32(field.name, field.id, default_value)
        case "string":
            return "" if table is None else table.string(field.name, field.id) or ""
        case "int32s":
            vector = None if table is None else table.vector(field.name, field.id, "<i4")
            return () if vector is None else tuple(vector.tolist())
        case enumeration:
            number = field.default if table is None else table.integer(field.name, field.id, "int8", field.default)
            return _member(label, field.name, enumeration, number).name


def _read_custom_options(operator: Table) -> bytes:
    data = operator.vector("custom_options", 5, "u1")
    offset = operator.integer("large_custom_options_offset", 9, "uint64")
    if data is None and offset > 1:
        size = operator.integer("large_custom_options_size", 10, "uint64")
        data = operator.outside("custom_options", offset, size)
    return b"" if data is None else data.tobytes()


_Enum = TypeVar("_Enum", bound=IntEnum)


def _member(label: str, name: str, enumeration: type[_Enum], number: int) -> _Enum:
    try:
        return enumeration(number)
    except ValueError:
        what = f"{name} is {number}; {enumeration.__name__} goes from 0 to {max(enumeration)}"
        raise InvalidModel(f"{label}: {what}", _EXPORT_AGAIN) from None


def _tensor_indices(
    label: str, table: Table, name: str, field: int, tensor_count: int, lowest: int = 0
) -> tuple[int, ...]:
    vector = table.vector(name, field, "<i4")
    if vector is None:
        return ()
    indices: tuple[int, ...] = tuple(vector.tolist())
    for position, tensor in enumerate(indices):
        if not lowest <= tensor < tensor_count:
            what = f"{name}[{position}] is tensor {tensor}, but the graph has {tensor_count} tensors, from 0 on"
            raise InvalidModel(f"{label}: {what}", _DAMAGED)
    return indices


def _shown(name: str) -> str:
    """A name from the file as a message can show it: short, on one line, without control characters."""
    shown = "".join(char if char.isprintable() else "?" for char in name[:80])
    return shown + "..." if len(name) > 80 else shown
