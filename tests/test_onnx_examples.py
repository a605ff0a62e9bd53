"""The shipped examples as ONNX: ONNX Runtime's bytes, and the accuracy that was measured when they were made."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_onnx_models import assert_equal

from tinygen import pipeline, reference
from tinygen.resources import resource


@pytest.mark.parametrize("name", ["digits", "keywords"])
def test_examples_equal_onnx_runtime(name: str) -> None:
    model = assert_equal(resource("examples", name, f"{name}.onnx").read_bytes(), 10)
    assert not any("float32" in note for note in model.graph.notes)


def test_digits_are_read_as_well_as_measured() -> None:
    folder = resource("examples", "digits")
    graph = pipeline.read(folder / "digits.onnx").graph
    with np.load(folder / "digits_test.npz") as arrays:
        inputs, labels = arrays["inputs"], arrays["labels"]
    images = ((inputs.astype(np.float32) + 128) / np.float32(255)).reshape(-1, 1, 1, 8, 8)
    right = [reference.outputs(graph, [image])[0].argmax() for image in images] == labels
    wanted = json.loads((folder / "figures.json").read_text())["onnx_int8_accuracy"]
    assert round(float(np.mean(right)), 4) == wanted
