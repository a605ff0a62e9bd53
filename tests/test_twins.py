"""benchmarks/onnx_twin.py: the .onnx model is the same network as the .tflite one, for tinygen and for ONNX Runtime."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from tinygen import pipeline, reference
from tinygen.errors import UsageError
from tinygen.options import Options

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
STEPS = 3
"""That roundings of two runtimes, layer after layer, may come to here."""


@pytest.fixture
def onnx_twin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("onnx_twin")


def test_a_twin_is_the_same_network(onnx_twin: ModuleType) -> None:
    """Nearly the same values, the same layers, and what ONNX Runtime makes of the same file."""
    graph = pipeline.read(DIGITS).graph
    data = onnx_twin.onnx_twin(graph)
    integers = pipeline.decode(data, "twin.onnx", Options(io="int8", layout="nhwc")).graph
    rng = np.random.default_rng(5)
    (x,), (wanted,) = graph.inputs, graph.outputs
    given, answer = graph.tensors[x], graph.tensors[wanted]
    values = rng.integers(-128, 128, given.shape).astype(np.int8)
    (tflite,), (onnx,) = (
        reference.outputs(each, (values.reshape(each.tensors[each.inputs[0]].shape),)) for each in (graph, integers)
    )
    assert np.abs(tflite.astype(int) - onnx.astype(int)).max() <= STEPS
    assert {type(node.op).__name__ for node in integers.nodes} >= {"Conv2D", "DepthwiseConv2D", "FullyConnected"}

    assert given.quant is not None and answer.quant is not None
    real = ((values - given.quant.zero_point) * given.quant.scale).astype(np.float32).transpose(0, 3, 1, 2)
    (found,) = onnxruntime.InferenceSession(data).run(None, {"x": real})
    assert np.array_equal(np.rint(found / answer.quant.scale) + answer.quant.zero_point, onnx)


def test_what_has_no_twin_is_named(onnx_twin: ModuleType) -> None:
    class Svdf:
        name = "SVDF"

    graph = pipeline.read(DIGITS).graph
    node = graph.nodes[0]
    odd = graph.nodes[0].__class__("odd", Svdf(), node.inputs, node.outputs)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="odd is SVDF, which has no twin"):
        onnx_twin.onnx_twin(graph.__class__(graph.source, graph.tensors, (odd,), graph.inputs, graph.outputs))
