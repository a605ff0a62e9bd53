"""Whoever runs the model besides the reference: the host's C, the original runtime, a board. All answer alike."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol, runtime_checkable

from tinygen.errors import ToolFailed
from tinygen.manifest import Manifest

_PATIENCE_S = 120


@dataclass(frozen=True)
class Answer:
    """What a peer made of one set of inputs."""

    outputs: Sequence[bytes]
    layer_crcs: Sequence[int | None]
    """CRC-32 of each layer's output; None where the peer has no such tensor."""
    layer: Callable[[int], bytes]
    """A layer's output itself."""


class Peer(Protocol):
    """Somebody who runs the model."""

    name: str
    profile: str | None
    """Whose arithmetic it has, where it is an original runtime; None: that of the generated C."""
    stack_bytes: int | None
    """Of stack that an invoke has used at most, where it can tell."""

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        """All outputs, and the output of every layer, for the bytes of all inputs; `reset` forgets earlier inputs."""
        ...


@runtime_checkable
class RemotePeer(Peer, Protocol):
    """A peer over a line: it may go away, and what it did is worth remembering."""

    state: bytes
    """What the model remembers after the last run()."""

    def restore(self, state: bytes) -> None:
        """Put the model into the state that an earlier run() left."""
        ...


class Pipe:
    """A process that is asked on its standard input and answers on its standard output."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self.name = name
        self._process = process
        self._errors = errors

    @contextlib.contextmanager
    def asked(self, data: bytes) -> Iterator[None]:
        """Send this, and read the answer within. Raises ToolFailed when the process ends, with what it said."""
        assert self._process.stdin is not None
        watchdog = threading.Timer(_PATIENCE_S, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
            yield
        except BrokenPipeError:
            raise self._failure() from None
        finally:
            watchdog.cancel()

    def read(self, size: int) -> bytes:
        """The next bytes of the answer. Raises ToolFailed when there are fewer."""
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if len(data) < size:
            raise self._failure()
        return data

    def _failure(self) -> ToolFailed:
        self._process.wait(timeout=30)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        code = self._process.returncode
        how = f"was stopped: no answer within {_PATIENCE_S} s" if code == -signal.SIGKILL else f"ended with code {code}"
        return ToolFailed(f"{self.name} {how}" + (f":\n{said[-4000:]}" if said else ""))


class PipePeer:
    """A process that reads whether to reset and the bytes of all inputs, and writes every layer's and every output's.

    It does not write the layers (by index) that it `lacks`.
    """

    def __init__(self, pipe: Pipe, manifest: Manifest, lacks: Collection[int] = (), profile: str | None = None) -> None:
        self.name = pipe.name
        self.profile = profile
        self.stack_bytes: int | None = None
        self._pipe = pipe
        self._layers = [None if layer.index in lacks else layer.output.bytes for layer in manifest.layers]
        self._outputs = [port.bytes for port in manifest.outputs]

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        """Raises ToolFailed when the process ends instead of answering, with what it said."""
        with self._pipe.asked(bytes([reset]) + b"".join(inputs)):
            layers = [b"" if size is None else self._pipe.read(size) for size in self._layers]
            outputs = [self._pipe.read(size) for size in self._outputs]
        crcs = [None if size is None else zlib.crc32(layer) for size, layer in zip(self._layers, layers, strict=True)]
        return Answer(outputs, crcs, layers.__getitem__)


@contextlib.contextmanager
def pipe_to(name: str, command: Sequence[str]) -> Iterator[Pipe]:
    """Start a process; it is ended on leaving."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            yield Pipe(name, process, errors)
        finally:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def pipe_peer(
    name: str,
    command: Sequence[str],
    manifest: Manifest,
    lacks: Collection[int] = (),
    profile: str | None = None,
) -> Iterator[PipePeer]:
    """Start a process that answers on its pipes, except for the layers that it lacks; it is ended on leaving."""
    with pipe_to(name, command) as pipe:
        yield PipePeer(pipe, manifest, lacks, profile)
