"""LiteRT's interpreter with its reference kernels, from the extra `litert`: the process of `tinygen.runtimes`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinygen.ir import Array
from tinygen.runtimes import serve


class Interpreter:
    """A model in LiteRT's interpreter: `tinygen.runtimes.Interpreter`."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter as LiteRT
        from ai_edge_litert.interpreter import OpResolverType

        self._interpreter = LiteRT(
            model_path=str(model),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]

    def set_input(self, data: Array, index: int) -> None:
        """Load the index-th input."""
        self._interpreter.set_tensor(self._inputs[index], data)

    def invoke(self) -> None:
        """Run the model."""
        self._interpreter.invoke()

    def tensor(self, index: int) -> Array:
        """A tensor by its index in the file."""
        return np.asarray(self._interpreter.get_tensor(index))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], Interpreter)
