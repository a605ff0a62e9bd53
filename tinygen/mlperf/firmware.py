"""The files of a project whose firmware speaks MLPerf Tiny's protocol, in place of the runner's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tinygen.c_text import C_TYPES, array_lines, float_literal, string_literal
from tinygen.emit import render
from tinygen.mlperf.task import WINDOWS, Task
from tinygen.resources import resource

_SHARED = ("model.h", "port.h", "protocol.h")
"""Of the runner: what a port implements, and calls."""

RUNNER = "mlperf"
"""What platformio.ini says, so that nobody talks to it as to the runner."""


def mlperf_files(name: str, task: Task) -> Mapping[str, str]:
    """By path in the project: the protocol, and the task of the model of this name."""
    sources = {f"src/runner/{file}": resource("firmware", "runner", file) for file in _SHARED}
    sources |= {f"src/mlperf/{path.name}": path for path in resource("firmware", "mlperf").glob("*.[ch]")}
    files = {path: source.read_text(encoding="utf-8") for path, source in sources.items()}
    files["src/mlperf_task.c"] = render("project/mlperf_task.c.j2", **_values(name, task))
    return files


def _operand(value: int) -> str:
    """An integer as a float literal behind an operator."""
    return f"{value}.0f" if value >= 0 else f"({value}.0f)"


def _values(name: str, task: Task) -> Mapping[str, object]:
    given, output = task.input, task.output
    integers = {"int8": (-128, 127), "int16": (-32768, 32767)}
    return {
        "name": name,
        "kind": task.kind,
        "device": string_literal(f"tinygen, {name}"),
        "raw": "raw.bytes" if task.kind.data == WINDOWS else "raw",
        "raw_bytes": task.raw_bytes,
        "elements": task.elements,
        "results": task.results,
        "input_type": C_TYPES[given.dtype],
        "output_type": C_TYPES[output.dtype],
        "output_elements": math.prod(output.shape),
        "input_scale": None if given.scale is None else float_literal(given.scale),
        "zero_point": _operand(given.zero_point or 0),
        "output_scale": None if output.scale is None else float_literal(output.scale),
        "output_zero_point": output.zero_point,
        "is_windows": task.kind.data == WINDOWS,
        "bounds": integers.get(given.dtype),
        "pixels": None if task.pixels is None else array_lines(task.pixels),
    }
