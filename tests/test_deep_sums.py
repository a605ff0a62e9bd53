"""Sums of so many products that they do not fit into 32 bits with the scale of packed weights, in fast kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import differences, varied
from emulated_bench import Bench
from operator_cases import NAMED, build

from tinygen.kernels.armv7em import packing

BOARD = "qemu-mps2-an386"
KERNELS = {
    "conv_2d-sums_beyond_23_bits_3x3": ("conv_2d.ring", "conv_2d.ring_compact", "conv_2d.patches"),
    "conv_2d-pointwise_sums_beyond_23_bits": ("conv_2d.pointwise_2x3", "conv_2d.pointwise_4x1_compact"),
    "fully_connected-sums_beyond_23_bits": ("fully_connected.4x1", "fully_connected.1x1_small"),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(("case", "kernel"), [(case, each) for case in KERNELS for each in KERNELS[case]])
def test_sums_that_need_a_smaller_scale_are_exact(bench: Bench, case: str, kernel: str, tmp_path: Path) -> None:
    built = build(NAMED[case], tmp_path, board=BOARD, kernel=kernel)
    (layer,) = built.manifest.layers
    assert layer.kernel == kernel
    assert any(f"scale {scale}," in layer.proof for scale in packing.DEEP_SCALES)
    assert differences(built, varied(built, 3), bench.running(built)) == []
