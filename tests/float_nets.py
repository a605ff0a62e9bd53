"""Small float models to quantise, with random weights, and samples for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tflite_builder import add_signature, build_object, pack

from tinygen.ir import Array
from tinygen.ops.case import CaseTensor

SHAPE = (2, 8, 8)
CLASSES = 5


def samples(count: int = 40, shape: tuple[int, ...] = SHAPE) -> Array:
    """Random float32 (count, *shape)."""
    return np.random.default_rng(count).normal(size=(count, *shape)).astype(np.float32)


def onnx_net(batch: int | str = "N", spread: float = 1.0, opset: int = 17) -> onnx.ModelProto:
    """Convolution, normalisation, a pool and a dense layer; `spread` makes one channel that much larger than others."""
    rng = np.random.default_rng(1)
    scale = np.ones(4)
    scale[0] = spread
    constants: dict[str, Any] = {
        "weights": rng.normal(size=(4, 2, 3, 3)),
        "scale": scale,
        "bias": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "variance": rng.uniform(0.5, 2, 4),
        "dense": rng.normal(size=(64, CLASSES)),
        "offsets": rng.normal(size=CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["conv", "scale", "bias", "mean", "variance"], ["norm"]),
        helper.make_node("Relu", ["norm"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "offsets"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *SHAPE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(np.asarray(data, np.float32), name) for name, data in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tflite_net(signature: bool = False) -> bytes:
    """Two dense layers, in float: 6 -> 8 -> 3."""
    rng = np.random.default_rng(2)

    def constant(*shape: int) -> CaseTensor:
        return CaseTensor(shape, "float32", data=rng.normal(size=shape).astype(np.float32))

    tensors = [
        CaseTensor((1, 6), "float32"),
        constant(8, 6),
        constant(8),
        CaseTensor((1, 8), "float32"),
        constant(3, 8),
        constant(3),
        CaseTensor((1, 3), "float32"),
    ]
    operators = [
        ("FULLY_CONNECTED", (0, 1, 2), (3,), {"fused_activation_function": "RELU"}),
        ("FULLY_CONNECTED", (3, 4, 5), (6,), {}),
    ]
    model = build_object(tensors, operators, [0], [6], ["given", "w0", "b0", "hidden", "w1", "b1", "scores"])
    if signature:
        add_signature(model, "serving_default", {"x": 0}, {"y": 6})
    return pack(model)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model to a file."""
    onnx.save(model, path)
    return path


def answers(model: onnx.ModelProto, inputs: Array, name: str = "image") -> Array:
    """The first output of a model in ONNX Runtime, sample by sample."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {name: row[np.newaxis]})[0] for row in inputs])
