"""Softmax of ONNX Runtime on cores without an FPU: its float32 sums and quotients, in integers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from building import Built, assert_exact, build_bytes
from case_files import case_file

from tinygen.ops import float_softmax
from tinygen.samples import Sample

BOARD = "qemu-mps2-an385-m0"
ROWS = 2000


def built_for(rows: int, depth: int, scale: float, output: tuple[float, int], folder: Path) -> Built:
    file, data = case_file(float_softmax._case("rows", (rows, depth), scale, output))
    built = build_bytes(data, folder, board=BOARD, file=file)
    (layer,) = built.manifest.layers
    assert layer.kernel == "float_softmax.integer"
    code = re.sub(r"/\*.*?\*/", "", built.source.read_text(), flags=re.DOTALL)
    assert not re.search(r"\bfloat\b", code)
    return built


@pytest.mark.parametrize(
    ("depth", "scale", "output"),
    [
        (10, 0.11, (1 / 256, -128)),  # 256 steps
        (2, 0.03, (1 / 255, -128)),  # of equal values half of 254
        (3, 0.7, (1 / 255.5, -128)),  # of pairs of equal values, a tie
        (7, 12.0, (0.013, 20)),  # most exponentials are too small to count, or no normal floats
        (40, 0.004, (0.9, 0)),  # one step
    ],
)
def test_sums_and_quotients_are_the_float32_ones(
    depth: int, scale: float, output: tuple[float, int], tmp_path: Path
) -> None:
    built = built_for(ROWS, depth, scale, output, tmp_path)
    rng = np.random.default_rng(depth)
    rows = rng.normal(0, rng.choice([1, 4, 30], (ROWS, 1)), (ROWS, depth)) + rng.integers(-50, 50, (ROWS, 1))
    assert_exact(built, [Sample("rows", (np.clip(np.rint(rows), -128, 127).astype(np.int8),))])


def test_exponentials_count_that_are_far_below_the_others(tmp_path: Path) -> None:
    """Of two equal maxima half of 255 is a tie, which all the others together move, each far below half a place."""
    built = built_for(1, 10, 0.305, (1 / 255.5, -128), tmp_path)
    below = np.array([[64, 52, 83, 72, 0, 77, 0, 71, 79, 58]])
    assert_exact(built, [Sample("row", ((127 - below).astype(np.int8),))])
