"""Average pools whose ties go up, as in models of uint8: the original cannot be asked about them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from building import BOARD, Built, differences, host, varied
from tflite_builder import build_case

from tinygen import output, pipeline, reference
from tinygen.ir import Array
from tinygen.ops import pool_2d
from tinygen.ops.case import Case
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.pool_2d import AveragePool2D, Ties
from tinygen.ops.window import Axis, Window

CASES = {case.name: case for case in pool_2d.cases() if case.op == "AVERAGE_POOL_2D"}
SAMPLES = 8


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


@pytest.mark.parametrize(("scale", "output_scale"), [(0.05, 0.05), (0.05, 0.031), (0.02, 0.5)])
@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (5, 7)])
def test_sums_decide_but_near_ties(shape: tuple[int, int], scale: float, output_scale: float) -> None:
    window = Window(*(Axis(taps, taps) for taps in shape))
    op = FloatAveragePool(window, float(np.float32(scale)), -3, float(np.float32(output_scale)), 5, (-128, 127))
    by_sums = op.by_sums()
    assert by_sums is not None
    rng = np.random.default_rng(0)
    centres = rng.integers(-128, 128, (5000, 1))
    x = np.clip(rng.integers(-40, 41, (5000, window.taps)) + centres, -128, 127).astype(np.int8)
    (expected,) = op.reference(x.reshape(-1, *shape, 1))
    sums = x.sum(axis=1, dtype=np.int64)
    far = ~by_sums.is_near(sums)
    found = np.clip(sums * by_sums.factor + by_sums.offset >> by_sums.bits, -128, 127)
    assert np.array_equal(found[far], expected.reshape(-1)[far])
    assert far.mean() > 1 / 2
