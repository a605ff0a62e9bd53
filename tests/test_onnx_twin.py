"""The same network as .onnx and .tflite: the same kernels, and nearly the same instructions and bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import Built, differences, varied
from emulated_bench import Bench
from onnx import TensorProto
from onnx_nets import Net
from tflite_builder import build_model

from tinygen import output, pipeline
from tinygen.goal import Goal
from tinygen.manifest import Manifest
from tinygen.ops.case import CaseTensor
from tinygen.options import Options

MOST = 1.05
LINE = len("high half of a product")
SIZE, CHANNELS, FILTERS, CLASSES = 24, 12, 20, 10
SCALES = (0.03, 0.11, 0.17, 0.23, 0.4)  # of the input, and behind each layer
RELU = -128


class Weights:
    """Filters and biases of both models, in the layouts of TensorFlow Lite."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        shapes = [(CHANNELS, 3, 3, 1), (1, 3, 3, CHANNELS), (FILTERS, 1, 1, CHANNELS), (CLASSES, FILTERS * 16)]
        self.values = [rng.integers(-127, 128, shape).astype(np.int8) for shape in shapes]
        channels = (CHANNELS, CHANNELS, FILTERS, CLASSES)
        self.scales = [rng.uniform(0.002, 0.02, count).astype(np.float32) for count in channels]
        self.biases = [rng.integers(-2000, 2000, count).astype(np.int32) for count in channels]


def tflite_net(weights: Weights) -> bytes:
    activations = [
        CaseTensor((1, SIZE, SIZE, 1), scale=SCALES[0], zero_point=4),
        CaseTensor((1, SIZE, SIZE, CHANNELS), scale=SCALES[1], zero_point=RELU),
        CaseTensor((1, SIZE, SIZE, CHANNELS), scale=SCALES[2], zero_point=RELU),
        CaseTensor((1, SIZE, SIZE, FILTERS), scale=SCALES[3], zero_point=RELU),
        CaseTensor((1, 4, 4, FILTERS), scale=SCALES[3], zero_point=RELU),
        CaseTensor((1, FILTERS * 16), scale=SCALES[3], zero_point=RELU),
        CaseTensor((1, CLASSES), scale=SCALES[4], zero_point=3),
    ]
    constants = []
    for index, (values, scales, biases) in enumerate(zip(weights.values, weights.scales, weights.biases, strict=True)):
        axis = 3 if index == 1 else 0
        constants.append(CaseTensor(values.shape, scale=tuple(scales.tolist()), axis=axis, data=values))
        products = tuple((np.float32(SCALES[min(index, 3)]) * scales).tolist())
        constants.append(CaseTensor(biases.shape, "int32", scale=products, data=biases))
    step = {"stride_h": 1, "stride_w": 1, "padding": "SAME", "fused_activation_function": "RELU"}
    pool = {"stride_h": 6, "stride_w": 6, "filter_height": 6, "filter_width": 6, "padding": "VALID"}
    return build_model(
        [*activations, *constants],
        [
            ("CONV_2D", [0, 7, 8], [1], step),
            ("DEPTHWISE_CONV_2D", [1, 9, 10], [2], {**step, "depth_multiplier": 1}),
            ("CONV_2D", [2, 11, 12], [3], step),
            ("MAX_POOL_2D", [3], [4], pool),
            ("RESHAPE", [4], [5], {"new_shape": (1, FILTERS * 16)}),
            ("FULLY_CONNECTED", [5, 13, 14], [6], {}),
        ],
        [0],
        [6],
    )


