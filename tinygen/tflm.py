"""TensorFlow Lite Micro's own interpreter, from the extra `tflm`, as a peer.

It runs in a process of its own, because it ends the process on models or inputs that it does not like.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
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
    indices = tensor_indices((out / manifest.model.path).read_bytes(), manifest.model.file)
    settings = {
        "inputs": [(port.dtype, port.shape, port.bytes) for port in manifest.inputs],
        "outputs": len(manifest.outputs),
        "layers": [index for layer in manifest.layers if (index := indices.get(layer.output.tensor)) is not None],
    }
    lacks = [layer.index for layer in manifest.layers if layer.output.tensor not in indices]
    command = [sys.executable, "-m", "tinygen.tflm", str(out / manifest.model.path), json.dumps(settings)]
    with pipe_peer("TFLM interpreter", command, manifest, lacks) as peer:
        yield peer


def _serve(model: str, settings: str) -> None:
    from tflite_micro.python.tflite_micro import runtime

    wanted = json.loads(settings)
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the interpreter prints must not mix with the answers
    while reset := sys.stdin.buffer.read(1):
        if reset != b"\0":  # its own reset does not run CALL_ONCE again
            interpreter = runtime.Interpreter.from_file(
                model, arena_size=_ARENA_BYTES, intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors
            )
        for index, (dtype, shape, size) in enumerate(wanted["inputs"]):
            data = np.frombuffer(sys.stdin.buffer.read(size), dtype)
            interpreter.set_input(data.reshape(shape), index)
        interpreter.invoke()
        for index in wanted["layers"]:
            pipe.write(np.ascontiguousarray(interpreter.GetTensor(index, 0)["tensor_data"]).tobytes())
        for index in range(wanted["outputs"]):
            pipe.write(np.ascontiguousarray(interpreter.get_output(index)).tobytes())
        pipe.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
