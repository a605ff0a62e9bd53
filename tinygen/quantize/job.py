"""What quantising a model of one format consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tinygen.ir import Array
from tinygen.quantize.data import FloatPort
from tinygen.quantize.measure import FloatLayer
from tinygen.quantize.runner import Runner


@dataclass(frozen=True)
class Choices:
    """What users choose about an int8 model."""

    int8_edges: bool = False
    """Of an ONNX file, int8 inputs and outputs instead of float32 ones; those of .tflite files are int8."""
    int16: tuple[str, ...] = ()
    """Names of the layers to keep in int16, of a .tflite file."""
    percentile: float | None = None
    """Of an ONNX file, how many of a hundred values the range of an activation holds; None: all."""


class Job(Protocol):
    """A float model on its way; made from a source file, a folder for what lies between, and choices."""

    suffix: str
    """Of the int8 model's file."""
    quantiser: str
    """Who quantises, with its version."""
    inputs: list[FloatPort]
    outputs: list[FloatPort]
    layers: list[FloatLayer]
    float_bytes: int
    """Of the float model in the int8 model's format."""

    def to_int8(self, calibration: Mapping[str, Array]) -> bytes:
        """The int8 model, from an array (samples, *shape) for each input. Raises ToolError."""
        ...

    def float_runner(self) -> Runner:
        """The float model at work."""
        ...

    def int8_runner(self) -> Runner:
        """The int8 model at work, once there is one."""
        ...


def version_of(package: str) -> str:
    """An installed Python package with its version, in words."""
    from importlib.metadata import version

    return f"{package} {version(package)}"


def expect_file(source: Path) -> None:
    """Raises InvalidModel where there is no such file or folder."""
    from tinygen.errors import InvalidModel

    if not source.exists():
        raise InvalidModel(f"there is no file {source}", "Check the path.")
