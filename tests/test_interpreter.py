"""The interpreter: as TensorFlow Lite's to scripts, as TensorFlow Lite Micro's in every byte."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from building import Built, build_file, tflm, varied
from interpreters import HOST, MODEL, as_scripts_do, images, random_steps, same, signed, stateful
from shared import needs_shared_models, shared_model_files, shared_models
from tflite_builder import build_case

import tinygen
from tinygen import pipeline
from tinygen.errors import CallError
from tinygen.ops import add, conv_2d
from tinygen.samples import Sample


def litert(**arguments: Any) -> LiteRT:
    """The original, with reference kernels: no delegate changes what it says of a model."""
    return LiteRT(experimental_op_resolver_type=OpResolverType.BUILTIN_REF, **arguments)


# --- in every byte the original -------------------------------------------------------------------------------------

EXACT = ("mlperf/kws_ds_cnn", "esphome/hey_jarvis_v1", "mltk/rock_paper_scissors", "seanet/transpose_conv0")


@needs_shared_models
@pytest.mark.parametrize("backend", HOST)
@pytest.mark.parametrize("name", EXACT)
def test_answers_are_those_of_the_original_runtime(name: str, backend: str, tmp_path: Path) -> None:
    models = shared_models()
    assert models is not None
    assert_original(models / f"{name}.tflite", backend, tmp_path)


@pytest.mark.parametrize("backend", HOST)
def test_answers_of_the_shipped_model_are_those_of_the_original_runtime(backend: str, tmp_path: Path) -> None:
    assert_original(MODEL, backend, tmp_path)


def assert_original(path: Path, backend: str, folder: Path) -> None:
    """20 steps, with a reset in the middle, through an interpreter and through TensorFlow Lite Micro's."""
    built = build_file(path, folder / "out")
    inputs = varied(built, 20)
    expected = answers_of_tflm(built, inputs)
    with tinygen.Interpreter(path, backend=backend) as interpreter:
        found = as_scripts_do(interpreter, [sample.arrays for sample in inputs[:10]])
        interpreter.reset_all_variables()
        found += as_scripts_do(interpreter, [sample.arrays for sample in inputs[10:]])
        assert [[array.tobytes() for array in step] for step in found] == expected


def answers_of_tflm(built: Built, inputs: Sequence[Sample]) -> list[list[bytes]]:
    with tflm(built) as peer:
        return [list(peer.run(sample.bytes, sample.reset).outputs) for sample in inputs]


# --- as scripts know it ---------------------------------------------------------------------------------------------


