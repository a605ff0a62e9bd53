"""Compiles packages of generated C with every compiler that is here, and runs them on this machine.

    python benchmarks/compilers.py                               # the digits, and a network of MLPerf Tiny's
    python benchmarks/compilers.py --compiler gcc-14 --compiler "arm-none-eabi-gcc"
    python benchmarks/compilers.py --model examples/digits/digits.tflite --write

Each build is with all warnings as errors, for C99 and C11, optimised for size and for speed, with and without link-time
optimisation; and once more with a caller in C++17. It has to answer a sample as the numpy reference does. Compilers for
Arm get the library with its kernels in assembly, and compile it only: the test suite runs such builds in an emulator.
The exit code is 1 when a build fails; --write keeps what was done in results/compilers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tinygen import manifest
from tinygen.version import VERSION

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "compilers.json"
SHARED = Path(os.environ.get("TINYGEN_SHARED") or HERE.parents[1] / "shared")
MODELS = (HERE.parent / "examples" / "digits" / "digits.tflite", SHARED / "models" / "mlperf" / "ic_resnet8.tflite")
BOARD = "qemu-mps2-an386"

ARM = "arm-none-eabi-"
COMPILERS = (
    *(f"gcc-{version}" for version in range(9, 16)),
    *(f"clang-{version}" for version in range(13, 22)),
    f"{ARM}gcc",
)
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
STANDARDS = ("c99", "c11")
OPTIMISATIONS = ("-Os", "-O2", "-O3")
SECONDS = 300


@dataclass(frozen=True)
class Package:
    """A model's library as `tinygen export --as plain` writes it, with a caller that compares."""

    name: str
    folder: Path
    arm_flags: tuple[str, ...]

    @property
    def sources(self) -> list[str]:
        """What is compiled beside the caller; assembly is empty on other machines."""
        return [str(path) for path in sorted((self.folder / "src").iterdir()) if path.suffix in (".c", ".S")]

    @property
    def caller(self) -> str:
        """The program that computes a sample, and ends with 0 when every bit of the answer is right."""
        return str(self.folder / "example" / "main.c")


@dataclass(frozen=True)
class Build:
    """Commands, one after the other, and what they are called."""

    title: str
    commands: tuple[tuple[str, ...], ...]


def packages(models: Sequence[Path], folder: Path) -> list[Package]:
    """Built and exported."""
    found = []
    for model in models:
        out, package = folder / f"{model.stem}-out", folder / model.stem
        for command in (["build", str(model), "--board", BOARD], ["export", str(out), "--as", "plain"]):
            target = out if command[0] == "build" else package
            whole = [sys.executable, "-m", "tinygen", *command, "-o", str(target)]
            subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)
        flags = manifest.load(out).cflags
        found.append(Package(model.stem, package, tuple(flag for flag in flags if flag.startswith("-m"))))
    return found


def builds(compiler: str, package: Package, folder: Path) -> Iterator[Build]:
    """Everything that a compiler is tried with."""
    program = str(folder / "program")
    include = f"-I{package.folder / 'src'}"
    for optimisation in OPTIMISATIONS:
        for lto in ((), ("-flto",)):
            for standard in STANDARDS:
                flags = (f"-std={standard}", optimisation, *lto, *WARNINGS, include)
                title = " ".join(flags[: 2 + len(lto)])
                if compiler.startswith(ARM):
                    objects = tuple(
                        (compiler, *package.arm_flags, *flags, "-c", source, "-o", program)
                        for source in package.sources
                    )
                    yield Build(title, objects)
                else:
                    link = (compiler, *flags, package.caller, *package.sources, "-o", program)
                    yield Build(title, (link, (program,)))
    cpp = compiler.replace("gcc", "g++").replace("clang", "clang++")
    if not compiler.startswith(ARM) and shutil.which(cpp):
        (source,) = (source for source in package.sources if source.endswith(".c"))
        library, caller = f"{program}-library.o", f"{program}-caller.o"
        yield Build(
            "a caller in C++17",
            (
                (compiler, "-std=c99", "-O2", *WARNINGS, include, "-c", source, "-o", library),
                (cpp, "-std=c++17", "-x", "c++", *WARNINGS, include, "-c", package.caller, "-o", caller),
                (cpp, library, caller, "-o", program),
                (program,),
            ),
        )


def failure(build: Build) -> str:
    """What the first command that failed said; empty where none did."""
    for command in build.commands:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS)
        if done.returncode:
            return f"{' '.join(command)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
    return ""


def version(compiler: str) -> str:
    """As the compiler says it."""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0]


def remember(compiler: str, counts: Mapping[str, object]) -> None:
    """Write what was done with a compiler beside what the file has of others, and of other packages."""
    known = json.loads(RESULTS.read_text())["compilers"] if RESULTS.is_file() else {}
    known[compiler] = {**known.get(compiler, {}), **counts}
    content = {"tinygen": VERSION, "compilers": dict(sorted(known.items()))}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """The command line; 0 when every build was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", action="append", help="instead of all that are found; several times for several")
    parser.add_argument("--model", action="append", type=Path, help="instead of the usual two")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}, beside what it has of others")
    options = parser.parse_args()
    console = Console()
    compilers = options.compiler or [name for name in COMPILERS if shutil.which(name)]
    models = options.model or [path for path in MODELS if path.is_file()]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tinygen-") as scratch:
        made = packages(models, Path(scratch))
        for compiler in compilers:
            counts = {}
            for package in made:
                found = {build.title: failure(build) for build in builds(compiler, package, Path(scratch))}
                wrong = {name: said for name, said in found.items() if said}
                for name, said in wrong.items():
                    console.print(f"{compiler}, {package.name}, {name}:\n{said}", markup=False)
                counts[package.name] = {"builds": len(found), "failed": sorted(wrong)}
                console.print(
                    f"{version(compiler)}, {package.name}: {len(found)} builds, {len(wrong)} failed", markup=False
                )
                failed += len(wrong)
            if options.write:
                remember(version(compiler), counts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
