"""The generated library, compiled for this machine: with sanitizers as a peer, or optimised as a shared library."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tinygen import staging
from tinygen.emit import render
from tinygen.errors import ToolFailed, ToolMissing
from tinygen.manifest import Manifest
from tinygen.peer import PipePeer, pipe_peer

_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion")
_COMPILERS = ("gcc", "clang", "cc")
_STANDARD = "-std=c99"


def find_compiler() -> str:
    """The host's C compiler: $CC, or the first of gcc, clang and cc. Raises ToolMissing."""
    wanted = os.environ.get("CC")
    for name in (wanted,) if wanted else _COMPILERS:
        if shutil.which(name):
            return name
    raise ToolMissing(
        f"no C compiler on this machine: looked for {wanted or ', '.join(_COMPILERS)}",
        "Install one, on Debian: apt install gcc libc6-dev. Or name yours: CC=/path/to/cc",
    )


def compile_host(out: Path, manifest: Manifest, folder: Path, compiler: str, flags: Sequence[str] = ()) -> Path:
    """Compile the library of an output folder with a harness around it; the path of the program.

    Raises ToolFailed when the compiler does, ToolMissing when it is not there.
    """
    harness = render(
        "host/harness.c.j2",
        name=manifest.name,
        begin=manifest.begin,
        invoke=manifest.invoke,
        reset=manifest.reset,
        set_arena=manifest.set_arena,
        state_bytes=manifest.state_bytes,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        layer_bytes=[layer.output.bytes for layer in manifest.layers],
    )
    return compile_around(harness, out, manifest, folder, compiler, flags)


def compile_around(
    text: str, out: Path, manifest: Manifest, folder: Path, compiler: str, flags: Sequence[str] = ()
) -> Path:
    """The same for any harness, given its text."""
    harness = folder / "harness.c"
    harness.write_text(text)
    program = folder / "model"
    includes = [f"-I{out / path}" for path in manifest.host_include_dirs]
    sources = [str(out / path) for path in manifest.host_sources]
    # Of debug information, the lines that sanitizers name are enough; all of it takes a seventh longer.
    strict = ["-O1", "-g1", *_WARNINGS, *_SANITIZERS]
    _compile(compiler, [*strict, *flags, *includes, *sources, str(harness), "-o", str(program)])
    return program


def compile_shared(files: Mapping[str, str], folder: Path) -> Path:
    """Write and compile the files of a library, optimised; the path of the shared library.

    Raises ToolFailed when the compiler does, ToolMissing when there is none.
    """
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    library = folder / "model.so"
    sources = [str(folder / path) for path in files if path.endswith(".c")]
    _compile(find_compiler(), ["-O2", "-shared", "-fPIC", *sources, "-o", str(library)])
    return library


def _compile(compiler: str, arguments: Sequence[str]) -> None:
    command = [compiler, _STANDARD, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise ToolMissing(f"there is no compiler {compiler}", "Install it, or name another: CC=/path/to/cc") from None
    if done.returncode:
        raise ToolFailed(f"{compiler} failed on the generated C:\n{done.stderr[-4000:]}", "See the messages above.")


@contextlib.contextmanager
def host_peer(
    out: Path, manifest: Manifest, compiler: str | None = None, flags: Sequence[str] = ()
) -> Iterator[PipePeer]:
    """The library as it lies in `out`, compiled and running with address and undefined-behaviour sanitizers.

    Without a name, the compiler is the one of find_compiler().
    """
    compiler = compiler or find_compiler()
    with staging.temporary("work") as folder:
        program = compile_host(out, manifest, folder, compiler, flags)
        with pipe_peer(f"host C ({' '.join([compiler, *flags])}, sanitized)", [str(program)], manifest) as peer:
            yield peer
