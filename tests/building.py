"""From the bytes of a model to an output folder, and the comparison of everybody who runs it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from warm_runtimes import warm_peer

from tinygen import output, pipeline, samples
from tinygen.goal import Goal
from tinygen.host import host_peer
from tinygen.interface import Interface
from tinygen.manifest import Manifest
from tinygen.options import OF_FORMAT, Options
from tinygen.peer import Peer
from tinygen.samples import Sample
from tinygen.verify import verify

BOARD = "qemu-mps2-an386"
DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"


@dataclass(frozen=True)
class Built:
    """A model, and the folder that it was built into."""

    model: pipeline.Model
    out: Path
    manifest: Manifest
    prefer: frozenset[str] = frozenset()
    """Kernels that were used wherever they could be."""

    @property
    def library(self) -> Path:
        """The folder of the generated C that runs on the host: the board's own, where that is portable."""
        return self.out / self.manifest.host_include_dirs[0]

    @property
    def source(self) -> Path:
        """The generated C file that runs on the host."""
        return self.library / f"{self.manifest.name}.c"

    @property
    def board_library(self) -> Path:
        """The folder of the generated C and assembly that runs on the board."""
        return self.out / self.manifest.include_dirs[0]

    @property
    def board_source(self) -> Path:
        """The generated C file that runs on the board."""
        return self.board_library / f"{self.manifest.name}.c"


def build_file(
    path: Path,
    out: Path,
    name: str | None = None,
    objective: str = "balanced",
    board: str = BOARD,
    profile: str = OF_FORMAT,
    kernel: str | None = None,
    places: tuple[tuple[str, str], ...] = (),
    overlap: bool = True,
) -> Built:
    """Read a model file, build it, and write the output folder."""
    return build_read(pipeline.read(path, Options(profile)), out, name, objective, board, kernel, places, overlap)


def build_read(
    model: pipeline.Model,
    out: Path,
    name: str | None = None,
    objective: str = "balanced",
    board: str = BOARD,
    kernel: str | None = None,
    places: tuple[tuple[str, str], ...] = (),
    overlap: bool = True,
    interface: Interface | None = None,
) -> Built:
    """The same for a model that has been read; with the kernel, wherever it can be used.

    `overlap`: with outputs that overlap inputs, as far as kernels allow.
    """
    goal = Goal(objective, places=places, prefer=frozenset(() if kernel is None else (kernel,)), overlap=overlap)
    build = pipeline.build(model, board, name, goal, interface)
    output.write(build.files, out)
    return Built(model, out, build.manifest, goal.prefer)


def build_bytes(
    data: bytes,
    folder: Path,
    name: str | None = "kws",
    objective: str = "balanced",
    board: str = BOARD,
    profile: str = OF_FORMAT,
    kernel: str | None = None,
    overlap: bool = True,
    file: str = "case.tflite",
) -> Built:
    """The same for a model in memory; everything is written below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_bytes(data)
    return build_file(path, folder / f"out-{objective}", name, objective, board, profile, kernel, (), overlap)


_WIDE = 50.0  # standard deviation: uniform int8 has 74, the Gaussian samples 21, all elements equal 0


def is_wide(sample: Sample) -> bool:
    """Whether the elements of each input spread over the whole range."""
    return all(float(np.std(array)) > _WIDE for array in sample.arrays)


def varied(built: Built, count: int, seed: int = 0) -> list[Sample]:
    """Inputs that are all minimum, all maximum, random and Gaussian."""
    return samples.generated(built.manifest.inputs, count, seed)


def differences(built: Built, inputs: Sequence[Sample], *peers: AbstractContextManager[Peer]) -> list[str]:
    """What differs from the reference, in words; checks that something was compared."""
    reports = verify(built.model, built.manifest, inputs, peers)
    assert [report.samples for report in reports] == [len(inputs)] * len(peers)
    assert all(report.bytes > 0 for report in reports)
    return [f"{report.peer}: {difference}" for report in reports for difference in report.differences]


# Thousands of small programs are linked, in a third of the time that the default linker takes.
_LINKER = ("-fuse-ld=gold",)


def host(built: Built) -> AbstractContextManager[Peer]:
    """The generated C on this machine, under sanitizers."""
    return host_peer(built.out, built.manifest, flags=_LINKER)


# Besides the default. Where int, long and pointers have 32 bits, as on boards; on x86 they do for the asking, with
# floats computed as floats. Unoptimised, because that is what the others are not.
_OTHER_COMPILERS: list[tuple[str, tuple[str, ...]]] = [("clang", ())]
if platform.machine() in ("x86_64", "AMD64"):
    _OTHER_COMPILERS.append(("gcc", ("-m32", "-msse2", "-mfpmath=sse", "-O0")))


def other_host(built: Built, turn: int) -> AbstractContextManager[Peer]:
    """The same from another compiler, one of several in turn. One that is not installed is an error."""
    compiler, flags = _OTHER_COMPILERS[turn % len(_OTHER_COMPILERS)]
    return host_peer(built.out, built.manifest, compiler, (*_LINKER, *flags))


def tflm(built: Built) -> AbstractContextManager[Peer]:
    """TensorFlow Lite Micro's interpreter."""
    return warm_peer("tflm", built.out, built.manifest)


def litert(built: Built) -> AbstractContextManager[Peer]:
    """LiteRT's interpreter, with its reference kernels."""
    return warm_peer("litert", built.out, built.manifest)


def original(built: Built) -> AbstractContextManager[Peer]:
    """The runtime whose arithmetic the model has."""
    return warm_peer(built.manifest.profile, built.out, built.manifest)


def assert_exact(
    built: Built,
    inputs: Sequence[Sample],
    no_flat_inputs: str = "",
    others: Sequence[AbstractContextManager[Peer]] = (),
    lowest_input: int | None = None,
) -> None:
    """Reference, host C, the original runtime and `others` give the same bytes, layer by layer.

    Where `no_flat_inputs` says why, the original runtime is only asked about inputs that are anything but flat; with
    `lowest_input`, about none that are smaller.
    """
    theirs = [sample for sample in inputs if is_wide(sample)] if no_flat_inputs else inputs
    if lowest_input is not None:
        theirs = [
            Sample(x.name, tuple(np.asarray(np.maximum(array, lowest_input)) for array in x.arrays)) for x in theirs
        ]
    assert theirs, "nothing is left to ask the original runtime about"
    assert differences(built, inputs, host(built), *others) == []
    assert differences(built, theirs, original(built)) == []
