"""Batches of the interpreter: as one by one, in several processes; and its beginning and its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import BOARD
from interpreters import HOST, MODEL, as_scripts_do, images, random_steps, same, signed, stateful
from shared import needs_shared_models, shared_models
from test_on_board import emulators

import tinygen
from tinygen.errors import NotReady, ToolFailed, ToolMissing
from tinygen.interpreter import parallel
from tinygen.ir import Array


@pytest.fixture(params=HOST)
def digits(request: pytest.FixtureRequest) -> Iterator[tinygen.Interpreter]:
    with tinygen.Interpreter(MODEL, backend=request.param) as interpreter:
        yield interpreter


@pytest.mark.parametrize("processes", [None, 1, 2, 100])
def test_a_batch_is_as_one_by_one(digits: tinygen.Interpreter, processes: int | None) -> None:
    many = images(70)
    expected = np.concatenate([step[0] for step in as_scripts_do(digits, [[x[np.newaxis]] for x in many])])
    found = digits.invoke_batch(many, processes=processes, progress=False)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_batches_take_and_give_dictionaries_and_leave_out_a_dimension_of_one() -> None:
    with tinygen.Interpreter(MODEL) as interpreter:
        many = images(5)
        name, result = (d[0]["name"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))
        expected = interpreter.invoke_batch(many)
        assert expected.shape == (5, 10)
        by_name = interpreter.invoke_batch({name: many[:, np.newaxis]})
        assert list(by_name) == [result]
        assert np.array_equal(by_name[result], expected)
        assert interpreter.invoke_batch(many[:0]).shape == (0, 10)


def test_batches_of_several_inputs() -> None:
    content = signed()
    steps = random_steps(content, 40)
    with tinygen.Interpreter(model_content=content) as interpreter:
        expected = np.concatenate([step[0] for step in as_scripts_do(interpreter, steps)])
        inputs = {f"tensor{at}": np.concatenate([step[at] for step in steps]) for at in range(2)}
        assert np.array_equal(interpreter.invoke_batch(inputs, processes=2)["tensor2"], expected)
        with pytest.raises(ValueError, match="the model has 2 inputs"):
            interpreter.invoke_batch(inputs["tensor0"])
        with pytest.raises(ValueError, match="the model's are 'tensor0', 'tensor1'"):
            interpreter.invoke_batch({"tensor0": inputs["tensor0"]})
        inputs["tensor1"] = inputs["tensor1"][:-1]
        with pytest.raises(ValueError, match="40 of 'tensor0', 39 of 'tensor1'"):
            interpreter.invoke_batch(inputs)


@pytest.mark.parametrize("backend", HOST)
@pytest.mark.parametrize("processes", [None, 1, 3])
def test_steps_of_a_sequence_follow_each_other(backend: str, processes: int | None) -> None:
    content, lengths = stateful(), [20, 1, 0, 7, 12]
    steps = random_steps(content, sum(lengths))
    many = np.stack([step[0] for step in steps])
    with tinygen.Interpreter(model_content=content, backend=backend) as interpreter:
        expected = []
        for sequence in np.split(np.arange(len(steps)), np.cumsum(lengths)[:-1]):
            interpreter.allocate_tensors()
            interpreter.reset_all_variables()
            expected += [step[0] for step in as_scripts_do(interpreter, [steps[at] for at in sequence])]
        found = interpreter.invoke_batch(many, lengths=lengths, processes=processes)
        assert np.array_equal(found, np.concatenate(expected))
        whole = interpreter.invoke_batch(many, processes=processes)
        assert not np.array_equal(found, whole)
        assert same(as_scripts_do(interpreter, steps), [[row] for row in whole.reshape(-1, *expected[0].shape)])
        with pytest.raises(ValueError, match=r"\[3\], do not add up to the 40 samples"):
            interpreter.invoke_batch(many, lengths=[3])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((2, 8, 8, 1), np.float32), r"takes int8, the array is float32[\s\S]*Quantise it"),
        (np.zeros((2, 8, 8, 1), np.int16), r"takes int8, the array is int16[\s\S]*Convert it"),
        (np.zeros((2, 8, 7, 1), np.int8), r"takes \[samples, 8, 8, 1\] or \[samples, 1, 8, 8, 1\], .* \[2, 8, 7, 1\]"),
        (np.zeros((), np.int8), "takes"),
    ],
)
def test_batches_that_do_not_fit_are_refused(inputs: Array, words: str) -> None:
    with tinygen.Interpreter(MODEL) as interpreter, pytest.raises(ValueError, match=words):
        interpreter.invoke_batch(inputs)


def test_no_processes_are_refused() -> None:
    with tinygen.Interpreter(MODEL) as interpreter, pytest.raises(ValueError, match="0 processes"):
        interpreter.invoke_batch(images(2), processes=0)


def fails() -> Any:
    raise LookupError("what went wrong")


def test_a_process_that_ends_is_reported_with_its_words() -> None:
    with (
        tinygen.Interpreter(MODEL) as interpreter,
        pytest.raises(ToolFailed, match=r"ended with code 1:[\s\S]*what went wrong"),
    ):
        interpreter.allocate_tensors()
        interpreter._make = fails
        interpreter.invoke_batch(images(50), processes=2)


def test_parts_of_a_batch() -> None:
    assert parallel.pieces([20, 0, 20], has_state=True) == [range(20), range(20, 40)]
    assert parallel.pieces([20, 0, 20], has_state=False) == [range(16), range(16, 32), range(32, 40)]
    assert parallel.pieces([0], has_state=False) == parallel.pieces([], has_state=True) == []


@needs_shared_models
def test_accuracy_as_evaluation_scripts_measure_it() -> None:
    models = shared_models()
    assert models is not None
    with np.load(models.parent / "data" / "kws01.npz") as arrays:
        inputs, labels = arrays["inputs"], arrays["labels"]
    with tinygen.Interpreter(str(models / "mlperf" / "kws_ds_cnn.tflite")) as interpreter:
        interpreter.allocate_tensors()
        input_details, output_details = interpreter.get_input_details(), interpreter.get_output_details()
        predictions = []
        for x in inputs:
            interpreter.set_tensor(input_details[0]["index"], x.reshape(input_details[0]["shape"]))
            interpreter.invoke()
            predictions.append(interpreter.get_tensor(output_details[0]["index"]).reshape(12))
        assert np.sum(np.argmax(predictions, axis=1) == labels.reshape(-1)) == 901
        assert np.array_equal(interpreter.invoke_batch(inputs, processes=2), predictions)


# --- beginning and end ----------------------------------------------------------------------------------------------


def test_closing_removes_what_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    interpreter = tinygen.Interpreter(MODEL)
    interpreter.allocate_tensors()
    assert list(tmp_path.iterdir())
    interpreter.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotReady):
        interpreter.invoke()
    with pytest.raises(NotReady, match="closed"):
        interpreter.allocate_tensors()
    interpreter.close()
    forgotten = tinygen.Interpreter(MODEL)
    forgotten.allocate_tensors()
    del forgotten
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with tinygen.Interpreter(MODEL) as interpreter, pytest.raises(ToolMissing, match="no-such-compiler"):
        interpreter.allocate_tensors()


@pytest.mark.parametrize("keep", [False, True])
def test_a_board_answers_and_stops(keep: bool, tmp_path: Path) -> None:
    out = tmp_path / "board"
    many = images(3)
    with tinygen.Interpreter(MODEL) as host:
        expected = host.invoke_batch(many)
    with tinygen.Interpreter(
        MODEL, backend="board", board=BOARD, out=out, experimental_preserve_all_tensors=keep
    ) as interpreter:
        found = as_scripts_do(interpreter, [[x[np.newaxis]] for x in many])
        assert np.array_equal(np.concatenate([step[0] for step in found]), expected)
        assert np.array_equal(interpreter.invoke_batch(many), expected)
        assert len(emulators(out)) == 1
    assert emulators(out) == []
    assert (out / "manifest.json").is_file()


def test_a_script_that_ends_without_closing_leaves_no_emulator(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"""
import tinygen
interpreter = tinygen.Interpreter({str(MODEL)!r}, backend="board", board={BOARD!r}, out={str(out)!r})
interpreter.allocate_tensors()
interpreter.invoke()
raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert (out / "manifest.json").is_file()
    assert emulators(out) == []
