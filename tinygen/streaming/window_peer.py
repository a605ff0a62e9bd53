"""The numpy reference of the model in the file, over whole windows: what a model that takes frames is to equal."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from tinygen import reference
from tinygen.ir import Array, Graph, Shape
from tinygen.manifest import Manifest
from tinygen.passes.stream import Stream
from tinygen.peer import Answer
from tinygen.streaming.window import Window


class WindowPeer:
    """Answers for each new frames with the outputs for the window that ends with them."""

    def __init__(self, graph: Graph, stream: Stream, manifest: Manifest) -> None:
        self.name = f"reference, whole windows of {stream.frames} frames"
        self.profile = None
        self.stack_bytes = None
        self._graph = graph
        self._whole = stream.window
        self._manifest = manifest

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        """Of tensors that both graphs have, the rows that are new."""
        if reset:
            self._windows = [Window(port, self._manifest.streaming) for port in self._manifest.inputs]
        windows = [window.after(data) for window, data in zip(self._windows, inputs, strict=True)]
        given = [
            np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
            for data, tensor in zip(windows, map(self._whole.tensors.__getitem__, self._whole.inputs), strict=True)
        ]
        values = reference.evaluate(self._whole, given)

        def new(name: str) -> bytes | None:
            return _last_rows(values[name], self._graph.tensors[name].shape) if name in values else None

        layers = [new(layer.output.tensor) for layer in self._manifest.layers]
        outputs = [new(name) or b"" for name in self._graph.outputs]
        return Answer(
            outputs,
            [None if content is None else zlib.crc32(content) for content in layers],
            lambda layer: layers[layer] or b"",
        )


def _last_rows(whole: Array, shape: Shape) -> bytes:
    """The last ones along the only dimension in which the shapes differ, if they do."""
    part = tuple(slice(have - want, have) for have, want in zip(whole.shape, shape, strict=True))
    return np.ascontiguousarray(whole[part]).tobytes()