def assert_same_details(found: Any, expected: Any, place: str = "") -> None:
    """Equal in keys, values and types, at every depth."""
    assert type(found) is type(expected), place
    if isinstance(expected, dict):
        assert list(found) == list(expected), place
        for key in expected:
            assert_same_details(found[key], expected[key], f"{place}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), place
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_same_details(*pair, f"{place}[{index}]")
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, place
        assert np.array_equal(found, expected), (place, found, expected)
    else:
        assert found == expected, place


@pytest.mark.parametrize("path", [MODEL, *shared_model_files()], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_details_are_those_of_tensorflow_lite(path: Path) -> None:
    assert_details_of_tensorflow_lite(path.read_bytes())


def test_details_of_packed_constants_are_those_of_tensorflow_lite() -> None:
    (case,) = (case for case in conv_2d.cases() if case.name == "int4")
    assert_details_of_tensorflow_lite(build_case(case))


def assert_details_of_tensorflow_lite(content: bytes) -> None:
    ours, theirs = tinygen.Interpreter(model_content=content, backend="reference"), litert(model_content=content)
    assert_same_details(ours.get_input_details(), theirs.get_input_details())
    assert_same_details(ours.get_output_details(), theirs.get_output_details())
    assert_same_details(ours.get_tensor_details(), theirs.get_tensor_details())
    assert ours.get_signature_list() == theirs.get_signature_list()


def test_signatures_are_those_of_tensorflow_lite() -> None:
    case = add.cases()[0]
    ours, theirs = tinygen.Interpreter(model_content=signed()), litert(model_content=signed())
    listed = [interpreter.get_signature_list()["serving_default"] for interpreter in (ours, theirs)]
    assert sorted(listed[0]["inputs"]) == sorted(listed[1]["inputs"]) == ["left", "right"]
    assert listed[0]["outputs"] == listed[1]["outputs"] == ["sum"]
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-128, 128, t.shape).astype(np.int8) for t in case.inputs if t is not None)
    found = [interpreter.get_signature_runner()(left=left, right=right) for interpreter in (ours, theirs)]
    assert list(found[0]) == list(found[1]) == ["sum"]
    assert found[0]["sum"].shape == found[1]["sum"].shape
    assert found[0]["sum"].tobytes() == as_scripts_do(ours, [[left, right]])[0][0].tobytes()
    runners = [interpreter.get_signature_runner("serving_default") for interpreter in (ours, theirs)]
    assert_same_details(sorted_by_key(runners[0].get_input_details()), sorted_by_key(runners[1].get_input_details()))
    assert_same_details(runners[0].get_output_details(), runners[1].get_output_details())
    for runner in runners:
        with pytest.raises(ValueError, match="Invalid number of inputs"):
            runner(left=left)
        with pytest.raises(ValueError, match="Invalid Input name"):
            runner(left=left, middle=right)
    for interpreter in (tinygen.Interpreter(model_content=stateful()), litert(model_content=stateful())):
        with pytest.raises(ValueError, match="signature_key is None and model has 0 Signatures"):
            interpreter.get_signature_runner()


def sorted_by_key(found: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(found.items()))


X = np.zeros((1, 8, 8, 1), np.int8)

WRONG_CALLS: dict[str, Callable[[Any, int], object]] = {
    "dtype": lambda interpreter, at: interpreter.set_tensor(at, X.astype(np.float32)),
    "list": lambda interpreter, at: interpreter.set_tensor(at, X.tolist()),
    "rank": lambda interpreter, at: interpreter.set_tensor(at, X[0]),
    "size": lambda interpreter, at: interpreter.set_tensor(at, X[:, :7]),
    "index": lambda interpreter, at: interpreter.set_tensor(10_000, X),
    "read index": lambda interpreter, at: interpreter.get_tensor(10_000),
    "negative index": lambda interpreter, at: interpreter.get_tensor(-1),
    "unknown signature": lambda interpreter, at: interpreter.get_signature_runner("x"),
    "subgraph": lambda interpreter, at: interpreter.get_tensor_details(3),
}


@pytest.mark.parametrize("backend", HOST)
@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_raise_what_tensorflow_lite_raises(call: str, backend: str) -> None:
    raised = []
    for interpreter in (litert(model_path=str(MODEL)), tinygen.Interpreter(MODEL, backend=backend)):
        interpreter.allocate_tensors()
        with pytest.raises(ValueError) as error:
            WRONG_CALLS[call](interpreter, interpreter.get_input_details()[0]["index"])
        raised.append(str(error.value))
    theirs, ours = raised
    # What follows are counts of tensors and subgraphs, of which theirs may have more.
    assert re.split(r" exceeds|: 3", theirs)[0].strip() in ours


BEFORE: dict[str, Callable[[Any, int], object]] = {
    "set": lambda interpreter, at: interpreter.set_tensor(at, X),
    "get": lambda interpreter, at: interpreter.get_tensor(at),
    "tensor": lambda interpreter, at: interpreter.tensor(at)(),
    "invoke": lambda interpreter, at: interpreter.invoke(),
}


