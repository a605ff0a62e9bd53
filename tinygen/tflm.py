"""TensorFlow Lite Micro's own interpreter, from the extra `tflm`, as a peer.

It runs in a process of its own, because it ends the process on models or inputs that it does not like.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import manifest as manifests
from tinygen.errors import CannotCompare, ToolMissing
from tinygen.manifest import Manifest
from tinygen.peer import PipePeer, pipe_peer
from tinygen.questions import Questions, questions

_ARENA_BYTES = 64 * 2**20


def is_installed() -> bool:
    """Whether the interpreter is there."""
    return importlib.util.find_spec("tflite_micro") is not None


def ask(out: Path, manifest: Manifest) -> Questions:
    """What the interpreter can be asked about an output folder.

    Raises ToolMissing without the extra, CannotCompare where it cannot run the model in the file.
    """
    if not is_installed():
        raise ToolMissing(
            "TensorFlow Lite Micro's interpreter is not installed", "Install it: pip install 'tinygen[tflm]'"
        )
    asked = questions(out, manifest)
    if asked.on_uint8:
        raise CannotCompare("TensorFlow Lite Micro does not compute on uint8 any more")
    return asked


@contextlib.contextmanager
def tflm_peer(out: Path, manifest: Manifest) -> Iterator[PipePeer]:
    """The interpreter, running the model that `out` was built from. Raises as `ask`."""
    asked = ask(out, manifest)
    command = [sys.executable, "-m", "tinygen.tflm", str(out)]
    with pipe_peer("TFLM interpreter", command, manifest, asked.lacks) as peer:
        yield peer


def _serve(out: Path) -> None:
    from tflite_micro.python.tflite_micro import runtime

    content = manifests.load(out)
    asked = questions(out, content)
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the interpreter prints must not mix with the answers
    while reset := sys.stdin.buffer.read(1):
        if reset != b"\0":  # its own reset does not run CALL_ONCE again
            interpreter = runtime.Interpreter.from_file(
                str(out / content.model.path),
                arena_size=_ARENA_BYTES,
                intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
            )
        given = [question.parts(sys.stdin.buffer.read(question.port.bytes), asked.runs) for question in asked.inputs]
        answers: list[list[bytes]] = []
        for run in range(asked.runs):
            for index, parts in enumerate(given):
                interpreter.set_input(parts[run], index)
            interpreter.invoke()
            answers.append([_tensor(interpreter, index) for index in (*asked.layers, *asked.outputs)])
        for tensor in zip(*answers, strict=True):
            pipe.write(b"".join(tensor))
        pipe.flush()


def _tensor(interpreter: Any, index: int) -> bytes:
    return np.ascontiguousarray(interpreter.GetTensor(index, 0)["tensor_data"]).tobytes()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
