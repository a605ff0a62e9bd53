"""The original runtimes as peers without waiting for imports: forks of a process that has made them.

`tinygen.runtimes` starts Python, numpy and the runtime for every peer, 0.4 s each; tests ask thousands. What runs is
the same: `tinygen.runtimes.serve` in a process of its own, as some models and inputs make it end.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tinygen.manifest import Manifest
from tinygen.peer import Pipe, PipePeer
from tinygen.runtimes import RUNTIMES, serve

_SLOW_IMPORT = {
    "tflm": "tflite_micro.python.tflite_micro.runtime",
    "litert": "ai_edge_litert.interpreter",
    "onnxruntime": "onnxruntime",
}

_idle: dict[str, list[_Warm]] = {profile: [] for profile in RUNTIMES}


@contextlib.contextmanager
def warm_peer(profile: str, out: Path, manifest: Manifest) -> Iterator[PipePeer]:
    """`RUNTIMES[profile].peer`, from a process that has imported the runtime."""
    runtime = RUNTIMES[profile]
    asked = runtime.ask(out, manifest)
    warm = _idle[profile].pop() if _idle[profile] else _Warm(profile)
    with tempfile.TemporaryFile() as errors:
        process = warm.fork(out, manifest.name, errors)
        try:
            yield PipePeer(Pipe(runtime.interpreter, process, errors), manifest, asked.lacks, profile)
        finally:
            process.kill()
            process.wait()
    _idle[profile].append(warm)


class _Warm:
    """A process that has imported a runtime; one fork of it at a time answers."""

    def __init__(self, profile: str) -> None:
        self._control, theirs = socket.socketpair()
        self._says = self._control.makefile()
        with theirs:
            command = [sys.executable, __file__, profile, str(theirs.fileno())]
            # It ends when this process closes its end of the pair, at the latest by ending.
            subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})

    def fork(self, out: Path, name: str, errors: IO[bytes]) -> _Forked:
        """Answer about a model of an output folder."""
        stdin, write = os.pipe()
        read, stdout = os.pipe()
        socket.send_fds(self._control, [os.fsencode(out) + b"\0" + name.encode()], [stdin, stdout, errors.fileno()])
        os.close(stdin)
        os.close(stdout)
        return _Forked(self._says, os.fdopen(write, "wb"), os.fdopen(read, "rb"))


class _Forked:
    """What `PipePeer` uses of `subprocess.Popen`."""

    def __init__(self, says: IO[str], stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._says = says
        self._pid = int(says.readline())

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self._pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = int(self._says.readline())
            self.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()
        return self.returncode


def _run(profile: str, control: socket.socket) -> None:
    interpreter = importlib.import_module(f"tinygen.{profile}").Interpreter
    importlib.import_module(_SLOW_IMPORT[profile])
    while True:
        asked, pipes, _, _ = socket.recv_fds(control, 4096, 3)
        if not asked:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            for target, pipe in enumerate(pipes):
                os.dup2(pipe, target)
                os.close(pipe)
            out, name = asked.split(b"\0")
            serve(Path(os.fsdecode(out)), name.decode(), interpreter)
            os._exit(0)
        for pipe in pipes:
            os.close(pipe)
        control.send(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        control.send(b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _run(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