@pytest.mark.parametrize("call", BEFORE)
def test_nothing_works_before_allocate_tensors(call: str) -> None:
    kind = RuntimeError if call == "invoke" else ValueError
    raised = []
    for interpreter in (litert(model_path=str(MODEL)), tinygen.Interpreter(MODEL)):
        with pytest.raises(kind) as error:
            BEFORE[call](interpreter, interpreter.get_input_details()[0]["index"])
        raised.append(str(error.value))
    assert raised[0] in raised[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "must be specified"),
        ({"model_path": "a.tflite", "model_content": b"b"}, "both"),
        ({"model_path": MODEL, "num_threads": 0}, "num_threads should >= 1"),
        ({"model_path": MODEL, "num_threads": "2"}, "type of num_threads should be int"),
        ({"model_path": MODEL, "experimental_delegates": [object()]}, "delegates cannot be used"),
        ({"model_path": MODEL, "backend": "gpu"}, "unknown backend 'gpu'"),
        ({"model_path": MODEL, "backend": "board"}, "which board"),
        ({"model_path": MODEL, "out": "x"}, 'for backend="board"'),
    ],
)
def test_wrong_arguments_are_value_errors(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tinygen.Interpreter(**arguments)


def test_arguments_that_scripts_give_are_taken() -> None:
    interpreter = tinygen.Interpreter(
        model_content=MODEL.read_bytes(),
        num_threads=4,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=False,
    )
    assert interpreter.num_subgraphs() == 1


def test_only_its_own_shape_is_resized_to() -> None:
    interpreter = tinygen.Interpreter(MODEL)
    interpreter.resize_tensor_input(0, [1, 8, 8, 1])
    with pytest.raises(ValueError, match=r"cannot be resized from \[1, 8, 8, 1\] to \[2, 8, 8, 1\]"):
        interpreter.resize_tensor_input(0, [2, 8, 8, 1])
    with pytest.raises(ValueError, match="no input of the model"):
        interpreter.resize_tensor_input(1, [1])


def test_the_hint_quantises(tmp_path: Path) -> None:
    interpreter = tinygen.Interpreter(MODEL)
    interpreter.allocate_tensors()
    with pytest.raises(ValueError, match="Quantise it") as error:
        interpreter.set_tensor(0, X.astype(np.float32))
    (expression,) = re.findall(r"Quantise it: (.*)\.$", str(error.value))
    value = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(X.shape)
    interpreter.set_tensor(0, eval(expression, {"numpy": np, "value": value}))


# --- tensors --------------------------------------------------------------------------------------------------------


def test_tensors_are_kept_and_copied() -> None:
    with tinygen.Interpreter(MODEL) as interpreter:
        interpreter.allocate_tensors()
        at, result = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))
        with pytest.raises(ValueError, match=r"no value yet[\s\S]*invoke"):
            interpreter.get_tensor(result)
        assert not interpreter.get_tensor(at).any()
        first, second = images(2)
        given = first[np.newaxis].copy()
        interpreter.set_tensor(at, given)
        given[...] = 0
        interpreter.invoke()
        answer = interpreter.get_tensor(result)
        assert np.array_equal(interpreter.get_tensor(at)[0], first), "invoking leaves the input as it is"
        interpreter.invoke()
        assert np.array_equal(interpreter.get_tensor(result), answer), "and it can be invoked on it again"
        interpreter.tensor(at)()[0] = second
        interpreter.invoke()
        other = interpreter.tensor(result)()
        assert not np.array_equal(other, answer)
        answer[...] = 0
        interpreter.allocate_tensors()
        assert np.array_equal(interpreter.get_tensor(result), other)


@pytest.mark.parametrize("backend", ["c", "reference"])
def test_results_of_layers_can_be_read(backend: str, tmp_path: Path) -> None:
    built = build_file(MODEL, tmp_path / "out")
    with tinygen.Interpreter(MODEL, backend=backend, experimental_preserve_all_tensors=True) as interpreter:
        index = {details["name"]: details["index"] for details in interpreter.get_tensor_details()}
        (sample,) = varied(built, 3)[2:]
        (answer,) = as_scripts_do(interpreter, [sample.arrays])
        values = tinygen.evaluate(built.model.graph, sample.arrays)
        assert len(built.manifest.layers) > 3
        for layer in built.manifest.layers:
            name = layer.output.tensor
            assert np.array_equal(interpreter.get_tensor(index[name]), values[name])
        assert np.array_equal(answer[0], values[built.model.graph.outputs[0]])


