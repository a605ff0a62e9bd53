"""The counting plugin, compiled for this machine when it is first needed and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from tinygen import staging
from tinygen.errors import OutputError, ToolFailed
from tinygen.host import find_compiler
from tinygen.resources import resource

_FLAGS = ("-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
_UNDEFINED = ("-Wl,-undefined,dynamic_lookup",) if sys.platform == "darwin" else ()  # QEMU has the functions


def plugin() -> Path:
    """The compiled plugin, of the source that ships.

    Raises ToolMissing without a C compiler, ToolFailed when it fails, OutputError when the cache cannot be written.
    """
    source = resource("firmware", "counter", "counter.c")
    facts = [source.read_bytes(), *(word.encode() for word in (*_FLAGS, sys.platform, platform.machine()))]
    key = hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]
    folder = _cache()
    library = folder / f"counter-{key}.so"
    if not library.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _compile(source, library)
        except OSError as error:
            raise OutputError(
                f"cannot keep the counting plugin in {folder}: {error.strerror or error}",
                "Make that folder writable, or name another: XDG_CACHE_HOME=/path.",
            ) from None
    return library


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "tinygen"


def _compile(source: Path, library: Path) -> None:
    compiler = find_compiler()
    with staging.folder_beside(library) as folder:
        draft = folder / "counter.so"
        command = [compiler, *_FLAGS, *_UNDEFINED, str(source), "-o", str(draft)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise ToolFailed(f"{compiler} could not compile the counting plugin:\n{done.stderr[-2000:]}")
        draft.replace(library)  # atomic: whoever else compiles it at the same time made the same
