"""TensorFlow Lite models at work, in LiteRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinygen.ir import Array
from tinygen.quantize.runner import Scaling


class LiteRunner:
    """A .tflite model in LiteRT with its reference kernels, or for float ones its fast kernels."""

    def __init__(self, path: Path, reference: bool) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = Interpreter(
            model_path=str(path),
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=True,
        )
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._interpreter.allocate_tensors()
        self._inputs = [(detail["index"], detail["name"]) for detail in inputs]
        self._outputs = [(detail["index"], detail["name"]) for detail in outputs]
        self._names: dict[int, str] = {}
        self.scalings: dict[str, Scaling] = {}
        for detail in self._interpreter.get_tensor_details():
            scales, zero_points = (detail["quantization_parameters"][key] for key in ("scales", "zero_points"))
            if len(scales) == 1 and np.dtype(detail["dtype"]).kind == "i":
                dtype = np.dtype(detail["dtype"]).name
                self.scalings[detail["name"]] = Scaling(float(scales[0]), int(zero_points[0]), dtype)
            self._names[detail["index"]] = detail["name"]

    def outputs(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs as reals."""
        self._invoke(inputs)
        return [self._real(index, name) for index, name in self._outputs]

    def tensors(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """What layers made, as reals; constants are among them."""
        self._invoke(inputs)
        found = {}
        for index, name in self._names.items():
            try:
                found[name] = self._real(index, name)
            except ValueError:  # a tensor that nothing computes
                continue
        return found

    def _invoke(self, inputs: Sequence[Array]) -> None:
        for (index, name), array in zip(self._inputs, inputs, strict=True):
            scaling = self.scalings.get(name)
            self._interpreter.set_tensor(index, array if scaling is None else scaling.quantised(array))
        self._interpreter.invoke()

    def _real(self, index: int, name: str) -> Array:
        value = np.asarray(self._interpreter.get_tensor(index))
        scaling = self.scalings.get(name)
        return value.astype(np.float64) if scaling is None else scaling.real(value)
