"""MLPerf Tiny's tasks: which one a model is for, and what its raw data is to the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import UsageError
from tinygen.interface import ROWS
from tinygen.ir import Array
from tinygen.manifest import Port
from tinygen.mlperf.pixels import pixel_table
from tinygen.part_sizes import PartSizes

FEATURES, PIXELS, WINDOWS = "features", "pixels", "windows"
"""What the host sends: int8 as the model takes it; uint8, one for each colour of a pixel; float32."""


_PROTOCOL_BYTES = 2816


@dataclass(frozen=True)
class Kind:
    """One of the tasks. Shapes are those of MLPerf Tiny's own models, without the batch."""

    title: str
    model: str
    """What the firmware calls its model."""
    data: str
    """One of FEATURES, PIXELS and WINDOWS."""
    input_shape: tuple[int, ...]
    outputs: int


TASKS: Mapping[str, Kind] = {
    "kws": Kind("keyword spotting", "kws01", FEATURES, (49, 10, 1), 12),
    "vww": Kind("visual wake words", "vww01", PIXELS, (96, 96, 3), 2),
    "ic": Kind("image classification", "ic01", PIXELS, (32, 32, 3), 10),
    "ad": Kind("anomaly detection", "ad01", WINDOWS, (640,), 640),
}


@dataclass(frozen=True)
class TaskWish:
    """Firmware for MLPerf Tiny's runner, and for which task, None where the model's shapes tell.

    Raises UsageError for a task that there is not.
    """

    task: str | None = None

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise UsageError(f"MLPerf Tiny has no task {self.task!r}", f"Choose one of {', '.join(TASKS)}.")

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words."""
        return ("--runner", "mlperf", *(() if self.task is None else ("--task", self.task)))


@dataclass(frozen=True, eq=False)
class Task:
    """What the firmware does with a model."""

    kind: Kind
    input: Port
    output: Port
    pixels: Array | None
    """For PIXELS: (256,), what each is to the model, of the input's dtype."""

    @property
    def elements(self) -> int:
        """Of the input."""
        return math.prod(self.input.shape)

    @property
    def raw_bytes(self) -> int:
        """That the host sends for each inference."""
        return self.elements * (4 if self.kind.data == WINDOWS else 1)

    @property
    def results(self) -> int:
        """Numbers that the host gets: those of the output, or one for a window, how far the output is from it."""
        return 1 if self.kind.data == WINDOWS else math.prod(self.output.shape)

    @property
    def sizes(self) -> PartSizes:
        """The buffer of raw data, results; what pixels are to the model, and the protocol, beyond tinygen's own."""
        ram = {"raw data": -(-self.raw_bytes // 4) * 4, "results": 4 * self.results}
        return PartSizes(ram, {"pixels": 0 if self.pixels is None else self.pixels.nbytes}, _PROTOCOL_BYTES)


def task_of(name: str, inputs: Sequence[Port], outputs: Sequence[Port], wish: TaskWish) -> Task:
    """The task that a model, `name` in messages, is for.

    Raises UsageError where it can be none, or not the one that is wished for, with the reason.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"{name} has {len(inputs)} inputs and {len(outputs)} outputs; MLPerf Tiny's models have one of each",
            "Build it without --runner mlperf.",
        )
    given, output = inputs[0], outputs[0]
    if given.memory == ROWS:
        raise UsageError(f"{name} takes its input row by row, MLPerf Tiny's runner sends it whole", "Leave that out.")
    kind = TASKS[wish.task or _found(name, given, output)]
    reason = _unfit(kind, given, output)
    if reason:
        raise UsageError(f"{name} cannot do {kind.title}: {reason}", "Choose another --task, or export it differently.")
    return Task(kind, given, output, pixel_table(given) if kind.data == PIXELS else None)


def _found(name: str, given: Port, output: Port) -> str:
    shape, count = tuple(dim for dim in given.shape if dim != 1), math.prod(output.shape)
    for task, kind in TASKS.items():
        if shape == tuple(dim for dim in kind.input_shape if dim != 1) and count == kind.outputs:
            return task
    listed = "; ".join(f"{task} {_text(kind.input_shape)} to {kind.outputs}" for task, kind in TASKS.items())
    raise UsageError(
        f"{name}, from {_text(given.shape)} to {count}, has the shape of none of MLPerf Tiny's tasks: {listed}",
        "Say which one it is for: --task kws, vww, ic or ad.",
    )


def _unfit(kind: Kind, given: Port, output: Port) -> str:
    """Why a model's input and output cannot be those of the task, in words; nothing where they can."""
    types = {FEATURES: ("int8",), PIXELS: ("int8", "uint8"), WINDOWS: ("int8", "int16", "float32")}[kind.data]
    if given.dtype not in types:
        hint = ", which --io int8 makes of it" if "int8" in types and given.dtype in ("float32", "uint8") else ""
        return f"its input is {given.dtype}, not {' or '.join(types)}{hint}"
    if given.dtype != "float32" and given.scale is None:
        return "its input says nothing of its quantisation"
    if output.dtype != "float32" and output.scale is None:
        return "its output says nothing of its quantisation"
    if kind.data == PIXELS and (len(given.shape) != 4 or given.shape[0] != 1 or given.shape[3] not in (1, 3)):
        hint = "; --layout nhwc puts channels last" if len(given.shape) == 4 and given.shape[1] in (1, 3) else ""
        return f"its input is {_text(given.shape)}, not one picture of 1 or 3 colours{hint}"
    if kind.data == WINDOWS and math.prod(given.shape) != math.prod(output.shape):
        return f"its output has {math.prod(output.shape)} elements, its input {math.prod(given.shape)}"
    return ""


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
