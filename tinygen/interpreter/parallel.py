"""Many inputs at once: in processes of their own, or one after the other here.

A process reads, as pickles, what makes its backend and then sequences of inputs; it writes the outputs of each step. It
is a program of its own (not a fork, not multiprocessing's import of the caller's script), so that any script can use it
as it is, whatever threads it has.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from tinygen.errors import ToolFailed
from tinygen.interpreter.arrays import Step
from tinygen.interpreter.backend import Backend

Maker = Callable[[], Backend]
"""Makes a backend in whatever process it is called; it can be pickled."""

_PIECE = 16
"""Independent steps that are sent together."""

_WORTHWHILE_S = 3
"""Work that is worth starting processes for: each takes about a second to start."""


def cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pieces(lengths: Sequence[int], has_state: bool) -> list[range]:
    """The steps of consecutive sequences, in parts that can be run by themselves, each after a reset.

    A sequence of a model with state is one part; without state, steps are independent.
    """
    ends = [0, *itertools.accumulate(lengths)]
    if has_state:
        return [range(start, end) for start, end in itertools.pairwise(ends) if start < end]
    return [range(start, min(start + _PIECE, ends[-1])) for start in range(0, ends[-1], _PIECE)]


def run(
    backend: Backend,
    make: Maker | None,
    names: Sequence[str],
    steps: Sequence[Step],
    parts: Sequence[range],
    processes: int | None,
    done: Callable[[], None],
) -> list[Step]:
    """The outputs `names` of each step, computed by `backend`, or by so many processes with what `make` makes there.

    Without `processes`, that depends on how long the first part takes. `done` is called after each step. Raises
    ToolFailed when a process ends before it is done.
    """
    found: dict[int, Step] = {}
    if make is not None and processes is None:
        before = time.monotonic()
        found = _run_here(backend, names, steps, parts[:1], done)
        still = (time.monotonic() - before) * (len(steps) / max(len(found), 1) - 1)
        parts = parts[1:]
        processes = cpus() if still > _WORTHWHILE_S else 1
    used = min(processes or 1, len(parts))
    if make is None or used < 2:
        found |= _run_here(backend, names, steps, parts, done)
    else:
        found |= _run_in_processes(make, names, steps, parts, done, used)
    return [found[index] for index in range(len(steps))]


def _run_here(
    backend: Backend, names: Sequence[str], steps: Sequence[Step], parts: Iterable[range], done: Callable[[], None]
) -> dict[int, Step]:
    found = {}
    for part in parts:
        for index, outputs in zip(part, _answers(backend, names, [steps[index] for index in part]), strict=True):
            found[index] = outputs
            done()
    return found


def _run_in_processes(
    make: Maker,
    names: Sequence[str],
    steps: Sequence[Step],
    parts: Iterable[range],
    done: Callable[[], None],
    processes: int,
) -> dict[int, Step]:
    waiting: queue.SimpleQueue[range] = queue.SimpleQueue()
    for part in parts:
        waiting.put(part)
    found: dict[int, Step] = {}
    lock = threading.Lock()

    def work() -> None:
        with _worker(make, names) as ask, contextlib.suppress(queue.Empty):
            while True:
                part = waiting.get_nowait()
                for index, outputs in zip(part, ask([steps[index] for index in part]), strict=True):
                    with lock:
                        found[index] = outputs
                        done()

    with ThreadPoolExecutor(processes) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(processes)]:
                worker.result()
        except BaseException:  # an interrupt, too: what waits is not begun any more
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
            raise
    return found


@contextlib.contextmanager
def _worker(make: Maker, names: Sequence[str]) -> Iterator[Callable[[Sequence[Step]], Iterator[Step]]]:
    """A process, which is ended on leaving; gives a function from a sequence of inputs to its outputs."""
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-P", "-c", "from tinygen.interpreter.parallel import serve; serve()"]
        where = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # it finds what this process finds
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=where)
        assert process.stdin is not None
        assert process.stdout is not None
        to_worker, from_worker = process.stdin, process.stdout

        def ask(steps: Sequence[Step]) -> Iterator[Step]:
            try:
                _send(to_worker, steps)
                for _ in steps:
                    yield pickle.load(from_worker)
            except (BrokenPipeError, EOFError):
                code = process.wait(timeout=30)
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()[-4000:]
                raise ToolFailed(f"a process of the batch ended with code {code}" + f":\n{said}" * bool(said)) from None

        try:
            with contextlib.suppress(BrokenPipeError):  # then it has something to say, which the first question shows
                _send(to_worker, (make, names))
            yield ask
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


def _answers(backend: Backend, names: Sequence[str], steps: Iterable[Step]) -> Iterator[Step]:
    backend.reset()
    for inputs in steps:
        values = backend.run(inputs)
        yield tuple(values[name] for name in names)


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe)
    pipe.flush()


def serve() -> None:
    """What such a process does until its pipe is closed."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints must not mix with the answers
    make, names = pickle.load(sys.stdin.buffer)
    backend = make()
    with contextlib.suppress(EOFError):
        while True:
            for outputs in _answers(backend, names, pickle.load(sys.stdin.buffer)):
                _send(pipe, outputs)
