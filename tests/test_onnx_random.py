"""Random networks, through quantize_static with any of its options or in QDQ form by hand, are ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import build_read, differences, varied
from emulated_bench import Bench
from onnx_nets import quantised
from onnxruntime.quantization import QuantFormat, QuantType
from random_onnx_nets import random_net
from random_qdq_nets import random_qdq_net
from test_onnx_models import assert_equal

from tinygen import pipeline

_OPTIONS = (
    *("ActivationSymmetric", "AddQDQPairToWeight", "CalibTensorRangeSymmetric", "DedicatedQDQPair"),
    "QDQKeepRemovableActivations",
)
NETS = 24


def random_options(rng: np.random.Generator) -> dict[str, Any]:
    """Also those with which ONNX Runtime computes a part in float32."""
    return {
        "quant_format": QuantFormat.QDQ,
        "activation_type": rng.choice([QuantType.QInt8, QuantType.QUInt8]),
        "weight_type": QuantType.QInt8,
        "per_channel": bool(rng.integers(2)),
        "reduce_range": bool(rng.integers(2)),
        "extra_options": {name: True for name in _OPTIONS if rng.random() < 0.3},
    }


@pytest.mark.parametrize("seed", range(NETS))
def test_random_networks_equal_onnx_runtime(seed: int, tmp_path: Path) -> None:
    made = random_net(seed)
    data = quantised(made.net, made.x, tmp_path, **random_options(made.rng))
    notes = assert_equal(data, 6).graph.notes
    assert not any("in float32" in note for note in notes)


@pytest.mark.parametrize("seed", range(NETS))
def test_random_operators_between_convolutions_equal_onnx_runtime(seed: int) -> None:
    assert_equal(random_qdq_net(seed), 12)


@pytest.mark.parametrize("board", ["qemu-mps2-an386", "microbit"])
def test_random_operators_between_convolutions_on_boards(board: str, tmp_path: Path) -> None:
    bench = Bench(board, tmp_path)
    for seed in range(NETS, NETS + 4):
        built = build_read(pipeline.decode(random_qdq_net(seed), "net.onnx"), tmp_path / str(seed), board=board)
        assert not differences(built, varied(built, 3), bench.running(built))
