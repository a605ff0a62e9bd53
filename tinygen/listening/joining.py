"""A model's library and a front end, made one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinygen import manifest
from tinygen.errors import UsageError
from tinygen.interface import EXTERNAL, STATIC, Interface
from tinygen.library import Library, Origin
from tinygen.listening.detector import Detector
from tinygen.listening.frames import Frames, frames_of
from tinygen.listening.hearing import Hearing
from tinygen.listening.library import listening_library
from tinygen.listening.part import LibraryPart
from tinygen.target import HOST, Core

if TYPE_CHECKING:  # the pipeline imports this module
    from tinygen.pipeline import Model


@dataclass(frozen=True)
class Joined:
    """A library that takes samples, for the board and for the host; and what the manifest says of it."""

    hearing: Hearing
    library: Library
    host: Library
    manifest: manifest.FrontEnd

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of RAM and of tables, besides the model's."""
        return self.manifest.ram_bytes, self.manifest.const_bytes


def listening_interface(models: Sequence[Model], hearing: Hearing, interface: Interface) -> Interface:
    """How the model's library is talked to: a window that moves on lies outside of the arena, where it survives.

    Raises UsageError for an interface that leaves frames no place, or for several models, and as `frames_of`.
    """
    if len(models) > 1:
        raise UsageError(
            f"--frontend is for one model, not for {len(models)} that take turns in one arena",
            "Build them one by one, into folders of their own.",
        )
    if interface.is_external or interface.by_rows or interface.output != STATIC:
        given = " and ".join(word for word in interface.words if word.startswith("--") and word != "--input")
        raise UsageError(
            f"--frontend and {given}: with a front end, the library gives the model its input, and keeps its result",
            f"Leave {given} out.",
        )
    (model,) = models
    kept = frames_of(model.graph, model.stream, hearing).kept
    return dataclasses.replace(interface, input=EXTERNAL) if kept else interface


def join(
    hearing: Hearing,
    frames: Frames,
    detector: Detector | None,
    library: Library,
    host: Library,
    name: str,
    origin: Origin,
    core: Core,
) -> Joined:
    """The library with its front end; on the host it is portable."""

    def files(target: Core) -> LibraryPart:
        ports = (library.inputs, library.outputs)
        return listening_library(
            hearing.front_end, frames, detector, name, origin.text(name), ports, bool(library.state_bytes), target
        )

    ours, theirs = files(core), files(HOST)
    joined = dataclasses.replace(library, files={**library.files, **ours.files})
    is_portable = host is library and ours.files == theirs.files
    front_end = hearing.front_end
    return Joined(
        hearing,
        joined,
        joined if is_portable else dataclasses.replace(host, files={**host.files, **theirs.files}),
        manifest.FrontEnd(
            file=hearing.source,
            path=f"model/{name}_front_end.toml",
            sample_rate=front_end.sample_rate,
            first=front_end.window + (frames.new - 1) * front_end.step,
            step=frames.new * front_end.step,
            features=frames.features,
            kept=frames.kept,
            new=frames.new,
            feed=f"{name}_feed",
            restart=f"{name}_restart",
            detect=None if detector is None else f"{name}_detect",
            detector=detector,
            ram_bytes=ours.ram_bytes,
            const_bytes=ours.const_bytes,
        ),
    )
