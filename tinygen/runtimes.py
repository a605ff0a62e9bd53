"""The original runtimes as peers, each in a process of its own: some models and inputs make them end it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tinygen import manifest as manifests
from tinygen.errors import CannotCompare, ToolMissing
from tinygen.ir import Array
from tinygen.manifest import Manifest
from tinygen.options import LITERT, ONNXRUNTIME, TFLM
from tinygen.peer import PipePeer, pipe_peer
from tinygen.questions import Questions, questions
from tinygen.streaming.window import Window


@dataclass(frozen=True)
class Runtime:
    """An original runtime; its profile is also the name of its module here."""

    profile: str
    title: str
    interpreter: str
    """What its peer is called."""
    package: str
    extra: str
    """What installs it."""
    has_uint8: bool = True
    """Whether it still computes on uint8."""
    lacks: tuple[tuple[str, int], ...] = ()
    """Operators that files may have and it does not, from which version on."""
    suffix: str = ".tflite"
    """Of the files that it runs."""
    remark: str = ""
    """What it makes ambiguous, and which of the answers was taken."""

    @property
    def is_installed(self) -> bool:
        """Whether its interpreter is there."""
        return importlib.util.find_spec(self.package) is not None

    def ask(self, out: Path, manifest: Manifest) -> Questions:
        """What its interpreter can be asked about an output folder.

        Raises ToolMissing without the extra, CannotCompare where it cannot run the model in the file.
        """
        if not self.is_installed:
            raise ToolMissing(
                f"{self.title}'s interpreter is not installed", f"Install it: pip install 'tinygen[{self.extra}]'"
            )
        suffix = Path(manifest.model.path).suffix
        if suffix.lower() != self.suffix:
            raise CannotCompare(f"{self.title} does not run {suffix} files")
        asked = questions(out, manifest)
        if asked.on_uint8 and not self.has_uint8:
            raise CannotCompare(f"{self.title} does not compute on uint8 any more")
        for op, version in sorted(asked.operators):
            if version >= dict(self.lacks).get(op, version + 1):
                raise CannotCompare(f"{self.title} has no {op} of version {version}")
        return asked

    @contextlib.contextmanager
    def peer(self, out: Path, manifest: Manifest) -> Iterator[PipePeer]:
        """Its interpreter, running the model that `out` was built from. Raises as `ask`."""
        asked = self.ask(out, manifest)
        command = [sys.executable, "-m", f"tinygen.{self.profile}", str(out), manifest.name]
        with pipe_peer(self.interpreter, command, manifest, asked.lacks, self.profile) as peer:
            yield peer


_FUSED = (
    "ONNX Runtime's CPU provider, as on x86-64, with all graph optimisations: it was asked for the model's outputs "
    "alone, as asking for others changes what it fuses. Without optimisations, or on ARM64, its own results differ."
)

RUNTIMES: Mapping[str, Runtime] = {
    runtime.profile: runtime
    for runtime in (
        Runtime(
            TFLM,
            "TensorFlow Lite Micro",
            "TFLM interpreter",
            "tflite_micro",
            TFLM,
            has_uint8=False,
            lacks=(("REDUCE_PROD", 1), ("TILE", 1)),
        ),
        Runtime(LITERT, "LiteRT", "LiteRT interpreter", "ai_edge_litert", LITERT, lacks=(("TILE", 3),)),
        Runtime(ONNXRUNTIME, "ONNX Runtime", "ONNX Runtime", "onnxruntime", "onnx", suffix=".onnx", remark=_FUSED),
    )
}
"""By the profile whose arithmetic is theirs."""


class Interpreter(Protocol):
    """What is asked of a runtime that has read a model; every tensor keeps its value until the next run."""

    def set_input(self, data: Array, index: int) -> None:
        """Load the index-th input."""

    def invoke(self) -> None:
        """Run the model."""

    def tensor(self, index: int) -> Array:
        """A tensor by its index in the file."""


def serve(out: Path, name: str, start: Callable[[Path], Interpreter]) -> None:
    """Answer about a model of an output folder on the pipes of this process, as `PipePeer` expects.

    `start` makes an interpreter of a model file, anew for each reset.
    """
    content = manifests.load(out, name)
    asked = questions(out, content)
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the interpreter prints must not mix with the answers
    while reset := sys.stdin.buffer.read(1):
        if reset != b"\0":
            interpreter = start(out / content.model.path)
            windows = [Window(port, content.streaming) for port in content.inputs]
        taken = [window.after(sys.stdin.buffer.read(window.new_bytes)) for window in windows]
        given = [question.parts(data, asked.runs) for question, data in zip(asked.inputs, taken, strict=True)]
        answers: list[list[bytes]] = []
        for run in range(asked.runs):
            for index, parts in enumerate(given):
                interpreter.set_input(parts[run], index)
            interpreter.invoke()
            answers.append([look.at(interpreter.tensor(look.tensor)) for look in (*asked.layers, *asked.outputs)])
        for parts_of_tensor in zip(*answers, strict=True):
            pipe.write(b"".join(parts_of_tensor))
        pipe.flush()
