"""The TensorFlow Lite reader against the schema's own object API, and the tests' builder against the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import needs_shared_models, shared_model_files
from tflite_builder import (
    build_case,
    build_model,
    build_object,
    camel_case,
    option_enumeration,
    option_table,
    pack,
)
from tflite_files import SMALL_MODELS, SOURCE, conv_case, conv_object
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as oracle

from tinygen.importers import tflite_schema
from tinygen.importers.tflite_file import RawModel, RawTensor, read_tflite
from tinygen.ops.case import Case, CaseTensor

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
