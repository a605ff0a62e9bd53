"""An output folder while its files are being replaced: for whoever comes after a program that was killed meanwhile.

Before the first file is replaced, a note says which files the folder may hold, of the earlier build and of the new one,
and the manifest is taken away: nothing vouches for the folder. With the new manifest in its place and nothing left of
the earlier build, the note goes, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

FILE_NAME = ".tinygen-unfinished.json"

Hashes = Mapping[str, frozenset[str]]
"""By path within the folder, the SHA-256 of what tinygen may have written there."""


def begin(out: Path, draft: Path, hashes: Hashes, manifest: Path) -> None:
    """Write the note, and remove the manifest. The folder `draft` is on the same disk. Raises OSError."""
    note = draft / FILE_NAME
    note.write_text(json.dumps({path: sorted(known) for path, known in hashes.items()}), encoding="utf-8")
    note.replace(out / FILE_NAME)
    manifest.unlink(missing_ok=True)


def finish(out: Path) -> None:
    """Remove the note. Raises OSError."""
    (out / FILE_NAME).unlink(missing_ok=True)


def is_unfinished(out: Path) -> bool:
    """Whether there is a note."""
    return os.path.lexists(out / FILE_NAME)


def read(out: Path) -> Hashes:
    """What the note says; nothing without one. Raises OSError, and ValueError for a file that is no note."""
    if not is_unfinished(out):
        return {}
    content = json.loads((out / FILE_NAME).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not all(isinstance(known, list) for known in content.values()):
        raise ValueError("it is no list of files")
    return {str(path): frozenset(map(str, known)) for path, known in content.items()}
