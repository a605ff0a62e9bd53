"""What an operator's own test cases are made of: single-operator models, stated as a converter would.

The cases live beside the operator; the tests enumerate them, write each as a file, and compare reference, generated C
and the original runtime. Adding an operator with its cases therefore edits no test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

TFLITE, ONNX = ".tflite", ".onnx"


@dataclass(frozen=True)
class CaseTensor:
    """A tensor of a case; `data` makes it a constant. Per-channel scales are a tuple, along `axis`."""

    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | tuple[float, ...] | None = None
    zero_point: int = 0
    axis: int = 0
    data: np.ndarray | None = None
    is_variable: bool = False
    """Keeps its value from one invocation to the next: no input of the model."""


@dataclass(frozen=True)
class Case:
    """One single-operator model, as a .tflite file unless `suffix` says otherwise.

    `op` is TensorFlow Lite's name ("CONV_2D"). `options` are the fields of the operator's option table in the
    schema's own snake_case names, enumerations by name: ``{"padding": "SAME", "stride_h": 2}``.

    Of an .onnx file they are ONNX's names and attributes; DequantizeLinear stands behind every input with a scale, and
    QuantizeLinear before every output with one. "Identity" stands for no operator at all.
    """

    name: str
    op: str
    inputs: tuple[CaseTensor | None, ...]
    outputs: tuple[CaseTensor, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    no_flat_inputs: str = ""
    """Why the original runtime cannot be asked about inputs whose elements are all equal; empty: it can."""
    suffix: str = TFLITE
    """Of the file"""
    lowest_input: int | None = None
    """Smaller values of an input make the original runtime give up, so that it is not asked about them."""
