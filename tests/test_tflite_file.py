"""The TensorFlow Lite reader against the schema's own object API, and against files that nobody should trust."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import needs_shared_models, shared_model_files
from tflite_builder import (
    add_signature,
    build_case,
    build_model,
    build_object,
    camel_case,
    option_enumeration,
    option_table,
    pack,
)
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as oracle

from tinygen.errors import InvalidModel
from tinygen.importers import tflite_schema
from tinygen.importers.tflite_file import RawModel, RawTensor, read_tflite
from tinygen.ops.case import Case, CaseTensor

SOURCE = "some/model.tflite"


# --- models to read --------------------------------------------------------------------------------------------------


def conv_case() -> Case:
    """A convolution with per-channel weights: a small file with constants, scales, options and names."""
    weights = np.arange(3 * 2 * 2 * 2, dtype=np.int8).reshape(3, 2, 2, 2)
    scales = (0.01, 0.02, 0.03)
    return Case(
        "conv",
        "CONV_2D",
        (
            CaseTensor((1, 4, 5, 2), scale=0.1, zero_point=-3),
            CaseTensor((3, 2, 2, 2), scale=scales, data=weights),
            CaseTensor((3,), "int32", scale=(0.001, 0.002, 0.003), data=np.array([7, -8, 9], np.int32)),
        ),
        (CaseTensor((1, 2, 3, 3), scale=0.5, zero_point=4),),
        {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": "RELU6"},
    )


def conv_object() -> oracle.ModelT:
    """conv_case as an object tree, to be broken and packed."""
    case = conv_case()
    return build_object([*case.inputs, *case.outputs], [("CONV_2D", [0, 1, 2], [3], case.options)], [0], [3])


def chain() -> bytes:
    """Several operators, with options of every kind: vectors, strings, floats, enumerations."""
    x, resource = CaseTensor((1, 8), scale=0.1), CaseTensor((), "resource")
    weights = CaseTensor((8, 8), scale=0.05, data=np.ones((8, 8), np.int8))
    model = build_object(
        [x, weights, x, CaseTensor((1, 2, 4), scale=0.1), CaseTensor((1, 2, 4), scale=0.1), resource],
        [
            ("FULLY_CONNECTED", [0, 1, -1], [2], {"fused_activation_function": "RELU", "keep_num_dims": True}),
            ("RESHAPE", [2], [3], {"new_shape": (1, 2, 4)}),
            ("LEAKY_RELU", [3], [4], {"alpha": 0.25}),
            ("VAR_HANDLE", [], [5], {"container": "", "shared_name": "state"}),
            ("CUSTOM:detect", [4], [4], {}),
        ],
        inputs=[0],
        outputs=[4],
        names=["in", "weights/é", "dense", "shape", "out", "state"],
    )
    add_signature(model, "serving_default", {"audio": 0}, {"scores": 4, "dense": 2})
    return pack(model)


SMALL_MODELS = {"conv": lambda: build_case(conv_case()), "chain": chain}


# --- agreement with the schema's object API --------------------------------------------------------------------------


def as_tuple(vector: object) -> tuple[int, ...]:
    return () if vector is None else tuple(int(item) for item in vector)


def text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def name_in(enumeration: type, number: int) -> str:
    return next(name for name, value in vars(enumeration).items() if value == number and not name.startswith("_"))


def check_tensor(index: int, ours: RawTensor, theirs: oracle.TensorT, buffers: list[oracle.BufferT]) -> None:
    assert ours.index == index
    assert ours.name == text(theirs.name)
    assert ours.shape == as_tuple(theirs.shape)
    assert ours.shape_signature == (as_tuple(theirs.shapeSignature) or None)
    assert ours.dtype == name_in(oracle.TensorType, theirs.type).lower()
    assert ours.is_variable == theirs.isVariable
    quantization = theirs.quantization
    if quantization is None or not as_tuple(quantization.scale):
        assert ours.quantization is None
    else:
        assert ours.quantization is not None
        assert ours.quantization.scale.dtype == np.float32
        assert ours.quantization.scale.tobytes() == np.asarray(quantization.scale, np.float32).tobytes()
        assert ours.quantization.zero_point.dtype == np.int64
        assert ours.quantization.zero_point.tolist() == list(quantization.zeroPoint)
        assert ours.quantization.axis == quantization.quantizedDimension
    raw = buffers[theirs.buffer].data
    if raw is None or len(raw) == 0:
        assert ours.data is None
    else:
        assert ours.data is not None
        assert ours.data.shape == ours.shape
        assert ours.data.dtype == np.dtype(ours.dtype)
        assert not ours.data.flags.writeable
        assert ours.data.flags.aligned
        assert ours.data.tobytes() == bytes(raw)


def check_signatures(ours: RawModel, theirs: oracle.ModelT) -> None:
    for signature, expected in zip(ours.signatures, theirs.signatureDefs or [], strict=True):
        assert signature.key == text(expected.signatureKey)
        assert signature.subgraph == expected.subgraphIndex
        for found, maps in ((signature.inputs, expected.inputs), (signature.outputs, expected.outputs)):
            assert list(found.items()) == [(text(entry.name), entry.tensorIndex) for entry in maps]


def expected_options(operator: oracle.OperatorT, op: str) -> dict[str, object]:
    """The options as the object API has them; of an absent table, its defaults."""
    builtin = tflite_schema.BuiltinOperator.__members__.get(op)
    if builtin not in tflite_schema.OPTIONS:
        return {}
    table = operator.builtinOptions or getattr(oracle, f"{option_table(op)}T")()
    fields = [field.name for field in tflite_schema.OPTIONS[builtin].fields]
    return {field: plain(field, getattr(table, camel_case(field))) for field in fields}


def plain(field: str, value: object) -> object:
    enumeration = option_enumeration(field)
    if enumeration is not None:
        return name_in(enumeration, value)
    if field in ("new_shape", "squeeze_dims"):
        return as_tuple(value)
    if field in ("container", "shared_name"):
        return text(value)
    return value


def check_against_oracle(data: bytes) -> None:
    ours = read_tflite(data, SOURCE)
    theirs = oracle.ModelT.InitFromPackedBuf(data, 0)
    assert ours.source == SOURCE
    assert (ours.version, ours.description) == (theirs.version, text(theirs.description))
    assert len(ours.subgraphs) == len(theirs.subgraphs)
    check_signatures(ours, theirs)
    for our_graph, their_graph in zip(ours.subgraphs, theirs.subgraphs, strict=True):
        assert our_graph.name == text(their_graph.name)
        assert our_graph.inputs == as_tuple(their_graph.inputs)
        assert our_graph.outputs == as_tuple(their_graph.outputs)
        for index, pair in enumerate(zip(our_graph.tensors, their_graph.tensors, strict=True)):
            check_tensor(index, *pair, theirs.buffers)
        operators = zip(our_graph.operators, their_graph.operators or [], strict=True)
        for index, (operator, expected) in enumerate(operators):
            code = theirs.operatorCodes[expected.opcodeIndex]
            op = name_in(oracle.BuiltinOperator, max(code.builtinCode, code.deprecatedBuiltinCode))
            assert operator.index == index
            assert operator.op == (f"CUSTOM:{text(code.customCode)}" if op == "CUSTOM" else op)
            assert operator.version == code.version
            assert operator.inputs == as_tuple(expected.inputs)
            assert operator.outputs == as_tuple(expected.outputs)
            assert operator.intermediates == as_tuple(expected.intermediates)
            if op == "CUSTOM":
                assert operator.options == {"custom_options": bytes(as_tuple(expected.customOptions))}
            else:
                assert operator.options == expected_options(expected, op)


@needs_shared_models
@pytest.mark.parametrize("path", shared_model_files(), ids=lambda path: path.stem)
def test_shared_models_read_as_the_schemas_object_api_reads_them(path: Path) -> None:
    check_against_oracle(path.read_bytes())


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_built_models_read_as_the_schemas_object_api_reads_them(name: str) -> None:
    check_against_oracle(SMALL_MODELS[name]())


@pytest.mark.parametrize(
    "enumeration",
    [
        tflite_schema.BuiltinOperator,
        tflite_schema.TensorType,
        tflite_schema.Padding,
        tflite_schema.ActivationFunctionType,
        tflite_schema.FullyConnectedOptionsWeightsFormat,
        tflite_schema.MirrorPadMode,
    ],
)
def test_enumerations_are_the_schemas(enumeration: type[IntEnum]) -> None:
    theirs = {name: value for name, value in vars(getattr(oracle, enumeration.__name__)).items() if name[0] != "_"}
    assert {member.name: member.value for member in enumeration} == theirs


@pytest.mark.parametrize("op", tflite_schema.OPTIONS, ids=lambda op: op.name)
def test_option_tables_have_the_schemas_number_and_fields(op: tflite_schema.BuiltinOperator) -> None:
    deliberately_unread = {"quantSpec", "newHeight", "newWidth"}
    table = tflite_schema.OPTIONS[op]
    assert option_table(op.name) == table.name
    assert getattr(oracle.BuiltinOptions, table.name) == table.number
    fields = {camel_case(field.name) for field in table.fields}
    assert fields == set(vars(getattr(oracle, f"{table.name}T")())) - deliberately_unread


# --- round trips -----------------------------------------------------------------------------------------------------

OPTION_VALUES: Mapping[str, st.SearchStrategy[object]] = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "bool": st.booleans(),
    "float32": st.floats(width=32, allow_nan=False),
    "string": st.text(max_size=20).filter(lambda value: "\0" not in value),
    "int32s": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6).map(tuple),
}


@st.composite
def option_sets(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """An operator, with some of its options given."""
    op = draw(st.sampled_from(list(tflite_schema.OPTIONS)))
    options = {}
    for field in tflite_schema.OPTIONS[op].fields:
        if draw(st.booleans()):
            enumerated = not isinstance(field.kind, str)
            values = st.sampled_from(list(field.kind.__members__)) if enumerated else OPTION_VALUES[field.kind]
            options[field.name] = draw(values)
    return op.name, options


@settings(max_examples=300)
@given(option_sets())
def test_options_survive_the_round_trip(chosen: tuple[str, dict[str, object]]) -> None:
    op, options = chosen
    read = read_tflite(build_case(Case("x", op, (), (), options)), SOURCE).subgraphs[0].operators[0]
    defaults = expected_options(oracle.OperatorT(), op)
    assert read.op == op
    assert read.options == {**defaults, **options}


@pytest.mark.parametrize("op", tflite_schema.OPTIONS, ids=lambda op: op.name)
def test_absent_option_table_means_defaults(op: tflite_schema.BuiltinOperator) -> None:
    model = build_object([], [(op.name, [], [], {})], [], [])
    operator = model.subgraphs[0].operators[0]
    operator.builtinOptionsType, operator.builtinOptions = 0, None
    read = read_tflite(pack(model), SOURCE).subgraphs[0].operators[0]
    assert read.options == expected_options(oracle.OperatorT(), op.name)


NUMPY_TYPES = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 bool complex64 complex128"


@pytest.mark.parametrize("dtype", NUMPY_TYPES.split())
def test_constants_of_every_numpy_type(dtype: str) -> None:
    data = np.arange(6).reshape(2, 3).astype(dtype)
    read = read_tflite(build_model([CaseTensor((2, 3), dtype, data=data)], [], [], []), SOURCE).subgraphs[0].tensors[0]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.data, data, strict=True)


@pytest.mark.parametrize(("dtype", "size"), [("int4", 8), ("uint4", 8), ("int2", 4), ("bfloat16", 30), ("string", 11)])
def test_constants_that_numpy_has_no_type_for_stay_bytes(dtype: str, size: int) -> None:
    model = build_object([CaseTensor((3, 5), dtype)], [], [], [])
    raw = np.arange(size, dtype=np.uint8)
    model.buffers.append(oracle.BufferT(data=raw))
    model.subgraphs[0].tensors[0].buffer = 1
    read = read_tflite(pack(model), SOURCE).subgraphs[0].tensors[0]
    assert (read.dtype, read.shape) == (dtype, (3, 5))
    np.testing.assert_array_equal(read.data, raw, strict=True)


def test_bool_bytes_beyond_one_are_true() -> None:
    model = build_object([CaseTensor((3,), "bool")], [], [], [])
    model.buffers.append(oracle.BufferT(data=np.array([0, 1, 200], np.uint8)))
    model.subgraphs[0].tensors[0].buffer = 1
    read = read_tflite(pack(model), SOURCE).subgraphs[0].tensors[0]
    assert read.data is not None and read.data.tobytes() == b"\0\1\1"


def test_data_behind_the_flatbuffer() -> None:
    model = build_object([CaseTensor((4,), "int16")], [], [], [])
    model.buffers.append(oracle.BufferT(offset=2, size=8))
    model.subgraphs[0].tensors[0].buffer = 1
    inner = len(pack(model))
    model.buffers[1].offset = inner + 1  # on purpose where no int16 is aligned
    values = np.array([1, -2, 3, -4], "<i2")
    read = read_tflite(pack(model) + b"\0" + values.tobytes(), SOURCE).subgraphs[0].tensors[0]
    assert read.data is not None and read.data.flags.aligned
    np.testing.assert_array_equal(read.data, values)


@pytest.mark.parametrize("large", [False, True])
def test_custom_options(large: bool) -> None:
    model = build_object([], [("CUSTOM:detect", [], [], {})], [], [])
    operator, tail = model.subgraphs[0].operators[0], b""
    if large:
        operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = 2, 5
        operator.largeCustomOptionsOffset, tail = len(pack(model)), b"hello"
    else:
        operator.customOptions = list(b"hello")
    read = read_tflite(pack(model) + tail, SOURCE).subgraphs[0].operators[0]
    assert (read.op, read.options) == ("CUSTOM:detect", {"custom_options": b"hello"})


def test_numbers_and_bytes_that_are_unknown_still_have_names() -> None:
    model = conv_object()
    model.operatorCodes[0].builtinCode = 999
    model.subgraphs[0].tensors[0].name = b"caf\xe9"
    graph = read_tflite(pack(model), SOURCE).subgraphs[0]
    assert (graph.operators[0].op, dict(graph.operators[0].options)) == ("BUILTIN_999", {})
    assert graph.tensors[0].name == "caf\N{REPLACEMENT CHARACTER}"


def test_old_files_have_operator_numbers_in_the_deprecated_field_only() -> None:
    model = conv_object()
    model.operatorCodes[0].builtinCode = 0
    assert read_tflite(pack(model), SOURCE).subgraphs[0].operators[0].op == "CONV_2D"


def test_scales_without_zero_points_have_zeros_and_no_scales_mean_no_quantisation() -> None:
    model = conv_object()
    model.subgraphs[0].tensors[1].quantization.zeroPoint = []
    model.subgraphs[0].tensors[2].quantization.scale = []
    tensors = read_tflite(pack(model), SOURCE).subgraphs[0].tensors
    assert tensors[1].quantization is not None and tensors[1].quantization.zero_point.tolist() == [0, 0, 0]
    assert tensors[2].quantization is None


def test_variables_are_marked() -> None:
    data = build_model([CaseTensor((1,)), CaseTensor((1,))], [], [], [], variables={1})
    assert [tensor.is_variable for tensor in read_tflite(data, SOURCE).subgraphs[0].tensors] == [False, True]


# --- the original runtime accepts what the builder writes ------------------------------------------------------------

ROW = CaseTensor((1, 8), scale=0.1)
RUNNABLE = [
    conv_case(),
    Case(
        "depthwise",
        "DEPTHWISE_CONV_2D",
        (
            CaseTensor((1, 4, 4, 2), scale=0.1),
            CaseTensor((1, 3, 3, 2), scale=(0.1, 0.2), axis=3, data=np.ones((1, 3, 3, 2), np.int8)),
            CaseTensor((2,), "int32", scale=(0.01, 0.02), data=np.array([1, 2], np.int32)),
        ),
        (CaseTensor((1, 4, 4, 2), scale=0.5),),
        {"padding": "SAME", "stride_h": 1, "stride_w": 1, "depth_multiplier": 1},
    ),
    Case(
        "dense",
        "FULLY_CONNECTED",
        (ROW, CaseTensor((3, 8), scale=0.05, data=np.ones((3, 8), np.int8)), None),
        (CaseTensor((1, 3), scale=0.2),),
    ),
    Case("add", "ADD", (ROW, ROW), (CaseTensor((1, 8), scale=0.2),), {"fused_activation_function": "RELU"}),
    Case("softmax", "SOFTMAX", (ROW,), (CaseTensor((1, 8), scale=1 / 256, zero_point=-128),), {"beta": 1.0}),
    Case("quantize", "QUANTIZE", (CaseTensor((1, 8), "float32"),), (ROW,)),
]


@pytest.mark.parametrize("case", RUNNABLE, ids=lambda case: case.name)
def test_the_original_runtime_runs_built_cases(case: Case) -> None:
    interpreter = runtime.Interpreter.from_bytes(build_case(case), arena_size=1 << 20)
    inputs = [tensor for tensor in case.inputs if tensor is not None and tensor.data is None]
    for index, tensor in enumerate(inputs):
        interpreter.set_input(np.ones(tensor.shape, tensor.dtype), index)
    interpreter.invoke()
    assert interpreter.get_output(0).shape == case.outputs[0].shape


# --- broken files ----------------------------------------------------------------------------------------------------


def refused(data: bytes) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        read_tflite(data, SOURCE)
    assert caught.value.message.startswith(f"{SOURCE}: ")
    assert caught.value.remedy
    return caught.value


FOREIGN = {
    "empty": (b"", "empty (0 bytes)"),
    "short": (b"\x1c\0\0\0TF", "6 bytes, too few"),
    "zip": (b"PK\x03\x04" + bytes(60), "a zip archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(60), "a gzip archive"),
    "onnx": (b"\x08\x08\x12\x07pytorch" + bytes(60), "an ONNX model"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
    "html": (b"<!DOCTYPE html><html></html>", "a web page"),
    "c": (b"const unsigned char g_model[] = {0x1c, 0x00, 0x00, 0x00};", "C source"),
    "text": (b"hello, this is not a model", "text"),
    "other schema": (b"\x1c\0\0\0TFL2" + bytes(60), "another version of the schema than TFL3"),
    "other flatbuffer": (b"\x1c\0\0\0ARRO" + bytes(60), "identifier TFL3 missing: bytes 4 to 7 are b'ARRO'"),
    "zeros": (bytes(64), "identifier TFL3 missing"),
    "header only": (b"\x1c\0\0\0TFL3", "root table: table of 4 bytes lies outside the file, at byte 28 of 8"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_recognised(name: str) -> None:
    data, fragment = FOREIGN[name]
    assert fragment in refused(data).message


@needs_shared_models
@pytest.mark.parametrize("path", shared_model_files(".onnx"), ids=lambda path: path.stem)
def test_onnx_models_are_recognised(path: Path) -> None:
    assert "an ONNX model" in refused(path.read_bytes()).message


def graph_of(model: oracle.ModelT) -> oracle.SubGraphT:
    return model.subgraphs[0]


def tensor_of(model: oracle.ModelT, index: int) -> oracle.TensorT:
    return model.subgraphs[0].tensors[index]


def operator_of(model: oracle.ModelT) -> oracle.OperatorT:
    return model.subgraphs[0].operators[0]


def has_wrong_options(model: oracle.ModelT) -> None:
    operator_of(model).builtinOptionsType = oracle.BuiltinOptions.Pool2DOptions
    operator_of(model).builtinOptions = oracle.Pool2DOptionsT()


def has_data_in_buffer_0(model: oracle.ModelT) -> None:
    model.buffers[0].data = np.zeros(5, np.uint8)


def has_second_graph_out_of_range(model: oracle.ModelT) -> None:
    model.subgraphs.append(oracle.SubGraphT(outputs=[0], tensors=[]))


def has_buffer_outside(model: oracle.ModelT) -> None:
    model.buffers[1] = oracle.BufferT(offset=2**63, size=24)


def sets(owner: Callable[[oracle.ModelT], object], **values: object) -> Callable[[oracle.ModelT], None]:
    def apply(model: oracle.ModelT) -> None:
        for name, value in values.items():
            setattr(owner(model), name, value)

    return apply


def weights(model: oracle.ModelT) -> oracle.TensorT:
    return tensor_of(model, 1)


def quantization(model: oracle.ModelT) -> oracle.QuantizationParametersT:
    return tensor_of(model, 1).quantization


def has_signature_of_unknown_tensor(model: oracle.ModelT) -> None:
    add_signature(model, "serve", {"audio": 0}, {"scores": 4})


def has_signature_of_unknown_graph(model: oracle.ModelT) -> None:
    add_signature(model, "serve", {}, {})
    model.signatureDefs[0].subgraphIndex = 1


BROKEN = [
    (has_signature_of_unknown_tensor, "signature 'serve': outputs 'scores' is tensor 4, but the graph has 4 tensors"),
    (has_signature_of_unknown_graph, "signature 'serve': it names subgraph 1, but there are 1"),
    (sets(lambda model: model, version=2), "schema version 2; only version 3 is known"),
    (sets(lambda model: model, subgraphs=[]), "the model has no subgraphs"),
    (sets(lambda model: model, subgraphs=None), "the model has no subgraphs"),
    (sets(lambda model: model.operatorCodes[0], builtinCode=-3, deprecatedBuiltinCode=-1), "number is -1, less than 0"),
    (sets(graph_of, inputs=[4]), "graph: inputs[0] is tensor 4, but the graph has 4 tensors, from 0 on"),
    (sets(graph_of, outputs=[3, -1]), "graph: outputs[1] is tensor -1, but the graph has 4 tensors"),
    (sets(operator_of, opcodeIndex=7), "operator 0: it has operator code 7, but there are 1"),
    (sets(operator_of, inputs=[0, 1, -2]), "operator 0 (CONV_2D): inputs[2] is tensor -2, but the graph has 4 tensors"),
    (sets(operator_of, outputs=[-1]), "operator 0 (CONV_2D): outputs[0] is tensor -1"),
    (sets(operator_of, intermediates=[99]), "operator 0 (CONV_2D): intermediates[0] is tensor 99"),
    (sets(lambda model: operator_of(model).builtinOptions, padding=9), "padding is 9; Padding goes from 0 to 1"),
    (has_wrong_options, "operator 0 (CONV_2D): it has Pool2DOptions, but it takes Conv2DOptions"),
    (sets(weights, type=99), "tensor 1 (tensor1): type is 99; TensorType goes from 0 to 22"),
    (sets(weights, shape=[3, 2, 2, 3]), "its buffer has 24 bytes, but int8 of shape (3, 2, 2, 3) takes 36"),
    (sets(weights, shape=[3, -2, 2, 2]), "its shape (3, -2, 2, 2) has a negative dimension"),
    (sets(weights, shape=[1] * 9), "it has 9 dimensions, more than 8"),
    (sets(weights, shape=[2**20, 2**20, 2]), "takes 2199023255552 bytes, more than 1099511627776"),
    (sets(weights, shapeSignature=[-1, 2]), "its shape_signature has 2 dimensions, its shape 4"),
    (sets(weights, shapeSignature=[-1, 2, 2, -2]), "has a dimension below -1"),
    (sets(weights, buffer=9), "tensor 1 (tensor1): it has buffer 9, but there are 3 buffers"),
    (sets(weights, externalBuffer=1), "stored in another file"),
    (sets(weights, sparsity=oracle.SparsityParametersT()), "stored sparse"),
    (sets(weights, name="a\n" + 200 * "b", buffer=9), "tensor 1 (a?" + 78 * "b" + "...): it has buffer 9"),
    (has_data_in_buffer_0, "tensor 0 (tensor0): it has buffer 0, which must be empty but holds 5 bytes"),
    (has_buffer_outside, "buffers[1].data: data of 24 bytes lies outside the file, at byte 9223372036854775808"),
    (sets(quantization, scale=[0.1, 0.0, 0.2]), "tensor 1 (tensor1): scale[1] is 0.0; scales must be finite"),
    (sets(quantization, scale=[0.1, 0.2, np.nan]), "scale[2] is nan"),
    (sets(quantization, scale=[-1.0, 0.2, np.inf]), "scale[0] is -1.0"),
    (sets(quantization, scale=[1.0, 0.2, np.inf]), "scale[2] is inf"),
    (sets(quantization, zeroPoint=[0, 0]), "it has 3 scales and 2 zero points"),
    (sets(quantization, quantizedDimension=4), "it is quantised along axis 4, but its shape is (3, 2, 2, 2)"),
    (sets(quantization, quantizedDimension=-1), "it is quantised along axis -1"),
    (sets(quantization, quantizedDimension=2), "it has 3 scales for the 2 indices of axis 2"),
    (
        sets(quantization, detailsType=1, details=oracle.CustomQuantizationT()),
        "its quantisation is custom, blockwise or along several axes",
    ),
    (has_second_graph_out_of_range, "subgraph 1, graph: outputs[0] is tensor 0, but the graph has 0 tensors"),
]


@pytest.mark.parametrize(("breaks", "fragment"), BROKEN, ids=[fragment for _, fragment in BROKEN])
def test_messages_name_place_value_and_limit(breaks: Callable[[oracle.ModelT], None], fragment: str) -> None:
    model = conv_object()
    breaks(model)
    assert fragment in refused(pack(model)).message


def test_a_vector_beyond_the_end_is_named_with_its_byte() -> None:
    data = bytearray(build_case(conv_case()))
    at = data.index(struct.pack("<I4i", 4, 3, 2, 2, 2))
    data[at : at + 4] = struct.pack("<I", 0x40000000)
    what = f"shape: vector of 1073741824 items (4294967296 bytes) runs past the end of the file, at byte {at} of"
    assert f"subgraphs[0].tensors[1].{what}" in refused(bytes(data)).message


# --- hostile files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_truncation_at_every_byte(name: str) -> None:
    data = SMALL_MODELS[name]()
    for size in range(len(data)):
        refused(data[:size])


@needs_shared_models
@pytest.mark.parametrize(
    "path", [path for path in shared_model_files() if path.stat().st_size > 50_000], ids=lambda path: path.stem
)
def test_truncation_of_large_models(path: Path) -> None:
    data = path.read_bytes()
    sizes = random.Random(1).sample(range(len(data) - 16), 40)  # the last few bytes can be padding, which holds nothing
    for size in [*sizes, len(data) - 16]:
        refused(data[:size])


INTERESTING = [0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with one to four things wrong."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(result))
        match rng.randrange(4):
            case 0:
                result[at] ^= 1 << rng.randrange(8)
            case 1:
                result[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                at = min(at & ~3, len(result) - 4)
                value = rng.choice([*INTERESTING, len(result), len(result) - 4, len(result) - at, -at, at])
                result[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
            case _:
                size = rng.randint(1, 32)
                other = rng.randrange(len(result))
                first, second = result[at : at + size], result[other : other + size]
                result[other : other + len(first)], result[at : at + len(second)] = first, second
    return bytes(result)


def check_sane(model: RawModel) -> None:
    """What holds of everything that is read without complaint."""
    assert model.subgraphs
    for signature in model.signatures:
        named = {*signature.inputs.values(), *signature.outputs.values()}
        assert named <= set(range(len(model.subgraphs[signature.subgraph].tensors)))
    for graph in model.subgraphs:
        valid = range(len(graph.tensors))
        assert all(tensor in valid for tensor in (*graph.inputs, *graph.outputs))
        for tensor in graph.tensors:
            assert len(tensor.shape) <= 8 and all(dimension >= 0 for dimension in tensor.shape)
            if tensor.quantization is not None:
                scale = tensor.quantization.scale
                assert len(scale) == len(tensor.quantization.zero_point)
                assert np.all(np.isfinite(scale)) and np.all(scale > 0)
                assert len(scale) == 1 or len(scale) == tensor.shape[tensor.quantization.axis]
            if tensor.data is not None:
                assert not tensor.data.flags.writeable
                assert tensor.data.shape == tensor.shape or tensor.data.dtype == np.uint8
        for operator in graph.operators:
            assert all(tensor in valid for tensor in operator.outputs)
            assert all(tensor == -1 or tensor in valid for tensor in operator.inputs)


def fuzz(data: bytes, count: int, seed: int) -> int:
    """Read `count` mutations; return how many were still models."""
    rng = random.Random(seed)
    models = 0
    for _ in range(count):
        damaged = mutated(data, rng)
        try:
            check_sane(read_tflite(damaged, SOURCE))
            models += 1
        except InvalidModel as error:
            assert error.message.startswith(f"{SOURCE}: ")
    return models


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_mutations_are_models_or_refused(name: str) -> None:
    count = 10_000
    models = fuzz(SMALL_MODELS[name](), count, seed=1)
    assert 0 < models < count  # else the mutations are too strong or too weak to say anything


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_many_mutations_are_models_or_refused(name: str) -> None:
    assert fuzz(SMALL_MODELS[name](), 100_000, seed=2)


def aliasing_file(count: int, dtype: int, data_size: int) -> bytes:
    """A file of a model whose `count` tensors are one and the same table, name, shape and buffer."""
    builder = flatbuffers.Builder(1024)
    data = builder.CreateByteVector(bytes(data_size))
    oracle.BufferStart(builder)
    oracle.BufferAddData(builder, data)
    full = oracle.BufferEnd(builder)
    oracle.BufferStart(builder)
    empty = oracle.BufferEnd(builder)
    oracle.ModelStartBuffersVector(builder, 2)
    builder.PrependUOffsetTRelative(full)
    builder.PrependUOffsetTRelative(empty)
    buffers = builder.EndVector()
    shape = builder.CreateNumpyVector(np.array([data_size], np.int32))
    name = builder.CreateString(data_size * "n")
    oracle.TensorStart(builder)
    oracle.TensorAddShape(builder, shape)
    oracle.TensorAddName(builder, name)
    oracle.TensorAddType(builder, dtype)
    oracle.TensorAddBuffer(builder, 1)
    tensor = oracle.TensorEnd(builder)
    oracle.SubGraphStartTensorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    oracle.SubGraphStart(builder)
    oracle.SubGraphAddTensors(builder, tensors)
    graph = oracle.SubGraphEnd(builder)
    oracle.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    subgraphs = builder.EndVector()
    oracle.ModelStart(builder)
    oracle.ModelAddVersion(builder, 3)
    oracle.ModelAddSubgraphs(builder, subgraphs)
    oracle.ModelAddBuffers(builder, buffers)
    builder.Finish(oracle.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("dtype", ["INT8", "BOOL"])
@pytest.mark.parametrize(("count", "data_size"), [(20_000, 100_000), (50_000, 4)])
def test_work_is_bounded_by_the_size_of_the_file(count: int, data_size: int, dtype: str) -> None:
    # Read without a limit, the first of these would make 2 GB of names.
    data = aliasing_file(count, getattr(oracle.TensorType, dtype), data_size)
    start = time.process_time()
    tracemalloc.start()
    try:
        message = refused(data).message
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "share their bytes" in message
    assert peak < 128 * len(data)  # a table of 8 bytes becomes a Python object of several hundred
    assert time.process_time() - start < 10


def test_objects_that_a_writer_shares_are_read() -> None:
    assert len(read_tflite(aliasing_file(5, oracle.TensorType.INT8, 16), SOURCE).subgraphs[0].tensors) == 5
