"""The parts of a tensor are copied one by one, where the tensor stays that long anyway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import assert_exact, build_read, varied
from random_nets import Value
from stream_nets import StreamNet
from tflite_builder import build_model

from tinygen import pipeline
from tinygen.options import Options


def halves(is_read_later: bool) -> bytes:
    """Each half of the channels goes through a layer of its own; the whole may be read behind them, too."""
    net = StreamNet(np.random.default_rng(3), "int8", "int8")
    first = net.value((1, 6, 5, 16))
    x = net.activated(first)
    parts = [net.value((1, 6, 5, 8), x.zero_point, net.tensors[x.id].scale) for _ in range(2)]
    axis = net.constant(np.array(3, np.int32))
    net.operators.append(("SPLIT", [axis, x.id], [part.id for part in parts], {"num_splits": 2}))
    ends = [net.windowed(part, "DEPTHWISE_CONV_2D", 8, kernel=(6, 5), padding="VALID") for part in parts]
    last: list[Value] = [net.windowed(x, "CONV_2D", 4, kernel=(6, 5), padding="VALID")] if is_read_later else []
    return build_model(net.tensors, net.operators, [first.id], [end.id for end in (*ends, *last)])


def order(model: pipeline.Model) -> list[str]:
    return [node.op.name for node in model.graph.nodes if node.op.name != "RELU"]


@pytest.mark.parametrize("is_read_later", [True, False])
def test_parts_are_copied_when_they_are_read(tmp_path: Path, is_read_later: bool) -> None:
    model = pipeline.decode(halves(is_read_later), "halves.tflite", Options())
    expected = ["SPLIT", "DEPTHWISE_CONV_2D"] * 2 if is_read_later else ["SPLIT", "SPLIT", *["DEPTHWISE_CONV_2D"] * 2]
    assert order(model)[:4] == expected
    built = build_read(model, tmp_path / "out")
    assert_exact(built, varied(built, 5))
