"""The code of a package: the libraries of an output folder, as sources that compile for any core.

What was built for one core may hold its assembly. Then the package has both, that and the portable C of the same
models, and the compiler takes what its core can execute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinygen.core_macros import condition_of
from tinygen.emit import render
from tinygen.errors import OutputError
from tinygen.manifest import Manifest
from tinygen.target import load_core

FOLDER = "src"
"""Where sources and headers are in every package."""

PORTABLE = "portable"


@dataclass(frozen=True)
class Sources:
    """Files by path in the package; those that are compiled, C and assembly."""

    files: Mapping[str, bytes]
    compiled: tuple[str, ...]
    core: str | None
    """Whose instructions there are besides portable C, in words, if any's."""

    @property
    def has_assembly(self) -> bool:
        """Whether an assembler is needed, that of the C compiler."""
        return any(path.endswith(".S") for path in self.compiled)


def sources_of(out: Path, models: Sequence[Manifest]) -> Sources:
    """The libraries of the models in an output folder.

    Raises OutputError where a file is missing, or is not what was built.
    """
    ours = _files(out, models[0].files, [folder for model in models for folder in model.include_dirs])
    portable = _files(out, models[0].files, [folder for model in models for folder in model.host_include_dirs])
    core = load_core(models[0].core)
    condition = condition_of(core)
    if ours == portable or not condition:
        files = {f"{FOLDER}/{path}": data for path, data in portable.items()}
        return Sources(files, _compiled(files), None)
    folder = models[0].core.replace("-", "_")
    files = {f"{FOLDER}/{folder}/{_included(path)}": data for path, data in ours.items()}
    files |= {f"{FOLDER}/{PORTABLE}/{_included(path)}": data for path, data in portable.items()}
    for path in sorted({*ours, *portable}):
        if path.endswith((".h", ".c", ".S")):
            text = render(
                "export/pick.j2",
                path=path,
                title=core.title,
                condition=condition,
                ours=f"{folder}/{_included(path)}" if path in ours else None,
                portable=f"{PORTABLE}/{_included(path)}" if path in portable else None,
            )
            files[f"{FOLDER}/{path}"] = text.encode()
    return Sources(files, _compiled(files), core.title)


def _files(out: Path, hashes: Mapping[str, str], folders: Sequence[str]) -> Mapping[str, bytes]:
    """What lies in these folders, by path within them."""
    found = {}
    for folder in dict.fromkeys(folders):
        for path in hashes:
            if path.startswith(f"{folder}/"):
                found[path.removeprefix(f"{folder}/")] = _content(out, path, hashes[path])
    return found


def _content(out: Path, path: str, sha256: str) -> bytes:
    try:
        data = (out / path).read_bytes()
    except OSError as error:
        raise OutputError(f"cannot read {out / path}: {error.strerror}", "Build it again.") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise OutputError(
            f"{out / path} was changed since tinygen wrote it, so the package would not be what was verified",
            "Build into another folder, and export that; change the package afterwards.",
        )
    return data


def _included(path: str) -> str:
    """The name of a source that another one includes: no build system takes it for one to compile."""
    return f"{path}.inc" if path.endswith((".c", ".S")) else path


def _compiled(files: Mapping[str, bytes]) -> tuple[str, ...]:
    return tuple(sorted(path for path in files if PurePosixPath(path).suffix in (".c", ".S")))
