"""Every error that tinygen raises on purpose.

    TinygenError                what was wrong, and what to do about it
    ├── UsageError              an argument that cannot be meant (exit code 2)
    │   ├── CallError           ... of an interpreter's method: also a ValueError, as TensorFlow Lite raises
    │   └── NotReady            a method called before its time: also a RuntimeError, for the same reason
    ├── ModelError              the model file
    │   ├── InvalidModel        not a readable model: truncated, corrupt, another format
    │   └── UnsupportedModel    readable, but with parts tinygen cannot build: all of them, listed
    │       └── FloatModel      ... as nothing in it is quantised
    ├── InputError              data given for the model's inputs
    ├── BoardError              an unknown board, or a board file that does not make sense
    ├── FrontEndError           an unknown audio front end, or a description that does not make sense
    ├── DoesNotFit              the model needs more than the board has
    ├── OutputError             the output folder: holds something else, disk full, no permission
    ├── ToolError               a program that tinygen calls
    │   ├── CannotCompare       it has no answer to what was built: another batch, other types
    │   ├── ToolMissing         it, or a Python extra, is not installed
    │   └── ToolFailed          it ran and reported failure
    └── LinkError               the conversation with a board
        ├── NoAnswer            nobody answers at that port
        ├── LinkLost            the port went away
        ├── WrongModel          another model, or another protocol, is on the board
        └── BoardFault          the board answered with an error of its own
            └── OutOfOrder      ... that the request does not fit: it may have restarted in between

Only the command line turns these into text and an exit code.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath


class TinygenError(Exception):
    """Base of all errors meant for people: `message` says what, where and which limit; `remedy` what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class UsageError(TinygenError):
    """An argument that cannot be meant."""


class CallError(UsageError, ValueError):
    """An argument of an interpreter's method that cannot be meant."""


class NotReady(UsageError, RuntimeError):
    """An interpreter's method that was called before its time."""


class ModelError(TinygenError):
    """The model file is the problem."""


class InvalidModel(ModelError):
    """The file is not a readable model."""


@dataclass(frozen=True)
class Problem:
    """One reason why a model cannot be built."""

    node: str  # "node 3 (model/conv)", or "tensor 7 (...)"
    operator: str  # "CONV_2D"; empty where no operator is meant
    reason: str
    remedy: str

    def __str__(self) -> str:
        what = f"{self.node} {self.operator}".strip()
        return f"{what}: {self.reason}" + (f" ({self.remedy})" if self.remedy else "")


class UnsupportedModel(ModelError):
    """A readable model with parts that cannot be built; `problems` has all of them."""

    def __init__(self, model: str, problems: Sequence[Problem], remedy: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{model}: {count} thing{'s' if count != 1 else ''} tinygen cannot build:\n{listed}", remedy)


class FloatModel(UnsupportedModel):
    """A readable model in which nothing is quantised; `more` are reasons that stay when it is."""

    def __init__(self, model: str, more: Sequence[Problem] = (), path: PurePath | None = None) -> None:
        path = path or PurePath(model)
        command = ["tinygen", "quantize", str(path), "--data", "SAMPLES", "-o", f"{path.stem}_int8{path.suffix}"]
        reason, remedy = "it computes in float: nothing in it is quantised", f"quantise it: {shlex.join(command)}"
        super().__init__(
            model,
            [Problem("the model", "", reason, remedy), *more],
            "SAMPLES are some hundred, in an .npz file or a folder of images: tinygen quantize --help.",
        )
        self._model, self._more = model, more

    def at(self, path: PurePath) -> FloatModel:
        """The same of a model that commands find at this path."""
        return FloatModel(self._model, self._more, path)


class InputError(TinygenError):
    """Data given for the model's inputs does not match them."""


class BoardError(TinygenError):
    """An unknown board, or a board file that does not make sense."""


class FrontEndError(TinygenError):
    """An unknown audio front end, or a description of one that does not make sense."""


class DoesNotFit(TinygenError):
    """The model needs more memory than the board has."""


class OutputError(TinygenError):
    """The output folder cannot be written, or holds something that is not ours."""


class ToolError(TinygenError):
    """A program that tinygen calls."""


class CannotCompare(ToolError):
    """A runtime cannot be asked about what was built."""


class ToolMissing(ToolError):
    """A program or Python extra is not installed."""


class ToolFailed(ToolError):
    """A program ran and reported failure."""


class LinkError(TinygenError):
    """The conversation with a board failed."""


class NoAnswer(LinkError):
    """Nobody answers at that port."""


class LinkLost(LinkError):
    """The port went away in the middle."""


class WrongModel(LinkError):
    """Another model, or another protocol version, is on the board."""


class BoardFault(LinkError):
    """The board answered with an error of its own."""


class OutOfOrder(BoardFault):
    """The board does not expect this request: it may have restarted in between."""
