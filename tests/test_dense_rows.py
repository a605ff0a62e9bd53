"""Dense layers of one row in as little memory as the row and the results take, on an emulated board."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from building import build_bytes, differences, varied
from emulated_bench import Bench
from operator_cases import NAMED, build
from tflite_builder import OperatorSpec, build_model

from tinygen.memory import aligned
from tinygen.ops.case import Case, CaseTensor

BOARD = "qemu-mps2-an386"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("deep_in_words", "fully_connected.5x1_crossed"),
        ("many_results", "fully_connected.5x1_crossed"),
        ("more_results_than_values", "fully_connected.4x1_crossed"),
        ("many_results", "fully_connected.4x1_crossed"),
    ],
)
def test_words_lie_where_the_row_does_and_behind_the_results(
    bench: Bench, name: str, kernel: str, tmp_path: Path
) -> None:
    case = NAMED[f"fully_connected-{name}"]
    built = build(case, tmp_path, board=BOARD, kernel=kernel)
    assert [layer.kernel for layer in built.manifest.layers] == [kernel]
    assert built.manifest.arena_bytes <= row_bytes(case)
    assert differences(built, varied(built, 4), bench.running(built)) == []


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("fully_connected-deep", "fully_connected.4x1"),  # its last four bytes are read twice, in part
        ("conv_2d-pointwise_two_pixels", "conv_2d.pointwise_2x3"),
    ],
)
def test_rows_may_lie_at_the_end_of_what_they_are_expanded_to(
    bench: Bench, name: str, kernel: str, tmp_path: Path
) -> None:
    built = build(NAMED[name], tmp_path, board=BOARD, kernel=kernel)
    (layer,), (x, _) = built.manifest.layers, sizes(NAMED[name])
    assert layer.estimate is not None
    assert built.manifest.arena_bytes < layer.estimate.scratch + int(np.prod(x.shape))
    assert differences(built, varied(built, 4), bench.running(built)) == []


def row_bytes(case: Case) -> int:
    """Of the input and the output, next to each other."""
    return sum(aligned(int(np.prod(each.shape))) for each in sizes(case))


def sizes(case: Case) -> list[CaseTensor]:
    """What is computed from what."""
    return [tensor for tensor in (*case.inputs, *case.outputs) if tensor is not None and tensor.data is None]


@pytest.mark.parametrize("widths", [(96, 24, 96), (40, 40, 100, 8, 8)])
def test_layers_in_a_row_take_the_largest_input_and_output(
    bench: Bench, widths: tuple[int, ...], tmp_path: Path
) -> None:
    built = build_bytes(dense(widths), tmp_path, objective="ram", board=BOARD)
    assert built.manifest.arena_bytes <= max(a + b for a, b in pairwise(widths))
    assert differences(built, varied(built, 4), bench.running(built)) == []


def dense(widths: tuple[int, ...]) -> bytes:
    """Layers of these widths, each with as many weights of any size."""
    rng = np.random.default_rng(len(widths))
    tensors = [CaseTensor((1, widths[0]), "int8", 0.05, 3)]
    operators: list[OperatorSpec] = []
    for before, after in pairwise(widths):
        x, at = (0 if not operators else len(tensors) - 1), len(tensors)
        weights = rng.integers(-127, 128, (after, before)).astype(np.int8)
        tensors += [
            CaseTensor((after, before), "int8", 0.01, 0, data=weights),
            CaseTensor((after,), "int32", 0.0005, 0, data=rng.integers(-2000, 2000, after).astype(np.int32)),
            CaseTensor((1, after), "int8", 0.05, -7),
        ]
        operators.append(("FULLY_CONNECTED", [x, at, at + 1], [at + 2], {"fused_activation_function": "RELU"}))
    return build_model(tensors, operators, [0], [len(tensors) - 1])
