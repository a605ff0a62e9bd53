"""ONNX Runtime's CPU provider, from the extra `onnx`: the process of `tinygen.runtimes`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinygen.ir import Array
from tinygen.runtimes import serve

_ERRORS_ONLY = 3


class Interpreter:
    """A model in ONNX Runtime, with all its optimisations: `tinygen.runtimes.Interpreter`."""

    def __init__(self, model: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._names = [value.name for value in self._session.get_inputs()]
        self._given: dict[str, Array] = {}
        self._outputs: list[Array] = []

    def set_input(self, data: Array, index: int) -> None:
        """Load the index-th input."""
        self._given[self._names[index]] = data

    def invoke(self) -> None:
        """Run the model."""
        self._outputs = self._session.run(None, self._given)

    def tensor(self, index: int) -> Array:
        """An output, counted behind the inputs; indices, which are int64 there, as int32."""
        found = np.asarray(self._outputs[index - len(self._names)])
        return found.astype(np.int32) if found.dtype == np.int64 else found


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], Interpreter)
