"""Many samples as people have them, arrays with a leading axis, and as a model takes them, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tinygen.errors import CallError
from tinygen.ir import Array, Graph, Shape, Tensor

Step = tuple[Array, ...]
"""One array for each input, or output, of the model."""


def steps_of(graph: Graph, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> list[Step]:
    """The samples of an array for the only input, or of one for each by name.

    Each is (samples, *shape), where a first dimension of 1 of the input's shape may be left out. Raises CallError.
    """
    names = graph.inputs
    if not isinstance(inputs, Mapping):
        if len(names) != 1:
            example = ", ".join(f"{name!r}: array" for name in names)
            raise CallError(f"the model has {len(names)} inputs", f"Give an array for each: {{{example}}}.")
        inputs = {names[0]: inputs}
    if set(inputs) != set(names):
        raise CallError(
            f"inputs are given for {', '.join(map(repr, inputs))}; the model's are {', '.join(map(repr, names))}"
        )
    columns = [_column(graph.tensors[name], np.asarray(inputs[name])) for name in names]
    if len({len(column) for column in columns}) != 1:
        counts = ", ".join(f"{len(column)} of {name!r}" for name, column in zip(names, columns, strict=True))
        raise CallError(f"the inputs hold different numbers of samples: {counts}")
    return list(zip(*columns, strict=True))


def results_of(graph: Graph, steps: Sequence[Step]) -> dict[str, Array]:
    """For each output by name, an array of (samples, *shape) without a first dimension of 1."""
    results = {}
    for at, name in enumerate(graph.outputs):
        tensor = graph.tensors[name]
        shape = _inner(tensor.shape)
        results[name] = np.empty((len(steps), *shape), tensor.dtype)
        for index, step in enumerate(steps):
            results[name][index] = step[at].reshape(shape)
    return results


def conversion(array: Array, tensor: Tensor) -> str:
    """What to do about an array of another type than a tensor's; nothing about one of the same."""
    if array.dtype == tensor.dtype:
        return ""
    if array.dtype.kind != "f" or tensor.quant is None or tensor.dtype.kind not in "iu":
        return f"Convert it: value.astype(numpy.{tensor.dtype})."
    scale, zero_point, info = tensor.quant.scale[0], tensor.quant.zero_point[0], np.iinfo(tensor.dtype)
    return (
        f"Quantise it: numpy.clip(numpy.round(value / {scale:.9g}) + {zero_point}, {info.min}, {info.max})"
        f".astype(numpy.{tensor.dtype})."
    )


def _column(tensor: Tensor, array: Array) -> Array:
    if array.dtype != tensor.dtype:
        what = f"input {tensor.name!r} takes {tensor.dtype}, the array is {array.dtype}"
        raise CallError(what, conversion(array, tensor))
    shapes = dict.fromkeys((_inner(tensor.shape), tensor.shape))
    if array.ndim == 0 or array.shape[1:] not in shapes:
        wanted = " or ".join(f"[{', '.join(map(str, ('samples', *shape)))}]" for shape in shapes)
        raise CallError(f"input {tensor.name!r} takes {wanted}, the array is {list(array.shape)}")
    return np.ascontiguousarray(array.reshape(len(array), *tensor.shape))


def _inner(shape: Shape) -> Shape:
    return shape[1:] if shape[:1] == (1,) else shape
