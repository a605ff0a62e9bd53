"""An .onnx file as ONNX Runtime runs it: its inputs, and then its outputs. Other values are fused away there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.importers.onnx_file import read_onnx
from tinygen.importers.onnx_graph import resolved
from tinygen.importers.onnx_scales import index_type
from tinygen.ir import Shape


@dataclass(frozen=True)
class OnnxTensor:
    """An input or output."""

    dtype: str
    shape: Shape

    def may_have(self, shape: Shape) -> bool:
        """Whether this is its shape."""
        return self.shape == shape


@dataclass(frozen=True)
class OnnxView:
    """The file's interface: `tinygen.importers.FileView`."""

    indices: Mapping[str, int]
    tensors: Sequence[OnnxTensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: int | None
    on_uint8: bool = False
    operators: frozenset[tuple[str, int]] = frozenset()


def view(data: bytes, source: str) -> OnnxView:
    """The interface of a file. Raises InvalidModel, and UnsupportedModel where shapes are open."""
    graph = resolved(read_onnx(data, source), source, None)
    names = (*graph.inputs, *graph.outputs)
    tensors = [OnnxTensor(str(index_type(graph.types[name].dtype)), graph.types[name].shape) for name in names]
    count = len(graph.inputs)
    outputs = {name: count + place for place, name in enumerate(graph.outputs)}
    places = tuple(range(count, len(names)))
    return OnnxView(outputs, tensors, tuple(range(count)), places, 1 if graph.has_open_batch else None)
