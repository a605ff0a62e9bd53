"""Sums in float32 without channels that have no effect, and frame by frame: as ONNX Runtime has the whole model."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from onnx_nets import Net
from test_dead_channels import check
from test_onnx_models import assert_equal
from test_streaming import assert_frames_are_windows, macs

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.interval import BoolArray
from tinygen.ops.float_channels import FloatWeighted
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_sums import Way
from tinygen.options import Options, Streaming

STEP = 0.1
"""The scale of inputs and weights, which float32 does not have exactly; outputs have an even multiple of its square."""


class DeadNet(Net):
    """Layers of int8 that ONNX Runtime computes in float32, as two read each activation.

    Some of their channels are zero, or read by none.
    """

    def __init__(self, shape: Sequence[int | str], seed: int, dead: float) -> None:
        super().__init__(shape, seed)
        self.dead = dead
        self.others: list[str] = []

    def layer(self, x: str, channels: int, shape: tuple[int, ...], op: str = "Conv", **at: object) -> str:
        """With filters of this shape, and a small layer beside it, of whose output nothing is left out."""
        unread = self.rng.random(channels) < self.dead
        self.others.append(self._sums(x, unread, (2, channels, *[1] * (len(shape) - 2)), "Conv"))
        return self._sums(x, unread, shape, op, **at)

    def _sums(self, x: str, unread: BoolArray, shape: tuple[int, ...], op: str, **at: object) -> str:
        weights = self.rng.integers(-3, 4, shape).astype(np.int8)
        if op == "ConvTranspose":
            weights[unread] = 0
            filters, terms = shape[1], math.prod(shape) // shape[1]
        else:
            filters, terms = shape[0], math.prod(shape[1:])
            for group, rows in enumerate(np.split(weights, len(unread) // shape[1])):
                rows[:, unread[group * shape[1] : (group + 1) * shape[1]]] = 0
        scale = self.constant(STEP), self.constant(0, np.int8)
        taken = self.add("DequantizeLinear", self.constant(weights, np.int8), *scale)
        bias = np.where(self.rng.random(filters) < self.dead, -1e4, self.rng.normal(0, 3, filters))
        y = self.add("Relu", self.add(op, x, taken, self.constant(bias), **at))
        return self.quantised(y, 2 * STEP * STEP * math.ceil(1.6 * terms**0.5), -128)

    def file(self, y: str) -> bytes:
        return self.model(y, *self.others)


def dead_net(seed: int) -> bytes:
    """Terms make one chain, or blocks; in groups, depthwise, and transposed."""
    net = DeadNet([1, 6, 9, 8], seed, 0.35)
    deep = 20 if seed % 2 else 12
    x = net.layer(net.quantised("x", STEP, 3), 6, (deep, 6, 3, 3), pads=[1, 1, 1, 1])
    x = net.layer(x, deep, (deep, 1, 3, 3), group=deep, pads=[1, 1, 1, 1])
    x = net.layer(x, deep, (12, deep, 3, 3), pads=[1, 1, 1, 1])
    x = net.layer(x, 12, (8, 3, 3, 3), group=4, strides=[2, 2])
    x = net.layer(x, 8, (8, 5, 2, 2), "ConvTranspose")
    return net.file(net.layer(x, 5, (3, 5, 1, 1)))


def test_channels_without_effect_are_not_computed() -> None:
    narrowed: Counter[str] = Counter()
    constant = 0
    for seed in range(8):
        assert_equal(dead_net(seed), 6)
        model = pipeline.decode(dead_net(seed), "net.onnx", Options(io="int8"))
        check(model, seed)
        kept = model.graph.kept
        floats = [node for node in model.graph.nodes if isinstance(node.op, FloatWeighted)]
        assert len(floats) == 12
        narrowed.update(node.op.name for node in floats if {*node.inputs, *node.outputs} & kept.keys())
        constant += sum(removed.value is not None for removed in model.graph.removed)
    assert min(narrowed["CONV_2D"], narrowed["TRANSPOSE_CONV"], constant) > 5  # else this compares nothing


def test_blocks_that_begin_elsewhere_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(op: FloatConv, terms: int) -> tuple[FloatConv, FloatConv]:
        return op, dataclasses.replace(op, order=dataclasses.replace(op.order, terms=terms))

    monkeypatch.setattr(FloatConv, "lacking", lacking)
    with pytest.raises(AssertionError):
        for seed in range(8):
            check(pipeline.decode(dead_net(seed), "net.onnx", Options(io="int8")), seed)


def frames_net() -> bytes:
    """Convolutions over some frames, the second of which has one filter for each channel."""
    net = DeadNet([1, 4, 16, 3], 5, 0.0)
    x = net.layer(net.quantised("x", STEP, 3), 4, (6, 4, 3, 1))
    x = net.layer(x, 6, (6, 1, 2, 2), group=6)
    return net.file(net.layer(x, 6, (5, 6, 2, 1), dilations=[2, 1]))


def test_frame_by_frame_is_window_by_window() -> None:
    options = Options(io="int8", layout="nhwc", streaming=Streaming(2, 1))
    model = pipeline.decode(frames_net(), "net.onnx", options)
    floats = [node.op for node in model.graph.nodes if isinstance(node.op, FloatConv)]
    assert {Way.CHAIN, Way.FOURS} <= {op.order.way for op in floats}
    whole = assert_frames_are_windows(frames_net(), model, np.random.default_rng(1), "net.onnx")
    assert macs(model.graph) < macs(whole)


def test_an_order_that_moves_with_the_frames_is_refused() -> None:
    """Where the image is as wide as the window, the eighths are added up in a way that the place decides on."""
    net = DeadNet([1, 3, 16, 2], 5, 0.0)
    data = net.file(net.layer(net.quantised("x", STEP, 3), 3, (3, 1, 3, 2), group=3))
    with pytest.raises(UnsupportedModel, match="where a row lies in the window"):
        pipeline.decode(data, "net.onnx", Options(layout="nhwc", streaming=Streaming(2, 1)))
