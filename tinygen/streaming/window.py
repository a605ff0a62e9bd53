"""The last frames of a stream, for whoever takes whole windows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tinygen.manifest import Port, Streaming


def in_window(port: Port, streaming: Streaming | None) -> Port:
    """The input of the model over whole windows, given that of one that takes frames; without `streaming` itself."""
    if streaming is None:
        return port
    shape = (*port.shape[: streaming.axis], streaming.frames, *port.shape[streaming.axis + 1 :])
    return dataclasses.replace(port, shape=shape, bytes=math.prod(shape) * np.dtype(port.dtype).itemsize)


class Window:
    """What an input holds of a stream, all of it zeros before the first frames; without `streaming`, the last data."""

    def __init__(self, port: Port, streaming: Streaming | None) -> None:
        self._port = port
        self._streaming = streaming
        self._last = np.full(in_window(port, streaming).shape, port.zero_point or 0, port.dtype)

    @property
    def new_bytes(self) -> int:
        """Of the frames that come at once."""
        return self._port.bytes

    def after(self, data: bytes) -> bytes:
        """The window that ends with these new frames."""
        if self._streaming is None:
            return data
        axis, hop = self._streaming.axis, self._streaming.hop
        new = np.frombuffer(data, self._port.dtype).reshape(self._port.shape)
        kept = self._last.take(range(hop, self._streaming.frames), axis=axis)
        self._last = np.concatenate([kept, new], axis=axis)
        return self._last.tobytes()