def test_what_is_not_kept_is_said_and_how_to_keep_it() -> None:
    with tinygen.Interpreter(MODEL) as interpreter:
        as_scripts_do(interpreter, [[X]])
        constants = pipeline.read(MODEL).graph.tensors
        unknown = 0
        for details in interpreter.get_tensor_details():
            tensor = constants.get(details["name"])
            if tensor is not None and tensor.data is not None:
                assert np.array_equal(interpreter.get_tensor(details["index"]), tensor.data)
            with contextlib.suppress(CallError):
                interpreter.get_tensor(details["index"])
                continue
            unknown += 1
            with pytest.raises(ValueError, match=r'not kept[\s\S]*backend="reference"[\s\S]*preserve_all_tensors'):
                interpreter.get_tensor(details["index"])
        assert unknown > 3


# --- variables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", HOST)
def test_variables_last_until_they_are_reset(backend: str) -> None:
    steps = random_steps(stateful(), 6)
    with tinygen.Interpreter(model_content=stateful(), backend=backend) as interpreter:
        first = as_scripts_do(interpreter, steps)
        again = as_scripts_do(interpreter, steps)
        interpreter.reset_all_variables()
        assert same(as_scripts_do(interpreter, steps), first)
    assert not same(again, first)


def test_interpreters_do_not_share_variables() -> None:
    steps = random_steps(stateful(), 4)
    with (
        tinygen.Interpreter(model_content=stateful()) as one,
        tinygen.Interpreter(model_content=stateful()) as other,
    ):
        alone = as_scripts_do(one, steps)
        one.reset_all_variables()
        mixed = []
        for step in steps:
            mixed += as_scripts_do(one, [step])
            as_scripts_do(other, [step, step])
        assert same(mixed, alone)


# --- options of reading ---------------------------------------------------------------------------------------------


@needs_shared_models
def test_several_inferences_in_an_invoke() -> None:
    models = shared_models()
    assert models is not None
    path = models / "mlperf" / "kws_ds_cnn.tflite"
    with np.load(models.parent / "data" / "kws01.npz") as arrays:
        many = arrays["inputs"][:6]
    with tinygen.Interpreter(path) as one, tinygen.Interpreter(path, options=tinygen.Options(batch=3)) as three:
        (details,) = three.get_input_details()
        assert details["shape"].tolist() == [3, 49, 10, 1]
        assert details["shape_signature"].tolist() == [-1, 49, 10, 1]
        expected = one.invoke_batch(many)
        three.allocate_tensors()
        three.set_tensor(details["index"], many[:3])
        three.invoke()
        assert np.array_equal(three.get_tensor(three.get_output_details()[0]["index"]), expected[:3])
        assert np.array_equal(three.invoke_batch(many.reshape(2, 3, 49, 10, 1)), expected.reshape(2, 3, -1))


@needs_shared_models
@pytest.mark.parametrize("backend", HOST)
def test_integers_in_place_of_floats(backend: str) -> None:
    models = shared_models()
    assert models is not None
    path = models / "mltk" / "rock_paper_scissors.tflite"
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (4, 84, 84, 1)).astype(np.int8)
    with (
        tinygen.Interpreter(path, backend=backend) as floats,
        tinygen.Interpreter(path, backend=backend, options=tinygen.Options(io="int8")) as integers,
    ):
        ports = [integers.get_input_details()[0], integers.get_output_details()[0]]
        assert [port["dtype"] for port in ports] == [np.int8, np.int8]
        (x_scale, x_zero), (y_scale, y_zero) = (port["quantization"] for port in ports)
        y = integers.invoke_batch(x).astype(np.int32)
        real = floats.invoke_batch((np.float32(x_scale) * (x.astype(np.int32) - x_zero)).astype(np.float32))
        assert np.array_equal(real, np.float32(y_scale) * (y - y_zero).astype(np.float32))
