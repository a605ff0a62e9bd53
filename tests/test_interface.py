"""Inputs and outputs other than the file's: integers for float32 and uint8 (--io int8), and other batches (--batch)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from building import DIGITS, Built, assert_exact, build_read, differences, host, varied
from shared import needs_shared_models, shared_models
from tflite_builder import OperatorSpec, build_model, build_object, pack
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from tinygen import pipeline, reference
from tinygen.errors import CannotCompare, UnsupportedModel, UsageError
from tinygen.ir import Array
from tinygen.ops.case import CaseTensor
from tinygen.options import Options
from tinygen.runtimes import RUNTIMES
from tinygen.samples import Sample

SAMPLES = 6
INT8 = Options(io="int8")

FLOAT = CaseTensor((1, 6), "float32")
UINT8 = CaseTensor((1, 6), "uint8", 0.1, 131)
X = CaseTensor((1, 6), "int8", 0.1, 3)
Y = CaseTensor((1, 6), "int8", 0.2, -7)
WIDE = CaseTensor((1, 6), "int16", 0.001, 0)
WIDE_SUM = CaseTensor((1, 6), "int16", 0.002, 0)
SUM: OperatorSpec = ("ADD", [1, 1], [2], {})


def read(data: bytes, folder: Path, options: Options) -> pipeline.Model:
    path = folder / "net.tflite"
    path.write_bytes(data)
    return pipeline.read(path, options)


def build(data: bytes, folder: Path, options: Options) -> Built:
    return build_read(read(data, folder, options), folder / "out", "net")


def chain(first: CaseTensor, x: CaseTensor, y: CaseTensor, last: CaseTensor) -> bytes:
    """x = QUANTIZE(first), y = x + x, last = DEQUANTIZE(y) or QUANTIZE(y)."""
    leave = "DEQUANTIZE" if last.dtype == "float32" else "QUANTIZE"
    return build_model([first, x, y, last], [("QUANTIZE", [0], [1], {}), SUM, (leave, [2], [3], {})], [0], [3])


# --- integers at the edges -------------------------------------------------------------------------------------------

CHAINS = {
    "float to float": (FLOAT, X, Y, FLOAT),
    "float to uint8": (FLOAT, X, Y, UINT8),
    "uint8 to uint8": (UINT8, X, Y, UINT8),
    "uint8 to uint8 of another scale": (UINT8, X, Y, CaseTensor((1, 6), "uint8", 0.7, 3)),
    "int16": (FLOAT, WIDE, WIDE_SUM, FLOAT),
    "one scale for both": (
        FLOAT,
        CaseTensor((1, 6), "int8", 3e-38, -128),
        CaseTensor((1, 6), "int8", 6e-38, 127),
        FLOAT,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_edges_become_the_integers_behind_them(name: str, tmp_path: Path) -> None:
    first, x, y, last = CHAINS[name]
    built = build(chain(first, x, y, last), tmp_path, INT8)
    assert [layer.op for layer in built.manifest.layers] == ["ADD"]
    (given,), (found,) = built.manifest.inputs, built.manifest.outputs
    assert (given.dtype, np.float32(given.scale), given.zero_point) == (x.dtype, np.float32(x.scale), x.zero_point)
    assert (found.dtype, np.float32(found.scale), found.zero_point) == (y.dtype, np.float32(y.scale), y.zero_point)
    low, high = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
    rows = np.arange(low, high + 1)
    every = np.resize(rows, (-(-rows.size // 6), 1, 6)).astype(x.dtype)[: 50 if x.dtype == "int8" else 200]
    assert_exact(built, [*varied(built, SAMPLES), *(Sample(f"all {i}", (row,)) for i, row in enumerate(every))])


@pytest.mark.parametrize("name", CHAINS)
def test_edges_stay_by_default(name: str, tmp_path: Path) -> None:
    first, _, _, last = CHAINS[name]
    built = build(chain(*CHAINS[name]), tmp_path, Options())
    assert (built.manifest.inputs[0].dtype, built.manifest.outputs[0].dtype) == (first.dtype, last.dtype)
    assert len(built.manifest.layers) == 3


def test_what_quantises_twice_becomes_one_input(tmp_path: Path) -> None:
    quantize = [("QUANTIZE", [0], [1], {}), ("QUANTIZE", [0], [2], {})]
    model = build_model([FLOAT, X, X, Y], [*quantize, ("ADD", [1, 2], [3], {})], [0], [3])
    built = build(model, tmp_path, INT8)
    assert [layer.op for layer in built.manifest.layers] == ["ADD"]
    assert_exact(built, varied(built, SAMPLES))


def test_a_float_output_that_is_read_again_keeps_its_readers(tmp_path: Path) -> None:
    operators = [("DEQUANTIZE", [0], [1], {}), ("QUANTIZE", [1], [2], {}), ("ADD", [0, 2], [3], {})]
    built = build(
        build_model([X, FLOAT, X, Y, FLOAT], [*operators, ("DEQUANTIZE", [3], [4], {})], [0], [4]), tmp_path, INT8
    )
    assert [layer.op for layer in built.manifest.layers] == ["DEQUANTIZE", "QUANTIZE", "ADD"]
    assert_exact(built, varied(built, SAMPLES))


def test_integers_stay_what_they_are(tmp_path: Path) -> None:
    path = DIGITS / "digits.tflite"
    plain, stripped = pipeline.read(path).graph, pipeline.read(path, INT8).graph
    assert (plain.inputs, plain.outputs, len(plain.nodes)) == (stripped.inputs, stripped.outputs, len(stripped.nodes))


def quantised(*tensors: CaseTensor) -> bytes:
    """Each tensor after the first is its QUANTIZE; the last is an ADD of the second."""
    count = len(tensors) - 1
    operators: list[OperatorSpec] = [("QUANTIZE", [0], [i], {}) for i in range(1, count)]
    return build_model(tensors, [*operators, ("ADD", [1, count - 1], [count], {})], [0], [count])


def moved(x: CaseTensor, y: CaseTensor) -> bytes:
    return build_model(
        [x, y, X, Y], [("RESHAPE", [0], [1], {}), ("QUANTIZE", [1], [2], {}), ("ADD", [2, 2], [3], {})], [0], [3]
    )


NOT_STRIPPED = {
    "quantised with several scales": quantised(FLOAT, X, dataclasses.replace(X, scale=0.3), Y),
    "node 0 (tensor1) RESHAPE reads it": moved(FLOAT, FLOAT),
    "node 0 (tensor1) QUANTIZE does not reach every int8": chain(dataclasses.replace(UINT8, scale=0.3), X, Y, Y),
    "node 1 (tensor2) RESHAPE writes it": build_model(
        [X, FLOAT, FLOAT], [("DEQUANTIZE", [0], [1], {}), ("RESHAPE", [1], [2], {})], [0], [2]
    ),
    "no operator reads it": build_model([FLOAT, X, Y], [("ADD", [1, 1], [2], {})], [0, 1], [2]),
    "there is nothing between them": build_model(
        [FLOAT, X, FLOAT], [("QUANTIZE", [0], [1], {}), ("DEQUANTIZE", [1], [2], {})], [0], [2]
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", NOT_STRIPPED)
def test_what_cannot_be_stripped_is_refused_in_words(reason: str, tmp_path: Path) -> None:
    read(NOT_STRIPPED[reason], tmp_path, Options())
    with pytest.raises(UnsupportedModel) as caught:
        read(NOT_STRIPPED[reason], tmp_path, INT8)
    assert reason in caught.value.message
    assert "--io int8" in caught.value.message


def test_all_that_cannot_be_stripped_is_listed(tmp_path: Path) -> None:
    model = build_model([FLOAT, FLOAT], [("RESHAPE", [0], [1], {})], [0], [1])
    with pytest.raises(UnsupportedModel) as caught:
        read(model, tmp_path, INT8)
    assert [problem.node for problem in caught.value.problems] == ["the input 'tensor0'", "the output 'tensor1'"]


STRIPPED_MODELS = (
    ("mltk/rock_paper_scissors", ("int8", "int8")),
    ("esphome/vad_v2", ("int8", "int8")),
    ("esphome/hey_jarvis_v1", ("int8", "int8")),
)


@needs_shared_models
@pytest.mark.parametrize(("name", "dtypes"), STRIPPED_MODELS)
def test_shared_models_are_exact_without_their_edges(name: str, dtypes: tuple[str, str], tmp_path: Path) -> None:
    built = shared(name, tmp_path, INT8)
    assert (built.manifest.inputs[0].dtype, built.manifest.outputs[0].dtype) == dtypes
    assert not {"QUANTIZE", "DEQUANTIZE"} & {layer.op for layer in built.manifest.layers}
    assert_exact(built, varied(built, SAMPLES))


def shared(name: str, tmp_path: Path, options: Options) -> Built:
    models = shared_models()
    assert models is not None
    return build_read(pipeline.read(models / f"{name}.tflite", options), tmp_path / "out", "net")


# --- batches ---------------------------------------------------------------------------------------------------------

BATCHED = (
    ("mlperf/kws_ds_cnn", 3),
    ("mlperf/ad_autoencoder", 4),
    ("mlperf/ic_resnet8", 2),
    ("mlperf/sww_streaming_wakeword", 2),
    ("mltk/keyword_spotting_mobilenetv2", 2),
    ("tflm/hello_world_int8", 5),
)


def rows_of(graph_inputs: Sequence[Array], batch: int) -> list[list[Array]]:
    return [[array[row : row + 1] for array in graph_inputs] for row in range(batch)]


def assert_as_many_inferences(built: Built, single: pipeline.Model, batch: int) -> None:
    """The reference of a batch is that of its rows, in both senses."""
    for sample in varied(built, 3)[2:]:
        (found,) = reference.outputs(built.model.graph, sample.arrays)
        expected = [reference.outputs(single.graph, row)[0] for row in rows_of(sample.arrays, batch)]
        assert found.shape[0] == batch
        assert np.array_equal(found, np.concatenate(expected))


@needs_shared_models
@pytest.mark.parametrize(("name", "batch"), BATCHED)
def test_a_batch_is_as_many_inferences(name: str, batch: int, tmp_path: Path) -> None:
    models = shared_models()
    assert models is not None
    built = shared(name, tmp_path, Options(batch=batch))
    assert_as_many_inferences(built, pipeline.read(models / f"{name}.tflite"), batch)
    assert_exact(built, varied(built, 3))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_batch_of_digits(batch: int, tmp_path: Path) -> None:
    digits = (DIGITS / "digits.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(digits))
    for tensor in model.subgraphs[0].tensors:  # the file fixes the batch
        if list(tensor.shape)[:1] == [1] and model.buffers[tensor.buffer].data is None:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
    built = build(pack(model), tmp_path, Options(batch=batch))
    assert built.manifest.inputs[0].shape == (batch, 8, 8, 1)
    assert built.manifest.batch == batch
    assert_as_many_inferences(built, pipeline.read(DIGITS / "digits.tflite"), batch)
    assert_exact(built, varied(built, SAMPLES))


def open_batch(
    tensors: Sequence[CaseTensor],
    operators: Sequence[OperatorSpec],
    inputs: Sequence[int],
    outputs: Sequence[int],
    opened: Sequence[int],
    axis: int = 0,
) -> bytes:
    """A model, some of whose tensors have an open dimension."""
    model = build_object(tensors, operators, inputs, outputs)
    for index in opened:
        shape = list(tensors[index].shape)
        shape[axis] = -1
        model.subgraphs[0].tensors[index].shapeSignature = shape
    return pack(model)


SHAPE_OF_ONE = CaseTensor((2,), "int32", data=np.array([1, 6], np.int32))
CUBE = CaseTensor((1, 2, 6), "int8", 0.1, 3)


def test_a_layer_that_does_not_carry_the_batch_is_named(tmp_path: Path) -> None:
    """The converter wrote a batch of one into a RESHAPE."""
    data = open_batch([CUBE, dataclasses.replace(X, shape=(2, 6))], [("RESHAPE", [0], [1], {})], [0], [1], [0])
    assert read(data, tmp_path, Options()).graph.nodes
    with pytest.raises(UnsupportedModel, match="RESHAPE") as caught:
        read(data, tmp_path, Options(batch=3))
    assert "cannot be built with --batch 3. Without, it can" in caught.value.remedy


def test_what_has_nothing_to_do_with_the_batch_is_not_blamed_on_it(tmp_path: Path) -> None:
    data = open_batch([X, Y], [("GELU", [0], [1], {})], [0], [1], [0, 1])
    with pytest.raises(UnsupportedModel, match="GELU") as caught:
        read(data, tmp_path, Options(batch=3))
    assert "batch" not in str(caught.value)


def test_a_batch_in_the_shapes_of_several_dimensions_grows_with_it(tmp_path: Path) -> None:
    """(1, 2, 6) to (2, 6) to (1, 12), all open in the file."""
    flat, row = dataclasses.replace(X, shape=(2, 6)), dataclasses.replace(X, shape=(1, 12))
    operators: list[OperatorSpec] = [("RESHAPE", [0], [1], {}), ("ABS", [1], [2], {}), ("RESHAPE", [2], [3], {})]
    data = open_batch([CUBE, flat, flat, row], operators, [0], [3], range(4))
    built = build(data, tmp_path, Options(batch=3))
    assert [built.model.graph.tensors[f"tensor{i}"].shape for i in range(4)] == [(3, 2, 6), (6, 6), (6, 6), (3, 12)]
    assert_as_many_inferences(built, read(data, tmp_path, Options()), 3)
    assert_exact(built, varied(built, SAMPLES))


def test_a_fixed_batch_is_only_its_own(tmp_path: Path) -> None:
    pair = dataclasses.replace(X, shape=(2, 6))
    data = build_model([pair, pair], [("ADD", [0, 0], [1], {})], [0], [1])
    for options in (Options(), Options(batch=2)):
        built = build(data, tmp_path, options)
        assert_exact(built, varied(built, 3))
    with pytest.raises(UnsupportedModel) as caught:
        read(data, tmp_path, Options(batch=3))
    assert "the file fixes their shape, (2, 6): it cannot be built with --batch 3" in caught.value.message


def test_a_batch_of_a_file_without_one_is_refused_in_words(tmp_path: Path) -> None:
    empty = dataclasses.replace(X, shape=(0, 6))
    with pytest.raises(UnsupportedModel, match="all dimensions must be known and positive"):
        read(open_batch([empty, empty], [("ADD", [0, 0], [1], {})], [0], [1], [0, 1]), tmp_path, Options(batch=3))
    with pytest.raises(UnsupportedModel, match="the limit is"):
        read(open_batch([X, Y], [("ADD", [0, 0], [1], {})], [0], [1], [0, 1]), tmp_path, Options(batch=2**30))


def test_a_batch_that_the_files_does_not_divide_is_not_compared(tmp_path: Path) -> None:
    pair = dataclasses.replace(X, shape=(2, 6))
    data = open_batch([pair, pair], [("ADD", [0, 0], [1], {})], [0], [1], [0, 1])
    built = build(data, tmp_path, Options(batch=3))
    assert differences(built, varied(built, SAMPLES), host(built)) == []
    with pytest.raises(CannotCompare, match="batches of 2"):
        RUNTIMES["tflm"].ask(built.out, built.manifest)
    twice = build(data, tmp_path, Options(batch=4))
    assert_exact(twice, varied(twice, SAMPLES))


def test_what_is_given_once_for_the_batch_is_given_to_every_run(tmp_path: Path) -> None:
    data = open_batch([CUBE, X, CUBE], [("ADD", [0, 1], [2], {})], [0, 1], [2], [0, 2])
    built = build(data, tmp_path, Options(batch=3))
    assert [port.shape for port in built.manifest.inputs] == [(3, 2, 6), (1, 6)]
    assert_exact(built, varied(built, SAMPLES))


def test_other_open_dimensions_have_the_files_size(tmp_path: Path) -> None:
    built = build(open_batch([CUBE, CUBE], [("ADD", [0, 0], [1], {})], [0], [1], [0, 1], axis=1), tmp_path, Options())
    assert built.manifest.inputs[0].shape == (1, 2, 6)
    assert built.manifest.notes == ("dimension 1 of the input 'tensor0' is open in the file, which has 2 there",)


# --- what is written down --------------------------------------------------------------------------------------------


def test_the_choices_are_written_down(tmp_path: Path) -> None:
    data = open_batch(
        [FLOAT, X, Y, FLOAT], [("QUANTIZE", [0], [1], {}), SUM, ("DEQUANTIZE", [2], [3], {})], [0], [3], range(4)
    )
    options = Options(batch=4, io="int8")
    built = build(data, tmp_path, options)
    fields = json.loads((built.out / "manifest.json").read_text())
    assert (fields["batch"], fields["io"], fields["notes"]) == (4, "int8", [])
    assert "tinygen build net.tflite --board qemu-mps2-an386 --batch 4 --io int8 --name net" in built.source.read_text()
    header = (built.library / "net.h").read_text()
    assert "q = round(real / scale) + zero_point" in header
    assert "#define NET_INPUT_SCALE 0.1" in header
    assert "#define NET_OUTPUT_ZERO_POINT (-7)" in header


def test_choices_that_are_not_made_are_not_written(tmp_path: Path) -> None:
    built = build(chain(FLOAT, X, Y, FLOAT), tmp_path, Options())
    assert "--batch" not in built.source.read_text()
    assert "--io" not in built.source.read_text()


@pytest.mark.parametrize("options", [{"batch": 0}, {"io": "float"}, {"profile": "nonsense"}])
def test_choices_that_there_are_not(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Options(**options)  # type: ignore[arg-type]
