"""Kernels with vectors that rescale sums in float32, as rounding there leaves some channel without a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import Built, build_bytes, differences, varied
from emulated_bench import Bench
from qdq_net import SCALE, QdqNet

from tinygen.proofs.vector_float import vector_float
from tinygen.proofs.vector_product import prove_vector_product
from tinygen.rescaling import FloatRequant, Requant
from tinygen.samples import Sample

BOARD = "qemu-mps3-an547"
FACTOR, HALF_WAY, RANGE = 0.00547741400077939, 22182, (-41_144, 86_101)
"""Of a layer that there is: half-way between two outputs, this sum's product is rounded to the even one; no line is."""
OF_TIES = 2.0**-8
"""Every other product is half-way: no line is there, whatever the zero point."""
FILTERS = 9


@pytest.mark.parametrize(
    ("zero_point", "clamp"), [(-128, (-128, 127)), (0, (-100, 90)), (100, (0, 127)), (-7, (-128, 127))]
)
def test_products_are_rounded_as_the_rule_has_it(zero_point: int, clamp: tuple[int, int]) -> None:
    requant = FloatRequant((FACTOR, 0.25, 2.0**-9))
    low, high = (np.full(3, end) for end in RANGE)
    product = vector_float(requant, zero_point, clamp, low, high)
    assert product is not None and product.is_narrow
    assert (product.rounder is None) == bool(zero_point % 2), "an odd number would make odd ones of even ones"
    every = np.arange(RANGE[0], RANGE[1] + 1)[:, None].repeat(3, axis=1)
    assert np.array_equal(product.apply(every), np.clip(requant.apply(every) + zero_point, *clamp))


@pytest.mark.parametrize(("zero_point", "clamp"), [(-128, (-128, 127)), (0, (-100, 90)), (100, (0, 127))])
def test_products_beyond_halfwords_are_saturated(zero_point: int, clamp: tuple[int, int]) -> None:
    requant = FloatRequant((FACTOR, 0.5, 2.0**-9))
    low, high = (np.full(3, end) for end in RANGE)
    product = vector_float(requant, zero_point, clamp, low, high)
    assert product is not None and not product.is_narrow and product.rounder is None
    every = np.arange(RANGE[0], RANGE[1] + 1)[:, None].repeat(3, axis=1)
    assert np.array_equal(product.apply(every), np.clip(requant.apply(every) + zero_point, *clamp))
    far = np.full((2, 3), 2**31 - 1) * [[1], [-1]]
    assert np.array_equal(product.apply(far), np.clip(requant.apply(far) + zero_point, *clamp))


def test_it_is_for_one_rule_and_where_no_line_is() -> None:
    low, high = (np.array([end]) for end in RANGE)
    layer = (-128, (-128, 127), low, high)
    assert prove_vector_product(FloatRequant((FACTOR,)), *layer) is None
    assert vector_float(FloatRequant((FACTOR,), added=3), *layer) is None
    assert vector_float(Requant.from_scales(FACTOR), *layer) is None
    assert vector_float(FloatRequant((FACTOR,)), 0, (0, 255), low, high) is None


def one_layer(op: str, zero_point: int) -> bytes:
    """With that sum as bias: inputs that are mostly zero give it often, and others all that there is around it."""
    net = QdqNet()
    net.zero_point = zero_point
    depth = {
        "square": (2, 3, 3),
        "depthwise": (1, 3, 3),
        "inside": (1, 3, 3),
        "pointwise": (16, 1, 1),
        "long": (40,),
    }.get(op, (16,))
    weights = np.zeros((FILTERS, int(np.prod(depth))), np.int8)
    weights[:, :5] = 1, 127, 127, -127, -127
    scales = np.full(FILTERS, FACTOR if zero_point == -128 else OF_TIES, np.float32)
    zeros = net.constant(np.zeros(FILTERS, np.int8))
    quant = [net.constant(scales), zeros]
    (w,) = net._add("DequantizeLinear", [net.constant(weights.reshape(FILTERS, *depth)), *quant], axis=0)
    quant = [net.constant(np.float32(SCALE) * scales), net.constant(np.zeros(FILTERS, np.int32))]
    (bias,) = net._add("DequantizeLinear", [net.constant(np.full(FILTERS, HALF_WAY, np.int32)), *quant], axis=0)
    if op in ("dense", "long"):
        return net.bytes(net.add("Gemm", net.input(1, *depth), w, bias, transB=1))
    group = FILTERS if depth[0] == 1 else 1
    x = net.input(1, depth[0] * group, 9, 8)
    pads = [1] * 4 if op in ("square", "depthwise") else [0] * 4
    return net.bytes(net.add("Conv", x, w, bias, group=group, pads=pads))


def mostly_zero(built: Built) -> list[Sample]:
    rng = np.random.default_rng(4)
    (port,) = built.manifest.inputs
    values = (SCALE * rng.integers(0, 256, (4, *port.shape)) * (rng.random((4, *port.shape)) < 0.1)).astype(np.float32)
    return [Sample(f"{index}", (array,)) for index, array in enumerate(values)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(
    ("op", "kernel", "zero_point"),
    [
        ("pointwise", "conv_2d.vectors_2x4", -128),
        ("pointwise", "conv_2d.vectors_stationary", -128),
        ("square", "conv_2d.vector_windows", 5),
        ("square", "conv_2d.vector_windows", -128),
        ("square", "conv_2d.vector_columns", -128),
        ("square", "conv_2d.vector_rows", 0),
        ("depthwise", "depthwise_conv_2d.strips", 7),
        ("depthwise", "depthwise_conv_2d.strips", -128),
        ("inside", "depthwise_conv_2d.channels", -128),
        ("dense", "fully_connected.vectors_8x1", -128),
        ("long", "fully_connected.vectors_8x1_compact", -128),
    ],
)
def test_boards_round_as_the_reference(bench: Bench, op: str, kernel: str, zero_point: int, tmp_path: Path) -> None:
    built = build_bytes(one_layer(op, zero_point), tmp_path, board=BOARD, kernel=kernel, file="net.onnx")
    (proof,) = [layer.proof for layer in built.manifest.layers if layer.kernel == kernel]
    assert proof.startswith("float32 products in vectors")
    assert differences(built, [*varied(built, 4), *mostly_zero(built)], bench.running(built)) == []
