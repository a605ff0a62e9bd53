"""Files and folders while they are written, beside the place that they are moved to when they are complete.

Whoever is killed meanwhile leaves a hidden one. Each is locked by the program that writes it, as long as that lives:
what is not, the next one removes. Systems without such locks (Windows, some network drives) keep them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def folder_beside(place: Path) -> Iterator[Path]:
    """An empty folder on the disk of `place`, to be filled and renamed; removed again otherwise. Raises OSError."""
    with _locked(place, lambda prefix: tempfile.mkdtemp(prefix=prefix, dir=place.parent)) as path:
        yield path


@contextlib.contextmanager
def file_beside(place: Path) -> Iterator[Path]:
    """The same for a file."""

    def make(prefix: str) -> str:
        handle, name = tempfile.mkstemp(prefix=prefix, dir=place.parent)
        os.close(handle)
        return name

    with _locked(place, make) as path:
        yield path


@contextlib.contextmanager
def _locked(place: Path, make: Callable[[str], str]) -> Iterator[Path]:
    prefix = f".{place.name}.tinygen-"
    _sweep(place, prefix)
    with contextlib.ExitStack() as held:
        while True:
            path = Path(make(prefix))
            handle = _open(path)
            if handle is not None:
                held.callback(os.close, handle)
                _lock(handle, wait=True)
            held.callback(_remove, path)  # before it is unlocked
            if handle is None or _is_at(handle, path):
                break  # else it was swept between being made and being locked
        yield path


def _sweep(place: Path, prefix: str) -> None:
    for path in _beside(place, prefix):
        handle = _open(path)
        if handle is None:
            continue
        try:
            if _lock(handle, wait=False) and _is_at(handle, path):
                _remove(path)
        finally:
            os.close(handle)


def _beside(place: Path, prefix: str) -> list[Path]:
    try:
        return [path for path in place.parent.iterdir() if path.name.startswith(prefix) and not path.is_symlink()]
    except OSError:
        return []


def _open(path: Path) -> int | None:
    """A descriptor to lock it by; None where that cannot be had."""
    if fcntl is None:
        return None
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _lock(handle: int, wait: bool) -> bool:
    """Whether it is ours now: not where somebody else has it, nor where nothing can be locked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
