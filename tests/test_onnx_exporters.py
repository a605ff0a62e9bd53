"""Models as other tools write them, imitated: each gives ONNX Runtime's bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from onnx_nets import NETS, Net, quantised_net
from test_onnx_models import assert_equal

X_SCALE, Y_SCALE = 0.02, 0.1


def torch_quantised(net: Net, x: str, scale: float) -> str:
    """As quantised modules of PyTorch are exported: a Cast to the type that is there, constants of their own."""
    quantised = net.add("QuantizeLinear", x, net.constant(scale), net.constant(7, np.uint8))
    same = net.add("Cast", quantised, to=TensorProto.UINT8)
    return net.add("DequantizeLinear", same, net.constant(scale), net.constant(7, np.uint8))


def test_a_cast_to_the_same_type_is_nothing() -> None:
    net = Net([1, 4, 7, 6], 5)
    x = torch_quantised(net, "x", X_SCALE)
    bias_zero = net.add("Cast", net.constant(np.zeros(6), np.int32), to=TensorProto.INT32)
    bias = net.add(
        "DequantizeLinear",
        net.constant(net.rng.integers(-900, 900, 6), np.int32),
        net.constant(np.full(6, np.float32(X_SCALE) * np.float32(0.01))),
        bias_zero,
        axis=0,
    )
    y = net.add("Relu", net.add("Conv", x, net.weights(6, 4, 3, 3, scale=[0.01] * 6), bias))
    y = net.add("Flatten", torch_quantised(net, y, Y_SCALE))
    model = assert_equal(net.model(torch_quantised(net, y, Y_SCALE)), 20)
    assert not any("float32" in note for note in model.graph.notes)


@pytest.mark.parametrize("kind", ["qdq_u8_s8", "qdq_s8_channels", "qoperator_u8_u8"])
@pytest.mark.parametrize("name", NETS)
def test_what_onnx_runtime_saves_with_channels_last(name: str, kind: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    original = quantised_net(name, kind, tmp_path)
    onnxruntime.InferenceSession(original, options, providers=["CPUExecutionProvider"])
    saved = (tmp_path / "optimised.onnx").read_bytes()
    assert b"channels_last" in saved
    assert len(assert_equal(saved, 20).graph.nodes) == len(assert_equal(original, 1).graph.nodes)
