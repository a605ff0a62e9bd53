"""What float32 holds besides moderate numbers: extremes, infinities and NaN, as all runtimes convert them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import assert_exact, build_bytes, differences, host
from tflite_builder import build_case

from tinygen import reference
from tinygen.ops.case import Case, CaseTensor
from tinygen.samples import Sample

NUMBERS = [
    *(0.0, -0.0, 0.5, -0.5, 0.9999999, -0.9999999, 126.99999, 127.0, 127.5, 128.0, -128.0, -128.99999, -129.0),
    *(32766.998, 32767.0, 32767.996, 32768.0, -32768.0, -32768.996, -32769.0, 16777216.0, -16777216.0, 2147483520.0),
]
BEYOND = [2147483648.0, -2147483648.0, -2147483904.0, 3e9, -3e9, 1e38, -1e38, np.inf, -np.inf, np.nan]


def sample(values: list[float]) -> Sample:
    return Sample("edges", (np.array(values, np.float32),))


@pytest.mark.parametrize("target", ["int8", "int16", "int32"])
def test_casts_saturate(target: str, tmp_path: Path) -> None:
    edges = sample(NUMBERS + BEYOND)
    (shape,) = {array.shape for array in edges.arrays}
    case = Case("", "CAST", (CaseTensor(shape, "float32"),), (CaseTensor(shape, target),))
    assert_exact(build_bytes(build_case(case), tmp_path), [edges])


@pytest.mark.parametrize("target", ["int8", "int16"])
def test_quantising_saturates(target: str, tmp_path: Path) -> None:
    def case(values: list[float]) -> Case:
        shape = (len(values),)
        return Case("", "QUANTIZE", (CaseTensor(shape, "float32"),), (CaseTensor(shape, target, 1.0, 3),))

    assert_exact(build_bytes(build_case(case(NUMBERS)), tmp_path / "numbers"), [sample(NUMBERS)])
    # Beyond int32 the original's conversion is undefined: there it gives the lower end for all.
    built = build_bytes(build_case(case(BEYOND)), tmp_path / "beyond")
    assert differences(built, [sample(BEYOND)], host(built)) == []
    (y,) = reference.outputs(built.model.graph, sample(BEYOND).arrays)
    low, high = np.iinfo(target).min, np.iinfo(target).max
    assert y.tolist() == [high if value > 0 else low for value in BEYOND]