def onnx_net(weights: Weights) -> bytes:
    """With edges of uint8: layers at edges of int8 are not fused in ONNX Runtime, but computed in float32."""
    net = Net([1, 1, SIZE, SIZE], dtype=TensorProto.UINT8)

    def layer(x: str, index: int, op: str, values: np.ndarray, zero_point: int, **attributes: object) -> str:
        scales = weights.scales[index]
        zero_points = net.constant(np.zeros(len(scales)), np.int8)
        filters = net.add("DequantizeLinear", net.constant(values, np.int8), net.constant(scales), zero_points, axis=0)
        products = net.constant(np.float32(SCALES[min(index, 3)]) * scales)
        biases = net.constant(weights.biases[index], np.int32)
        bias = net.add("DequantizeLinear", biases, products, axis=0)
        return net.add(op, x, filters, bias, **attributes)

    def pair(x: str, scale: float, zero_point: int) -> str:
        return net.quantised(x, scale, zero_point)

    x = net.add("DequantizeLinear", "x", net.constant(SCALES[0]), net.constant(4 + 128, np.uint8))
    first, depthwise, pointwise, dense = weights.values
    x = pair(layer(x, 0, "Conv", first.transpose(0, 3, 1, 2), RELU, pads=[1, 1, 1, 1]), SCALES[1], RELU)
    x = layer(x, 1, "Conv", depthwise.transpose(3, 0, 1, 2), RELU, pads=[1, 1, 1, 1], group=CHANNELS)
    x = pair(x, SCALES[2], RELU)
    x = pair(layer(x, 2, "Conv", pointwise.transpose(0, 3, 1, 2), RELU), SCALES[3], RELU)
    x = pair(net.add("MaxPool", x, kernel_shape=[6, 6], strides=[6, 6]), SCALES[3], RELU)
    rows = dense.reshape(CLASSES, 4, 4, FILTERS).transpose(0, 3, 1, 2).reshape(CLASSES, -1)
    x = layer(pair(net.add("Flatten", x), SCALES[3], RELU), 3, "Gemm", rows, 3, transB=1)
    return net.model(net.add("QuantizeLinear", x, net.constant(SCALES[4]), net.constant(3 + 128, np.uint8)))


def built(data: bytes, name: str, board: str, objective: str) -> Manifest:
    return pipeline.build(pipeline.decode(data, name, Options(io="int8")), board, "net", Goal(objective)).manifest


def instructions(built: Manifest) -> int:
    """Of all layers."""
    return sum(layer.estimate.instructions or 0 for layer in built.layers)


@pytest.mark.parametrize(
    ("board", "objective"), [("qemu-mps2-an386", "speed"), ("microbit", "speed"), ("microbit", "balanced")]
)
def test_an_onnx_model_becomes_what_its_twin_becomes(board: str, objective: str) -> None:
    """The same layers and kernels, without a transposition, in as many bytes, as fast with lines or an FPU."""
    weights = Weights()
    onnx, tflite = (
        built(data, name, board, objective)
        for data, name in ((onnx_net(weights), "net.onnx"), (tflite_net(weights), "net.tflite"))
    )
    assert onnx.macs == tflite.macs > 0
    assert onnx.arena_bytes <= MOST * tflite.arena_bytes
    assert onnx.const_bytes <= MOST * tflite.const_bytes
    for one, other in zip(onnx.layers, tflite.layers, strict=True):
        assert one.kernel == other.kernel
        if one.proof[:LINE] == other.proof[:LINE] and "float32" not in one.proof:
            assert (one.estimate.instructions or 0) <= MOST * (other.estimate.instructions or 0)
    if board != "microbit":
        assert instructions(onnx) <= MOST * instructions(tflite)


def test_layers_of_other_zero_points_share_a_function(tmp_path: Path) -> None:
    """Half of all products lie half-way between two outputs: no line is there, and float32 rounds them."""
    net = Net([1, 8, 6, 6], dtype=TensorProto.UINT8)
    x = net.add("DequantizeLinear", "x", net.constant(1.0), net.constant(128, np.uint8))
    for zero_point in (3, 130, 77):
        x = net.quantised(net.add("Conv", x, net.weights(8, 8, 1, 1, scale=[2.0**-8] * 8)), 1.0, zero_point, np.uint8)
    model = pipeline.decode(net.model(x), "net.onnx", Options(io="int8"))
    build = pipeline.build(model, "qemu-mps2-an386", "net", Goal("size"))
    layers = [layer for layer in build.manifest.layers if layer.op == "CONV_2D"]
    assert len(layers) == 3 and all("float32 product" in layer.proof for layer in layers)
    (kernels,) = [data.decode() for path, data in build.files.items() if path.endswith("net_kernels.S")]
    assert kernels.count(".global") == 1
    output.write(build.files, tmp_path / "out")
    found = Built(model, tmp_path / "out", build.manifest)
    bench = Bench("qemu-mps2-an386", tmp_path)
    assert differences(found, varied(found, 4), bench.running(found)) == []
