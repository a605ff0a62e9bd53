"""Who turns samples into results besides the reference: the generated C on this machine, or on a board."""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tinygen import staging
from tinygen.emit import render
from tinygen.host import compile_around, find_compiler
from tinygen.ir import Array
from tinygen.listening.heard import Heard
from tinygen.manifest import Manifest
from tinygen.peer import Pipe, pipe_to


class ListeningPeer(Protocol):
    """Somebody who takes samples."""

    name: str

    def listen(self, samples: Array, reset: bool) -> list[Heard]:
        """Each result that is due with int16 (samples,); `reset` forgets earlier ones."""
        ...


class HostListener:
    """A process that reads samples, and writes results."""

    def __init__(self, pipe: Pipe, manifest: Manifest) -> None:
        self.name = pipe.name
        self._pipe = pipe
        self._outputs = [port.bytes for port in manifest.outputs]

    def listen(self, samples: Array, reset: bool) -> list[Heard]:
        """Raises ToolFailed when the process ends instead of answering, with what it said."""
        found = []
        with self._pipe.asked(struct.pack("=BI", reset, len(samples)) + samples.tobytes()):
            while self._pipe.read(1) != b"\0":
                outputs = [self._pipe.read(size) for size in self._outputs]
                found.append(Heard(outputs, int.from_bytes(self._pipe.read(4), sys.byteorder, signed=True)))
        return found


@contextlib.contextmanager
def host_listener(
    out: Path, manifest: Manifest, compiler: str | None = None, flags: Sequence[str] = ()
) -> Iterator[HostListener]:
    """The library in `out`, compiled and running with address and undefined-behaviour sanitizers."""
    compiler = compiler or find_compiler()
    assert manifest.front_end is not None
    text = render(
        "host/listen.c.j2",
        name=manifest.name,
        feed=manifest.front_end.feed,
        restart=manifest.front_end.restart,
        detect=manifest.front_end.detect,
        outputs=manifest.outputs,
    )
    with staging.temporary("work") as folder:
        program = compile_around(text, out, manifest, folder, compiler, flags)
        name = f"host C ({' '.join([compiler, *flags])}, sanitized)"
        with pipe_to(name, [str(program)]) as pipe:
            yield HostListener(pipe, manifest)
