"""Kernels with vectors where accumulators of a channel are exceptions to the line that its outputs are on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import Built, build_bytes, differences, varied
from emulated_bench import Bench
from qdq_net import SCALE, QdqNet

from tinygen.proofs.vector_product import prove_vector_product
from tinygen.rescaling import FloatRequant
from tinygen.samples import Sample

BOARD = "qemu-mps3-an547"
FACTOR, EXCEPTION, RANGE = 0.00547741400077939, 22182, (-41_144, 86_101)
"""Of a layer that there is: half-way between two outputs, its product is rounded to the even one, and no line is."""
SEVERAL = 0.0055978503078222275
"""The same, but that one exception is not enough."""
FILTERS = 9


def test_one_accumulator_is_an_exception() -> None:
    requant = FloatRequant((FACTOR, 0.00371234))
    low, high = (np.full(2, end) for end in RANGE)
    product = prove_vector_product(requant, -128, (-128, 127), low, high)
    assert product is not None and product.exception is not None and product.step is not None
    assert product.exception[0, 0] == EXCEPTION and product.step.astype(bool).tolist() == [[True, False]]
    every = np.arange(RANGE[0], RANGE[1] + 1)[:, None].repeat(2, axis=1)
    assert np.array_equal(product.apply(every), np.clip(requant.apply(every) - 128, -128, 127))


def test_a_few_accumulators_are_exceptions() -> None:
    requant = FloatRequant((SEVERAL, FACTOR, 0.00371234))
    low, high = (np.full(3, end) for end in RANGE)
    product = prove_vector_product(requant, -128, (-128, 127), low, high)
    assert product is not None and product.step is not None
    assert np.count_nonzero(product.step, axis=0).tolist() == [4, 1, 0]
    every = np.arange(RANGE[0], RANGE[1] + 1)[:, None].repeat(3, axis=1)
    assert np.array_equal(product.apply(every), np.clip(requant.apply(every) - 128, -128, 127))


def exceptions_of(factor: float) -> list[int]:
    low, high = (np.full(1, end) for end in RANGE)
    product = prove_vector_product(FloatRequant((factor,)), -128, (-128, 127), low, high)
    assert product is not None and product.exception is not None
    return [int(acc) for acc in product.exception[:, 0]]


def one_layer(op: str, factor: float) -> bytes:
    """With exceptions as biases: inputs that are mostly zero give them often, and others all that is around them."""
    net = QdqNet()
    net.zero_point = -128
    shapes = {"dense": (FILTERS, 16), "pointwise": (FILTERS, 16, 1, 1), "depthwise": (FILTERS, 1, 3, 3)}
    shape = {**shapes, "windows": (FILTERS, 16, 3, 3)}[op]
    weights = np.zeros((FILTERS, int(np.prod(shape[1:]))), np.int8)
    weights[:, :5] = 1, 127, 127, -127, -127
    scales = np.full(FILTERS, factor, np.float32)
    zeros = net.constant(np.zeros(FILTERS, np.int8))
    (w,) = net._add("DequantizeLinear", [net.constant(weights.reshape(shape)), net.constant(scales), zeros], axis=0)
    biases = np.resize(np.array(exceptions_of(factor), np.int32), FILTERS)
    quant = [net.constant(np.float32(SCALE) * scales), net.constant(np.zeros(FILTERS, np.int32))]
    (bias,) = net._add("DequantizeLinear", [net.constant(biases), *quant], axis=0)
    if op == "dense":
        return net.bytes(net.add("Gemm", net.input(1, 16), w, bias, transB=1))
    x = net.input(1, FILTERS if op == "depthwise" else 16, 9, 8)
    attributes = {"pads": [1] * 4} if op in ("depthwise", "windows") else {}
    group = FILTERS if op == "depthwise" else 1
    return net.bytes(net.add("Conv", x, w, bias, group=group, **attributes))


def mostly_zero(built: Built) -> list[Sample]:
    rng = np.random.default_rng(4)
    (port,) = built.manifest.inputs
    values = (SCALE * rng.integers(0, 256, (4, *port.shape)) * (rng.random((4, *port.shape)) < 0.1)).astype(np.float32)
    return [Sample(f"{index}", (array,)) for index, array in enumerate(values)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(
    ("op", "kernel", "factor"),
    [
        ("pointwise", "conv_2d.vectors_2x4", FACTOR),
        ("pointwise", "conv_2d.vectors_stationary", FACTOR),
        ("depthwise", "depthwise_conv_2d.strips", FACTOR),
        ("dense", "fully_connected.vectors_8x1", FACTOR),
        ("pointwise", "conv_2d.vectors_2x4", SEVERAL),
        ("windows", "conv_2d.vector_windows", SEVERAL),
        ("depthwise", "depthwise_conv_2d.strips", SEVERAL),
        ("dense", "fully_connected.vectors_8x1", SEVERAL),
    ],
)
def test_boards_give_the_exceptions(bench: Bench, op: str, kernel: str, factor: float, tmp_path: Path) -> None:
    built = build_bytes(one_layer(op, factor), tmp_path, board=BOARD, kernel=kernel, file="net.onnx")
    (proof,) = [layer.proof for layer in built.manifest.layers if layer.kernel == kernel]
    assert f"with {FILTERS * len(exceptions_of(factor))} exceptions" in proof
    assert differences(built, [*varied(built, 4), *mostly_zero(built)], bench.running(built)) == []
