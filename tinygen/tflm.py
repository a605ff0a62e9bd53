"""TensorFlow Lite Micro's own interpreter, from the extra `tflm`: the process of `tinygen.runtimes`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinygen.ir import Array
from tinygen.runtimes import serve

_ARENA_BYTES = 64 * 2**20


class Interpreter:
    """A model in TensorFlow Lite Micro's interpreter: `tinygen.runtimes.Interpreter`."""

    def __init__(self, model: Path) -> None:
        from tflite_micro.python.tflite_micro import runtime

        # Made anew for each reset: its own does not run CALL_ONCE again.
        self._runtime = runtime.Interpreter.from_file(
            str(model), arena_size=_ARENA_BYTES, intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors
        )

    def set_input(self, data: Array, index: int) -> None:
        """Load the index-th input."""
        self._runtime.set_input(data, index)

    def invoke(self) -> None:
        """Run the model."""
        self._runtime.invoke()

    def tensor(self, index: int) -> Array:
        """A tensor by its index in the file."""
        return np.asarray(self._runtime.GetTensor(index, 0)["tensor_data"])


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], Interpreter)
