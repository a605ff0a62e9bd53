"""ONNX to IR, in the arithmetic of ONNX Runtime. The `onnx` package is loaded with the first model of that format."""

from __future__ import annotations

from tinygen.importers import FileView, OutlineRow
from tinygen.ir import Graph
from tinygen.options import ONNXRUNTIME, Options

PROFILES = (ONNXRUNTIME,)
"""Whose arithmetic the operators of this format have."""


def read(data: bytes, source: str, options: Options) -> Graph:
    """Decode the bytes of an .onnx file; `source` is its name, for messages.

    Raises InvalidModel when the file is not readable, UnsupportedModel with every reason when parts of it cannot be
    built.
    """
    from tinygen.importers import onnx_import

    return onnx_import.graph(data, source, options)


def outline(data: bytes, source: str) -> list[OutlineRow]:
    """The operators of the file, for looking at models that cannot be built. Raises InvalidModel."""
    from tinygen.importers import onnx_import

    return onnx_import.outline(data, source)


def view(data: bytes, source: str) -> FileView:
    """Inputs and outputs of the file itself. Raises InvalidModel and UnsupportedModel."""
    from tinygen.importers import onnx_view

    return onnx_view.view(data, source)
