"""The numpy reference of the model in the file, over whole windows: what a model that takes frames is to equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen import reference
from tinygen.ir import Array, Graph, Tensor
from tinygen.manifest import Manifest
from tinygen.passes.stream import Stream
from tinygen.peer import Answer
from tinygen.streaming.window import Window


class WindowPeer:
    """Answers for each new frames with the outputs for the window that ends with them."""

    def __init__(self, graph: Graph, stream: Stream, manifest: Manifest) -> None:
        self.name = f"reference, whole windows of {stream.frames} frames"
        self.profile = None
        self._graph = graph
        self._whole = stream.window
        self._manifest = manifest
        self._layers = [None] * len(manifest.layers)

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        """No layers: theirs are of other shapes."""
        if reset:
            self._windows = [Window(port, self._manifest.streaming) for port in self._manifest.inputs]
        windows = [window.after(data) for window, data in zip(self._windows, inputs, strict=True)]
        given = [
            np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
            for data, tensor in zip(windows, map(self._whole.tensors.__getitem__, self._whole.inputs), strict=True)
        ]
        found = reference.outputs(self._whole, given)
        wanted = map(self._graph.tensors.__getitem__, self._graph.outputs)
        outputs = [_last_rows(whole, tensor).tobytes() for whole, tensor in zip(found, wanted, strict=True)]
        return Answer(outputs, self._layers, lambda layer: b"")


def _last_rows(whole: Array, wanted: Tensor) -> Array:
    """The last ones along the only dimension in which the shapes differ, if they do."""
    part = tuple(slice(have - want, have) for have, want in zip(whole.shape, wanted.shape, strict=True))
    return np.ascontiguousarray(whole[part])
