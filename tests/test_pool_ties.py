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
from tinygen.ops.pool_2d import AveragePool2D, Ties

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
