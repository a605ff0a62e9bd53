"""Broken and hostile TensorFlow Lite files: refused with place, value and limit, after work that their size bounds."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from shared import needs_shared_models, shared_model_files
from tflite_builder import add_signature, build_case, pack
from tflite_files import SMALL_MODELS, SOURCE, conv_case, conv_object, refused
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as oracle

from tinygen.errors import InvalidModel
from tinygen.importers.tflite_file import RawModel, read_tflite

# --- broken files ----------------------------------------------------------------------------------------------------

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
