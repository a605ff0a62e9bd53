"""Files and folders while they are written, hidden beside the place that they are moved to when they are complete; and
temporary folders.

Whoever is killed meanwhile leaves them. Each is locked by the program that made it, as long as that lives: what is not,
the next one removes. Systems without such locks (Windows, some network drives) keep them.
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

Bury = Callable[[Path], object]
"""Called before what a dead program left is removed."""


@contextlib.contextmanager
def folder_beside(place: Path) -> Iterator[Path]:
    """An empty folder on the disk of `place`, to be filled and renamed; removed again otherwise. Raises OSError."""
    with _locked(place.parent, f".{place.name}.tinygen-", _folder) as path:
        yield path


@contextlib.contextmanager
def temporary(name: str, bury: Bury = lambda path: None) -> Iterator[Path]:
    """An empty folder among the temporary ones, removed at the end. `bury` is called with what the dead left."""
    with _locked(Path(tempfile.gettempdir()), f"tinygen-{name}-", _folder, bury) as path:
        yield path


@contextlib.contextmanager
def file_beside(place: Path) -> Iterator[Path]:
    """The same for a file."""
    with _locked(place.parent, f".{place.name}.tinygen-", _file) as path:
        yield path


def _folder(parent: Path, prefix: str) -> str:
    return tempfile.mkdtemp(prefix=prefix, dir=parent)


def _file(parent: Path, prefix: str) -> str:
    handle, name = tempfile.mkstemp(prefix=prefix, dir=parent)
    os.close(handle)
    return name


@contextlib.contextmanager
def _locked(
    parent: Path, prefix: str, make: Callable[[Path, str], str], bury: Bury = lambda path: None
) -> Iterator[Path]:
    for left in _unlocked(parent, prefix):
        bury(left)
        _remove(left)
    with contextlib.ExitStack() as held:
        while True:
            path = Path(make(parent, prefix))
            handle = _open(path)
            if handle is not None:
                held.callback(os.close, handle)
                _lock(handle, wait=True)
            held.callback(_remove, path)  # before it is unlocked
            if path.exists() if handle is None else _is_at(handle, path):
                break  # else it was swept between being made and being locked
        yield path


def _unlocked(parent: Path, prefix: str) -> Iterator[Path]:
    """What the user's dead programs left, each locked while it is looked at."""
    try:
        found = [path for path in parent.iterdir() if path.name.startswith(prefix) and not path.is_symlink()]
    except OSError:
        return
    for path in found:
        handle = _open(path)
        if handle is None:
            continue
        try:
            mine = os.fstat(handle).st_uid == os.getuid()
            if mine and _lock(handle, wait=False) and _is_at(handle, path):
                yield path
        finally:
            os.close(handle)


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
