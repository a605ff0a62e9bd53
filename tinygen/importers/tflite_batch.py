"""Other batches than the file's: several inferences in one, where the converter left the batch open (-1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tinygen.errors import Problem, UnsupportedModel
from tinygen.importers.tflite_file import RawModel, RawSubgraph, RawTensor

_OPEN = -1


def file_batch(graph: RawSubgraph) -> int | None:
    """The batch that the file's shapes are for; None where its inputs have no batch that is open, or several."""
    open_batches = {graph.tensors[index].shape[0] for index in graph.inputs if _is_open(graph.tensors[index])}
    return open_batches.pop() if len(open_batches) == 1 else None


def with_batch(model: RawModel, batch: int | None) -> RawModel:
    """The model with the shapes of another batch; the model itself where it has that batch, or none is asked for.

    Every tensor whose first dimension is open grows by as much as the inputs do: converters leave it open in all
    tensors that hold one value, or several, for each inference. Whether operators agree, their shape rules find out.

    Raises UnsupportedModel where the batch is fixed.
    """
    graph = model.subgraphs[0]
    if batch is None:
        return model
    own = file_batch(graph)
    if own is None:
        firsts = {graph.tensors[index].shape[:1] for index in graph.inputs}
        if firsts == {(batch,)}:
            return model
        raise UnsupportedModel(model.source, [_fixed(graph, batch)])
    if own in (batch, 0):  # a shape without elements is refused as that
        return model
    tensors = tuple(_resized(tensor, own, batch) for tensor in graph.tensors)
    return dataclasses.replace(model, subgraphs=(dataclasses.replace(graph, tensors=tensors), *model.subgraphs[1:]))


def open_dimensions(graph: RawSubgraph) -> Iterator[str]:
    """Other dimensions of inputs that the file leaves open, in words: they have the file's size, as in all runtimes."""
    for index in graph.inputs:
        tensor = graph.tensors[index]
        for axis, size in enumerate(tensor.shape_signature or ()):
            if size == _OPEN and axis > 0:
                taken = tensor.shape[axis]
                yield f"dimension {axis} of the input {tensor.name!r} is open in the file, which has {taken} there"


def _is_open(tensor: RawTensor) -> bool:
    return (tensor.shape_signature or ())[:1] == (_OPEN,) and tensor.data is None


def _resized(tensor: RawTensor, own: int, batch: int) -> RawTensor:
    if not _is_open(tensor) or tensor.shape[0] % own:
        return tensor
    return dataclasses.replace(tensor, shape=(tensor.shape[0] // own * batch, *tensor.shape[1:]))


def _fixed(graph: RawSubgraph, batch: int) -> Problem:
    shapes = " and ".join(str(graph.tensors[index].shape) for index in graph.inputs)
    return Problem(
        "inputs",
        "",
        f"the file fixes their shape, {shapes}: it cannot be built with --batch {batch}",
        "convert the model with an open batch, input_shape=(None, …), or invoke it once for each inference",
    )
