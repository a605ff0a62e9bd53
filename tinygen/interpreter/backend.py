"""Who computes for an interpreter: numpy, the generated C as a shared library, or a board."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinygen import pipeline, reference
from tinygen.board import BoardPeer
from tinygen.goal import Goal
from tinygen.host import compile_shared
from tinygen.interface import Interface
from tinygen.ir import Array
from tinygen.library.origin import Origin
from tinygen.manifest import Layer, Manifest, Port
from tinygen.options import Options
from tinygen.target import HOST


class Backend(Protocol):
    """Somebody who runs one model, and remembers its state."""

    def run(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """The outputs, and other tensors that it keeps, by their names in the graph.

        `inputs` are in the graph's order, of its shapes and dtypes, contiguous.
        """
        ...

    def reset(self) -> None:
        """Forget earlier inputs."""
        ...


class ReferenceBackend:
    """The numpy reference. It keeps all tensors."""

    def __init__(self, model: pipeline.Model) -> None:
        self._graph = model.whole
        self.reset()

    def reset(self) -> None:
        """Forget earlier inputs."""
        self._states = reference.initial_states(self._graph)

    def run(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """All tensors by name."""
        values = reference.evaluate(self._graph, inputs, self._states)
        self._states = reference.next_states(self._graph, values)
        return values


def read_reference(data: bytes, file: str, options: Options) -> ReferenceBackend:
    """The reference of a model file's content: unlike a graph, that goes from one process to another."""
    return ReferenceBackend(pipeline.decode(data, file, options))


@dataclass(frozen=True)
class SharedLibrary:
    """A compiled model library; it goes from one process to another."""

    path: Path
    name: str
    """C prefix."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[Layer, ...]
    has_state: bool


def compiled(model: pipeline.Model, objective: str, folder: Path) -> SharedLibrary:
    """The generated C, optimised for this machine. Raises ToolError where the compiler fails or is missing."""
    name = "model"
    origin = Origin(model.file, model.sha256, model.options, HOST.name, Goal(objective), Interface())
    _, library = pipeline.portable_c(model, name, HOST, origin)
    path = compile_shared(library.files, folder)
    return SharedLibrary(path, name, library.inputs, library.outputs, library.layers, library.state_bytes > 0)


class CBackend:
    """The generated C. It keeps the outputs, and with `keep` what each layer computed.

    The library's memory is its own: in one process, a library file serves one backend.
    """

    def __init__(self, library: SharedLibrary, keep: bool = False) -> None:
        self._library = library
        self._keep = keep
        loaded = ctypes.CDLL(str(library.path))

        def function(suffix: str, result: type[ctypes.c_void_p] | None, *arguments: type) -> Callable[..., int]:
            found = loaded[f"{library.name}_{suffix}"]
            found.restype, found.argtypes = result, arguments
            return found

        self._invoke = function("invoke", None)
        self._reset = function("reset", None) if library.has_state else None
        self._run_layer = function("run_layer", None, ctypes.c_uint32)
        self._layer_output = function("layer_output", ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
        ports = [port.symbol.removeprefix(f"{library.name}_") for port in (*library.inputs, *library.outputs)]
        addresses = [function(port, ctypes.c_void_p)() for port in ports]
        self._inputs, self._outputs = addresses[: len(library.inputs)], addresses[len(library.inputs) :]
        self.reset()

    def reset(self) -> None:
        """Forget earlier inputs."""
        if self._reset is not None:
            self._reset()

    def run(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """The outputs, and what each layer computed where it is kept."""
        for address, array in zip(self._inputs, inputs, strict=True):
            ctypes.memmove(address, array.ctypes.data, array.nbytes)
        values = {}
        if self._keep:
            for layer in self._library.layers:
                self._run_layer(layer.index)
                address = self._layer_output(layer.index, ctypes.byref(ctypes.c_uint32()))
                output = layer.output
                values[output.tensor] = _array(ctypes.string_at(address, output.bytes), output.dtype, output.shape)
        else:
            self._invoke()
        for address, port in zip(self._outputs, self._library.outputs, strict=True):
            values[port.name] = _array(ctypes.string_at(address, port.bytes), port.dtype, port.shape)
        return values


class BoardBackend:
    """A board that runs the model. It keeps the outputs, and with `keep` what each layer computed."""

    def __init__(self, peer: BoardPeer, manifest: Manifest, keep: bool = False) -> None:
        self._peer = peer
        self._manifest = manifest
        self._keep = keep
        self.reset()

    def reset(self) -> None:
        """Forget earlier inputs."""
        self._peer.session.reset()

    def run(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """The outputs, and what each layer computed where it is kept."""
        session, layers = self._peer.session, {}
        session.load_inputs([array.tobytes() for array in inputs])
        if self._keep and self._manifest.layers:
            for layer in self._manifest.layers:
                session.run_layer(layer.index)
                output = layer.output
                layers[output.tensor] = _array(session.read_layer(), output.dtype, output.shape)
        else:
            session.invoke()
        outputs = zip(self._manifest.outputs, session.outputs(), strict=True)
        return layers | {port.name: _array(data, port.dtype, port.shape) for port, data in outputs}


def _array(data: bytes, dtype: str, shape: Sequence[int]) -> Array:
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
