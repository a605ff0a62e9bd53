"""Cases of one operator that are refused, and the reason that is expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_builder import build_case

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.ops.case import Case, CaseTensor


def integers(*values: int, dtype: str = "int32") -> CaseTensor:
    array = np.array(values, dtype)
    return CaseTensor(array.shape, dtype, data=array)


def assert_refused(case: Case, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(build_case(case))
    with pytest.raises(UnsupportedModel, match=expected):
        pipeline.read(path)
