"""The files of cases, whatever their format."""

from __future__ import annotations

import onnx_builder
import tflite_builder

from tinygen.ops.case import ONNX, Case


def case_file(case: Case) -> tuple[str, bytes]:
    """Name and content of the model of a case."""
    builder = onnx_builder if case.suffix == ONNX else tflite_builder
    return f"case{case.suffix}", builder.build_case(case)
