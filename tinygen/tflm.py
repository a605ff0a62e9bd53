"""TensorFlow Lite Micro's own interpreter, from the extra `tflm`, as a peer.

It runs in a process of its own, because it ends the process on models or inputs that it does not like.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tinygen.errors import ToolMissing
from tinygen.importers.tflite import tensor_indices
from tinygen.manifest import Manifest
from tinygen.peer import PipePeer, pipe_peer

_ARENA_BYTES = 64 * 2**20


def is_installed() -> bool:
    """Whether the interpreter is there."""
    return importlib.util.find_spec("tflite_micro") is not None


@contextlib.contextmanager
def tflm_peer(out: Path, manifest: Manifest) -> Iterator[PipePeer]:
    """The interpreter, running the model that `out` was built from. Raises ToolMissing without the extra."""
    if not is_installed():
        raise ToolMissing(
            "TensorFlow Lite Micro's interpreter is not installed", "Install it: pip install 'tinygen[tflm]'"
        )
    command = [sys.executable, "-m", "tinygen.tflm", str(out / manifest.model.path), _settings(out, manifest)]
    with pipe_peer("TFLM interpreter", command, manifest) as peer:
        yield peer


def _settings(out: Path, manifest: Manifest) -> str:
    indices = tensor_indices((out / manifest.model.path).read_bytes(), manifest.model.file)
    return json.dumps(
        {
            "inputs": [(port.dtype, port.shape, port.bytes) for port in manifest.inputs],
            "outputs": len(manifest.outputs),
            "layers": [indices[layer.output.tensor] for layer in manifest.layers],
        }
    )


def _serve(model: str, settings: str) -> None:
    from tflite_micro.python.tflite_micro import runtime

    wanted = json.loads(settings)
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the interpreter prints must not mix with the answers
    interpreter = runtime.Interpreter.from_file(
        model, arena_size=_ARENA_BYTES, intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors
    )
    while _set_inputs(interpreter, wanted["inputs"]):
        interpreter.invoke()
        for index in wanted["layers"]:
            pipe.write(np.ascontiguousarray(interpreter.GetTensor(index, 0)["tensor_data"]).tobytes())
        for index in range(wanted["outputs"]):
            pipe.write(np.ascontiguousarray(interpreter.get_output(index)).tobytes())
        pipe.flush()
        interpreter.reset()


def _set_inputs(interpreter: object, ports: Sequence[tuple[str, Sequence[int], int]]) -> bool:
    for index, (dtype, shape, size) in enumerate(ports):
        data = sys.stdin.buffer.read(size)
        if len(data) < size:
            return False
        interpreter.set_input(np.frombuffer(data, dtype).reshape(shape), index)  # type: ignore[attr-defined]
    return bool(ports) or bool(sys.stdin.buffer.read(1))


if __name__ == "__main__":
    _serve(*sys.argv[1:])
