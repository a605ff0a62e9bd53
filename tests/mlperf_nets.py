"""Small random models with the shapes of MLPerf Tiny's, and what its runner hears of them, computed with numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from stream_nets import StreamNet
from tflite_builder import build_model

from tinygen import pipeline, reference
from tinygen.ir import Array
from tinygen.ops.case import CaseTensor


@dataclass(frozen=True)
class Shape:
    input: tuple[int, ...]
    outputs: int
    scale: float
    zero_point: int


SHAPES = {
    "kws": Shape((1, 49, 10, 1), 12, 0.58, 83),
    "vww": Shape((1, 96, 96, 3), 2, 1 / 255, -128),
    "ic": Shape((1, 32, 32, 3), 10, 1.0, -128),
    "ad": Shape((1, 640), 640, 0.39, 89),
}


def task_model(task: str, scale: float | None = None, zero_point: int | None = None) -> bytes:
    shape = SHAPES[task]
    net = StreamNet(np.random.default_rng(8), "int8", "int8")
    first = x = net.value(
        shape.input, shape.zero_point if zero_point is None else zero_point, shape.scale if scale is None else scale
    )
    if len(shape.input) == 4:
        size = shape.input[1] // 7
        x = net.flat(net.windowed(x, "CONV_2D", 4, kernel=(size, 5), stride=(size, 5), padding="VALID"))
    else:
        x = net.dense(x)
    filters = net.weights((shape.outputs, int(np.prod(x.shape))), 0)
    net.tensors.append(CaseTensor((1, shape.outputs), "int8", scale=0.37, zero_point=-7))
    options = {"fused_activation_function": "NONE", "keep_num_dims": False}
    net.operators.append(("FULLY_CONNECTED", [x.id, *filters], [len(net.tensors) - 1], options))
    return build_model(net.tensors, net.operators, [first.id], [len(net.tensors) - 1])


def raw_data(task: str, seed: int) -> bytes:
    """Of one inference, as the benchmark's files have it."""
    rng = np.random.default_rng(seed)
    elements = int(np.prod(SHAPES[task].input))
    if task == "ad":
        data = rng.normal(-30, 25, elements).astype("<f4")
        data[:3] = (900.0, -900.0, 0.195)  # beyond what the model's input holds, and half of its scale
        return data.tobytes()
    return rng.integers(0, 256, elements, np.uint8).tobytes()


def answer(task: str, model: pipeline.Model, raw: bytes) -> str:
    """The line of results for raw data."""
    graph = model.graph
    given, output = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert given.quant is not None and output.quant is not None
    if task == "kws":
        x: Array = np.frombuffer(raw, np.int8)
    elif task == "ad":
        values = np.frombuffer(raw, "<f4")
        scaled = (values / np.float32(given.quant.scale[0])).astype(np.float32)
        nearest = np.sign(scaled) * np.floor(np.abs(scaled).astype(np.float64) + 0.5)
        x = np.clip(nearest + int(given.quant.zero_point[0]), -128, 127).astype(np.int8)
    else:
        x = (np.frombuffer(raw, np.uint8).astype(int) - 128).astype(np.int8)
    (y,) = reference.outputs(graph, [x.reshape(given.shape)])
    real = np.float32(output.quant.scale[0]) * (
        y.reshape(-1).astype(np.int32) - int(output.quant.zero_point[0])
    ).astype(np.float32)
    if task == "ad":
        total = np.float32(0)
        for difference in (real - values).astype(np.float32):
            total = np.float32(total + np.float32(difference * difference))
        real = np.array([total / np.float32(len(values))], np.float32)
    return f"m-results-[{','.join(f'{value:.3f}' for value in real.tolist())}]"
