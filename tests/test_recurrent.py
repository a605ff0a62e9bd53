"""Operators with a state: exact over many invocations, and what they refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from building import Built, assert_exact, build_bytes, build_file, varied
from shared import needs_shared_models, shared_models
from tflite_builder import build_case, build_model

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.ops import lstm, svdf
from tinygen.ops.case import Case, CaseTensor

STEPS = 200
"""Invocations, with a reset in the middle: until every memory is full, and states saturate."""

CASES = {
    f"{module.__name__.rpartition('.')[2]}-{case.name}": case for module in (lstm, svdf) for case in module.cases()
}
SHARED = ("tflm/trained_lstm_int8", "tflm/keyword_svdf_scrambled")


def assert_exact_for_long(built: Built) -> None:
    inputs = varied(built, STEPS)
    assert [index for index, sample in enumerate(inputs) if sample.reset] == [0, STEPS // 2]
    assert_exact(built, inputs)


@pytest.mark.parametrize("name", CASES)
def test_states_are_exact_for_long(name: str, tmp_path: Path) -> None:
    assert_exact_for_long(build_bytes(build_case(CASES[name]), tmp_path))


@needs_shared_models
@pytest.mark.parametrize("name", SHARED)
def test_shared_models_are_exact_for_long(name: str, tmp_path: Path) -> None:
    models = shared_models()
    assert models is not None
    built = build_file(models / f"{name}.tflite", tmp_path / "out")
    assert built.manifest.state_bytes > 0
    assert_exact_for_long(built)


# --- refusals --------------------------------------------------------------------------------------------------------

SVDF = next(case for case in svdf.cases() if case.name == "rank_2")
LSTM = next(case for case in lstm.cases() if case.name == "plain")
LSTM_INT16 = next(case for case in lstm.cases() if case.name == "plain_int16")


def vector(count: int, dtype: str = "int16") -> CaseTensor:
    return CaseTensor((count,), dtype, 0.01, data=np.ones(count, dtype))


def changed(case: Case, options: dict[str, object] | None = None, **changes: object) -> Case:
    """The case with other options, and other inputs (x0, x1, …) or outputs (y0): a tensor, None, or other fields."""
    lists = {"x": list(case.inputs), "y": list(case.outputs)}
    for place, change in changes.items():
        tensors, index = lists[place[0]], int(place[1:])
        before = tensors[index]
        if isinstance(change, dict):
            assert before is not None
            tensors[index] = dataclasses.replace(before, **change)
        else:
            assert change is None or isinstance(change, CaseTensor)
            tensors[index] = change
    outputs = tuple(tensor for tensor in lists["y"] if tensor is not None)
    return dataclasses.replace(
        case, inputs=tuple(lists["x"]), outputs=outputs, options={**case.options, **(options or {})}
    )


REFUSALS: dict[str, tuple[Case, str]] = {
    "svdf without a bias": (changed(SVDF, x3=None), "SVDF: it has no bias, on which the runtime crashes"),
    "svdf with an activation that cuts off": (
        changed(SVDF, {"fused_activation_function": "RELU"}),
        "SVDF: the output's zero point 9 leaves a fused RELU something to cut off",
    ),
    "svdf with a tanh": (changed(SVDF, {"fused_activation_function": "TANH"}), "SVDF: .*TANH is not supported"),
    "svdf with an offset state": (changed(SVDF, x4={"zero_point": 1}), "SVDF: the zero point of the state is 1"),
    "svdf with an offset filter": (changed(SVDF, x2={"zero_point": 1}), "SVDF: the zero point of the time filter is 1"),
    "svdf with another scale of the bias": (changed(SVDF, x3={"scale": 0.1}), "SVDF: the bias has the scale 0.1"),
    "svdf with an int8 state of int16 features": (
        changed(SVDF, x4={"dtype": "int8"}),
        r"SVDF: the state is int8 \(1, 50\), expected is int16 \(1, 50\)",
    ),
    "svdf of another rank": (changed(SVDF, {"rank": 3}), "SVDF: 10 filters do not make units of rank 3"),
    "svdf of rank 0": (changed(SVDF, {"rank": 0}), "SVDF: 10 filters do not make units of rank 0"),
    "svdf whose wrapping sum overflows with its zero point": (
        changed(
            SVDF,
            x2={"scale": 1.0, "data": np.full((10, 5), 32767, np.int16)},
            x3={"scale": 0.0011},
            y0={"scale": 0.00110000001},
        ),
        "SVDF: the sum over time can reach 2147483647, its scale and zero point leave",
    ),
    "svdf of int16": (changed(SVDF, x0={"dtype": "int16"}), "SVDF: the input is int16, supported is int8"),
    "svdf of another output": (
        changed(SVDF, y0={"shape": (1, 4)}),
        r"SVDF: its inputs make int8 \(1, 5\), its output is declared int8 \(1, 4\)",
    ),
    "svdf of float32": (changed(SVDF, x0={"dtype": "float32", "scale": None}), "SVDF: the input .* is float32"),
    "svdf whose state is no variable": (changed(SVDF, x4={"is_variable": False}), "SVDF: .* is no variable"),
    "svdf with a constant state": (
        changed(SVDF, x4={"is_variable": False, "data": np.zeros((1, 50), np.int16)}),
        "SVDF: .*variable",
    ),
    "svdf of filters per channel": (changed(SVDF, x1={"scale": (0.01,) * 10}), "SVDF: .*10 scales, expected is one"),
    "svdf whose sum overflows its rescaling": (
        changed(SVDF, x2={"scale": 1.0}, x3={"scale": 0.0011}, y0={"scale": 1e-5}),
        "SVDF: the sum over time can reach .*, its scale and zero point leave",
    ),
    "lstm with peepholes": (changed(LSTM, x10=vector(5)), "LSTM: it has peephole connections"),
    "lstm with a projection": (changed(LSTM, x16=vector(5)), "LSTM: it has a projection"),
    "lstm with layer normalisation": (changed(LSTM, x20=vector(5)), "LSTM: it has layer normalisation"),
    "lstm without an input gate": (changed(LSTM, x1=None, x5=None), "LSTM: its input gate is coupled"),
    "lstm without a bias": (changed(LSTM, x13=None), "LSTM: its forget gate's bias .* is missing"),
    "lstm with a cell scale that is no power of two": (
        changed(LSTM, x19={"scale": 0.0003}),
        "LSTM: the cell state has the scale 0.0003, expected is a power of two",
    ),
    "lstm with a coarse cell": (changed(LSTM, x19={"scale": 8.0}), r"LSTM: .*scale 2\*\*3, supported are 2\*\*-30"),
    "lstm with an offset cell": (changed(LSTM, x19={"zero_point": 5}), "LSTM: the zero point of the cell state is 5"),
    "lstm with an int8 cell": (changed(LSTM, x19={"dtype": "int8"}), "LSTM: the cell state is int8"),
    "lstm with offset weights": (
        changed(LSTM, x1={"zero_point": 5}),
        "LSTM: the zero point of the input gate's weights is 5",
    ),
    "lstm with weights of another shape": (
        changed(LSTM, x7=vector(5, "int8")),
        "LSTM: the cell gate's recurrent weights is int8 .*, expected is int8 .5, 5.",
    ),
    "lstm whose output rescales": (changed(LSTM, y0={"scale": 0.02}), "LSTM: hidden state and output have different"),
    "lstm with another activation": (
        changed(LSTM, {"fused_activation_function": "RELU"}),
        "LSTM: its activation is RELU, supported is TANH",
    ),
    "lstm with a negative clip": (changed(LSTM, {"cell_clip": -1.0}), "LSTM: the cell state is clipped to -1"),
    "lstm with diagonal weights": (changed(LSTM, {"diagonal_recurrent_tensors": True}), "LSTM: .*diagonal"),
    "lstm of int16 with an offset": (
        changed(LSTM_INT16, x18={"zero_point": 5}, y0={"zero_point": 5}),
        "LSTM: the input or the hidden state is int16 with a zero point",
    ),
    "lstm of int16 with int32 biases": (
        changed(LSTM_INT16, x12=vector(5, "int32")),
        "LSTM: the input gate's bias is int32 .*, expected is int64",
    ),
    "lstm of int16 with endless biases": (
        changed(LSTM_INT16, x12={"data": np.full(5, -(2**63), np.int64)}),
        "LSTM: the input gate's sum over the input can reach .*, its scale leaves",
    ),
    "lstm of another output": (
        changed(LSTM, y0={"shape": (3, 1, 5)}),
        r"LSTM: its inputs make int8 \(1, 3, 5\), its output is declared int8 \(3, 1, 5\)",
    ),
    "lstm of float32": (changed(LSTM, x0={"dtype": "float32", "scale": None}), "LSTM: the input .* is float32"),
    "lstm whose state is no variable": (changed(LSTM, x18={"is_variable": False}), "LSTM: .* is no variable"),
    "lstm whose sums overflow": (
        changed(LSTM, x0={"scale": 1e6}),
        "LSTM: the input gate's sum over the input can reach .*, its scale leaves",
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_operators_are_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    case, expected = REFUSALS[reason]
    path = tmp_path / "net.tflite"
    path.write_bytes(build_case(case))
    with pytest.raises(UnsupportedModel, match=expected):
        pipeline.read(path)


def test_a_state_belongs_to_one_operator(tmp_path: Path) -> None:
    x, *constants, state = SVDF.inputs
    y = SVDF.outputs[0]
    tensors = [x, *constants, state, y, y]
    assert all(tensor is not None for tensor in tensors)
    operators = [("SVDF", [0, 1, 2, 3, 4], [output], SVDF.options) for output in (5, 6)]
    path = tmp_path / "net.tflite"
    path.write_bytes(build_model(tensors, operators, [0], [5, 6], variables=[4]))
    with pytest.raises(UnsupportedModel, match="SVDF: its state 'tensor4' is that of another operator"):
        pipeline.read(path)


@pytest.mark.parametrize(("name", "noted"), [("wrapping_sum", True), ("plain", False)])
def test_a_sum_that_can_wrap_is_said_to(name: str, noted: bool, tmp_path: Path) -> None:
    built = build_bytes(build_case(next(case for case in svdf.cases() if case.name == name)), tmp_path)
    assert [
        note.startswith("node 0 (tensor5) SVDF: its sum over time can leave int32") for note in built.manifest.notes
    ] == [True] * noted
