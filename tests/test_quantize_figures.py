"""What is measured of a float and an int8 model, on models whose values are known; and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tinygen.ir import Array
from tinygen.quantize.advice import advice
from tinygen.quantize.data import Data
from tinygen.quantize.measure import Figures, FloatLayer, LayerFigures, Score, compare, score
from tinygen.quantize.runner import Scaling

SCALING = Scaling(0.5, -100, "int8")
"""From -14 to 113.5."""


@dataclass
class Model:
    """x, then twice that, then the first three of these; with errors of some size, of either sign, where given."""

    errors: Mapping[str, float]

    @property
    def scalings(self) -> Mapping[str, Scaling]:
        return {} if not self.errors else dict.fromkeys(("x", "double", "first"), SCALING)

    def tensors(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        signs = np.resize([1.0, -1.0], inputs[0].shape)
        double = 2 * inputs[0].astype(np.float64) + signs * self.errors.get("double", 0)
        return {"double": double, "first": double[:, :3] + signs[:, :3] * self.errors.get("first", 0)}

    def outputs(self, inputs: Sequence[Array]) -> list[Array]:
        return [self.tensors(inputs)["first"]]


LAYERS = [FloatLayer("doubling", "MUL", "double", ("x",)), FloatLayer("slicing", "SLICE", "first", ("double",))]


def measured(errors: Mapping[str, float], data: Data) -> Figures:
    return compare(Model({}), Model(errors), LAYERS, ["first"], data)


def whole_numbers(high: int = 40, count: int = 30) -> Data:
    """Which int8 stands for exactly."""
    x = np.random.default_rng(0).integers(1, high, (count, 1, 8)).astype(np.float32)
    return Data("x", {"x": x}, labels=x[:, 0, :3].argmax(axis=1))


def test_noise_is_put_down_to_the_layer_that_adds_it() -> None:
    data = whole_numbers()
    found = measured({"double": 1e-9, "first": 0.5}, data)
    doubling, slicing = found.layers
    assert doubling.sqnr_db is not None
    assert doubling.sqnr_db > 150
    exact = 2 * data.inputs["x"].astype(np.float64)[:, 0, :3]
    expected = 10 * np.log10(np.mean(np.square(exact)) / 0.25)
    assert slicing.sqnr_db == pytest.approx(expected, abs=1e-6)
    assert slicing.own_db == pytest.approx(expected, abs=1e-6)
    assert found.sqnr_db["first"] == pytest.approx(expected, abs=1e-6)
    later = measured({"double": 0.5}, data)
    assert later.layers[0].own_db == pytest.approx(later.layers[0].sqnr_db)
    # What the other channels weigh differs, so that the slice is not quite without noise of its own.
    assert later.layers[1].own_db is None or later.layers[1].own_db > 8 + (later.layers[1].sqnr_db or 0)


def test_saturated_channels_are_those_beyond_the_range() -> None:
    data = whole_numbers(10)
    inputs = data.inputs["x"].copy()
    inputs[:, 0, 5] = 200  # 400 is far above 113.5
    inputs[:, 0, 6] = 57.25  # 114.5 is two steps above
    inputs[:2, 0, 7] = 200  # two values are chance
    found = measured({"double": 1e-9}, replace(data, inputs={"x": inputs}))
    assert [(layer.saturated, layer.channels) for layer in found.layers] == [(1, 8), (0, 3)]


def test_scores_are_what_they_are_called() -> None:
    outputs = np.asarray([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert score(outputs, np.asarray([1, 0, 0, 0])) == Score("accuracy", 0.75)
    assert score(outputs[:, :1], np.asarray([0, 1, 1, 1])) == Score("accuracy", 0.75)
    assert score(outputs, outputs + 0.25).value == pytest.approx(0.25)
    assert score(outputs, outputs).sign == -1


def test_agreement_and_scores_are_over_all_samples() -> None:
    data = whole_numbers()
    found = measured({"first": 0.5}, data)
    assert found.float_score == Score("accuracy", 1.0)
    assert found.int8_score is not None
    exact = 2 * data.inputs["x"].astype(np.float64)[:, 0, :3]
    same = np.mean((exact + np.asarray([0.5, -0.5, 0.5])).argmax(axis=1) == exact.argmax(axis=1))
    assert found.agreement == pytest.approx(float(same))


GOOD = LayerFigures("conv", "CONV_2D", 40.0, 40.5, channels=8, saturated=0, headroom=1.2)
FIGURES = Figures(Score("accuracy", 0.95), Score("accuracy", 0.95), 0.99, {"y": 35.0}, (GOOD, GOOD, GOOD))


def test_nothing_is_to_be_done_where_nothing_is_lost() -> None:
    (only,) = advice(FIGURES, calibrated=300, given=300, measured=1000, has_int16=True)
    assert "Nothing has to be done" in only


WORSE: dict[str, object] = {"int8_score": Score("accuracy", 0.80)}


@pytest.mark.parametrize(
    ("changes", "counts", "said", "unsaid"),
    [
        ({"int8_score": Score("accuracy", 0.80)}, (300, 300, 1000), ["loses 150 of 1,000", "No layer"], ["--labels"]),
        ({"float_score": None, "int8_score": None}, (300, 300, 1000), ["1.8%", "--labels"], ["right answers"]),
        ({"float_score": None, "int8_score": None, "sqnr_db": {"y": 12.0}}, (300, 300, 9), ["not close"], []),
        ({}, (20, 20, 1000), ["20 samples"], ["--samples", "Nothing has to be done"]),
        ({"layers": (replace(GOOD, saturated=3),)}, (300, 900, 900), ["Nothing has to be done"], ["3 of 8"]),
        ({**WORSE, "layers": (replace(GOOD, saturated=3),)}, (300, 900, 900), ["3 of 8", "--samples 900"], []),
        (
            {**WORSE, "layers": (replace(GOOD, saturated=3),)},
            (300, 300, 900),
            ["3 of 8", "more samples"],
            ["--samples"],
        ),
        ({"commonest_class": 0.2}, (300, 300, 1000), ["Nothing has to be done"], ["commonest"]),
        ({"commonest_class": 0.95}, (300, 300, 1000), ["says the commonest class"], ["Nothing has to be done"]),
        (
            {"commonest_class": 0.95, "sqnr_db": {"y": 0.0}},
            (300, 300, 1000),
            ["not close to float", "says the commonest class"],
            ["answers"],
        ),
        ({"int8_score": Score("accuracy", 0.949)}, (300, 300, 1000), ["of 1,000 answers, 1 fewer is right"], []),
        (
            {**WORSE, "layers": (GOOD, replace(GOOD, name="dense", own_db=15.0, used=0.02))},
            (300, 300, 1000),
            ["dense uses 2% of the range", "Leave them out."],
            ["--percentile", "--int16"],
        ),
        (
            {"int8_score": Score("accuracy", 0.80), "layers": (GOOD, replace(GOOD, name="dense", own_db=15.0))},
            (300, 300, 1000),
            ["dense adds", "--int16 dense"],
            ["No layer", "conv adds"],
        ),
        (
            {
                "int8_score": Score("accuracy", 0.80),
                "layers": (GOOD, replace(GOOD, name="dense", own_db=15.0, headroom=30.0)),
            },
            (300, 300, 1000),
            ["dense adds", "30 times"],
            ["int16"],
        ),
    ],
)
def test_advice_follows_from_the_figures(
    changes: dict[str, object], counts: tuple[int, int, int], said: list[str], unsaid: list[str]
) -> None:
    text = "\n".join(advice(replace(FIGURES, **changes), *counts, has_int16=True))  # type: ignore[arg-type]
    for fragment in said:
        assert fragment in text
    for fragment in unsaid:
        assert fragment not in text


def test_onnx_models_may_leave_the_few_out_of_the_ranges() -> None:
    for layer in (replace(GOOD, headroom=30.0), replace(GOOD, used=0.02)):
        figures = replace(FIGURES, int8_score=Score("accuracy", 0.80), layers=(layer,))
        assert "--percentile 99.9" in "\n".join(advice(figures, 300, 300, 1000, has_int16=False))


def test_pixels_that_were_not_scaled_are_pointed_out() -> None:
    text = "\n".join(advice(FIGURES, 300, 300, 1000, has_int16=True, integers={"image": "uint8"}))
    assert "The samples of image are uint8" in text
    assert "Nothing has to be done" not in text
