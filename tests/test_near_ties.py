"""Kernels of Armv6-M whose near ties are decided as float32 has them, apart from the line of all other sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from building import build_bytes, differences, varied
from emulated_bench import Bench
from qdq_net import SCALE, QdqNet

BOARD = "microbit"
FACTORS = np.array([2.0**-6, 2.0**-7, 0.00547741400077939, 0.0105, 2.0**-5, 0.0043], np.float32)
"""Of powers of two, many products are half-way between two outputs."""
FAR_APART = np.array([0.000097, 0.00013, 2.0**-9, 0.0017, 2.0**-13, 0.00031], np.float32)
"""One product is too coarse for the least of them."""
CHANNELS = len(FACTORS)
SAMPLES = 6


def net_of(op: str, zero_point: int, factors: npt.NDArray[np.float32] = FACTORS) -> bytes:
    """One layer."""
    net = QdqNet()
    net.zero_point = zero_point
    depths = {"pointwise": (8, 1, 1), "3x3": (8, 3, 3), "5x5": (8, 5, 5), "depthwise": (1, 3, 3), "5x5 each": (1, 5, 5)}
    depth = depths[op]
    weights = net.rng.integers(-127, 128, (CHANNELS, *depth)).astype(np.int8)
    zeros = net.constant(np.zeros(CHANNELS, np.int8))
    (w,) = net._add("DequantizeLinear", [net.constant(weights), net.constant(factors), zeros], axis=0)
    quant = [net.constant(np.float32(SCALE) * factors), net.constant(np.zeros(CHANNELS, np.int32))]
    biases = net.rng.integers(-3000, 3000, CHANNELS).astype(np.int32)
    (bias,) = net._add("DequantizeLinear", [net.constant(biases), *quant], axis=0)
    group = CHANNELS if depth[0] == 1 else 1
    x = net.input(1, depth[0] * group, 9, 8)
    return net.bytes(net.add("Conv", x, w, bias, group=group, pads=[depth[1] // 2] * 4))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(
    ("op", "kernel", "zero_point"),
    [
        *(("pointwise", "conv_2d.packed_pairs", zero_point) for zero_point in (-128, 0, 127)),
        ("3x3", "conv_2d.packed_pairs_compact", 9),
        ("3x3", "conv_2d.packed_lean", -128),
        ("pointwise", "conv_2d.packed_fours", -128),
        ("pointwise", "conv_2d.packed_bytes", 9),
        ("3x3", "conv_2d.winograd_2x2_words", 0),
        ("depthwise", "depthwise_conv_2d.word_plane", -128),
        ("depthwise", "depthwise_conv_2d.word_plane", 9),
        ("depthwise", "depthwise_conv_2d.lane_plane", -128),
        ("depthwise", "depthwise_conv_2d.lane_plane", 9),
    ],
)
def test_boards_decide_as_the_reference(bench: Bench, op: str, kernel: str, zero_point: int, tmp_path: Path) -> None:
    built = build_bytes(net_of(op, zero_point), tmp_path, board=BOARD, kernel=kernel, file="net.onnx")
    (proof,) = [layer.proof for layer in built.manifest.layers if layer.kernel == kernel]
    assert proof.startswith("near ties")
    assert differences(built, varied(built, SAMPLES), bench.running(built)) == []


@pytest.mark.parametrize(
    ("op", "kernel", "zero_point"),
    [
        ("5x5", "conv_2d.packed_pairs_compact", 9),
        ("5x5", "conv_2d.packed_lean", -128),
        ("5x5", "conv_2d.packed_bytes", 9),
        ("5x5 each", "depthwise_conv_2d.word_plane", 9),
    ],
)
def test_factors_far_apart_take_two_parts(bench: Bench, op: str, kernel: str, zero_point: int, tmp_path: Path) -> None:
    built = build_bytes(net_of(op, zero_point, FAR_APART), tmp_path, board=BOARD, kernel=kernel, file="net.onnx")
    (proof,) = [layer.proof for layer in built.manifest.layers if layer.kernel == kernel]
    assert proof.startswith("near ties") and "2 products" in proof
    assert differences(built, varied(built, SAMPLES), bench.running(built)) == []
