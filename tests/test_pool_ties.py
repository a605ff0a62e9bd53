"""Average pools whose ties go up, as in models of uint8: the original cannot be asked about them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from building import BOARD, Built, assert_exact, build_bytes, differences, host, varied
from case_files import case_file
from tflite_builder import build_case

from tinygen import output, pipeline, reference
from tinygen.ir import Array
from tinygen.ops import float_pool, pool_2d
from tinygen.ops.case import Case
from tinygen.ops.float_mean import FloatMean, MeanOrder
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.pool_2d import AveragePool2D, Ties
from tinygen.ops.pool_sums import Sums
from tinygen.ops.window import Axis, Window
from tinygen.proofs.tie_sums import TieSums

CASES = {case.name: case for case in pool_2d.cases() if case.op == "AVERAGE_POOL_2D"}
SAMPLES = 8
Ints = npt.NDArray[np.int64]
WITHOUT_FPU = "qemu-mps2-an385-m0"
SCALES = ((0.05, 0.05), (0.05, 0.031), (0.02, 0.5))


def built_with_ties_up(case: Case, folder: Path) -> Built:
    path = folder / "case.tflite"
    path.write_bytes(build_case(case))
    model = pipeline.read(path)
    (node,) = model.graph.nodes
    node = dataclasses.replace(node, op=dataclasses.replace(node.op, ties=Ties.UP))
    model = dataclasses.replace(model, graph=dataclasses.replace(model.graph, nodes=(node,)))
    build = pipeline.build(model, BOARD, "kws")
    output.write(build.files, folder / "out")
    return Built(model, folder / "out", build.manifest)


def by_hand(x: Array, op: AveragePool2D) -> Array:
    """(sum + count / 2) / count of the values counted from the least, tap by tap."""
    low = np.iinfo(x.dtype).min
    rows, columns = op.window.rows, op.window.columns
    height, width = op.window.output_size(*x.shape[1:3])
    y = np.empty((x.shape[0], height, width, x.shape[3]), x.dtype)
    for n, oy, ox, c in np.ndindex(y.shape):
        y0, x0 = oy * rows.stride - rows.before, ox * columns.stride - columns.before
        taps = [
            int(x[n, iy, ix, c]) - low
            for iy in range(max(y0, 0), min(y0 + rows.taps, x.shape[1]))
            for ix in range(max(x0, 0), min(x0 + columns.taps, x.shape[2]))
        ]
        y[n, oy, ox, c] = np.clip((sum(taps) + len(taps) // 2) // len(taps) + low, *op.clamp)
    return y


@pytest.mark.parametrize("name", CASES)
def test_ties_go_up_in_the_reference_and_in_c(name: str, tmp_path: Path) -> None:
    built = built_with_ties_up(CASES[name], tmp_path)
    inputs = varied(built, SAMPLES)
    assert differences(built, inputs, host(built)) == []
    (node,) = built.model.graph.nodes
    for sample in inputs:
        (found,) = reference.outputs(built.model.graph, sample.arrays)
        assert np.array_equal(found, by_hand(sample.arrays[0], node.op))


def test_ties_make_a_difference(tmp_path: Path) -> None:
    built = built_with_ties_up(CASES["average_2x2"], tmp_path)
    (node,) = built.model.graph.nodes
    away = dataclasses.replace(node.op, ties=Ties.AWAY_FROM_ZERO)
    differ = [np.any(node.op.reference(*s.arrays)[0] != away.reference(*s.arrays)[0]) for s in varied(built, SAMPLES)]
    assert any(differ)
    assert "ties up" in built.source.read_text()


@pytest.mark.parametrize(("scale", "output_scale"), SCALES)
@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (5, 7)])
def test_sums_decide_but_near_ties(shape: tuple[int, int], scale: float, output_scale: float) -> None:
    window = Window(*(Axis(taps, taps) for taps in shape))
    op = FloatAveragePool(window, float(np.float32(scale)), -3, float(np.float32(output_scale)), 5, (-128, 127))
    x = _about_centres(5000, window.taps)
    (expected,) = op.reference(x.reshape(-1, *shape, 1))
    _assert_sums_decide(op.by_sums(), x, expected)


@pytest.mark.parametrize(("scale", "output_scale"), SCALES)
@pytest.mark.parametrize("order", MeanOrder)
def test_sums_of_means_decide_but_near_ties(order: MeanOrder, scale: float, output_scale: float) -> None:
    op = FloatMean(float(np.float32(scale)), -3, float(np.float32(output_scale)), 5, (-128, 127), order)
    x = _about_centres(1000, 35)
    image = x.reshape(-1, 5, 7, 1)
    (expected,) = op.reference(image)
    _assert_sums_decide(op.by_sums(image.shape), x, expected)


def _about_centres(count: int, taps: int) -> Array:
    """(count, taps): windows whose values lie about one of their own."""
    rng = np.random.default_rng(0)
    centres = rng.integers(-128, 128, (count, 1))
    return np.clip(rng.integers(-40, 41, (count, taps)) + centres, -128, 127).astype(np.int8)


def _assert_sums_decide(by_sums: Sums | None, x: Array, expected: Array) -> None:
    """For most windows (count, taps), and rightly."""
    assert by_sums is not None
    sums = x.sum(axis=1, dtype=np.int64)
    far = ~by_sums.is_near(sums)
    found = np.clip(sums * by_sums.factor + by_sums.offset >> by_sums.bits, -128, 127)
    assert np.array_equal(found[far], expected.reshape(-1)[far])
    assert far.mean() > 1 / 2


@pytest.mark.parametrize(
    ("shape", "zero_points"),
    [((2, 2), (0, 0)), ((2, 4), (131, 0)), ((4, 4), (0, 0))],
)
def test_without_an_fpu_ties_are_decided_in_integers(
    shape: tuple[int, int], zero_points: tuple[int, int], tmp_path: Path
) -> None:
    """Where both scales are one, so that every so many sums are ties; with values of one sign, and of both."""
    x = (1, 64, 4 * shape[0], 4 * shape[1])
    case = float_pool._case(
        "ties", x, shape, shape, dtype="uint8", scale=0.031, output_scale=0.031, zero_points=zero_points
    )
    file, data = case_file(case)
    built = build_bytes(data, tmp_path, board=WITHOUT_FPU, file=file)
    assert "float sum" not in built.source.read_text()
    assert_exact(built, varied(built, SAMPLES))


@pytest.mark.parametrize(("scale", "taps"), [(0.145454, 4), (0.052, 2), (0.0123, 8), (0.5, 16)])
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_sums_in_integers_are_the_float32_sums(scale: float, taps: int, zero_point: int) -> None:
    found = TieSums.of(float(np.float32(scale)), -128 - zero_point, 127 - zero_point, taps)
    assert found is not None
    rng = np.random.default_rng(1)
    values = np.clip(rng.integers(-40, 41, (20_000, taps)) + rng.integers(-128, 128, (20_000, 1)), -128, 127)
    values -= zero_point
    floats, steps, low = np.zeros(20_000, np.float32), np.zeros(20_000, np.int64), np.zeros(20_000, np.int64)
    for value in values.T:
        floats += value.astype(np.float32) * np.float32(scale)
        steps += value
        low = rounded(low + rounded(value * found.significand, found.places(value)), found.places(steps))
    ties = steps % taps == taps // 2
    expected = np.rint(floats[ties] / np.float32(taps) / np.float32(scale))
    assert np.array_equal(found.results(steps, low - steps * found.significand, taps)[ties], expected)


def rounded(sums: Ints, places: Ints) -> Ints:
    """Without the lowest bits, ties to even."""
    quotient, rest = sums >> places, sums & (1 << places) - 1
    half = 1 << places >> 1
    return quotient + ((rest > half) | (rest == half) & (places > 0) & (quotient & 1 == 1)) << places
