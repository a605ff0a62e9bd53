"""A model's library and a front end, made one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinygen import manifest
from tinygen.errors import DoesNotFit, UsageError
from tinygen.goal import Goal
from tinygen.interface import EXTERNAL, STATIC, Interface
from tinygen.library.generate import Library
from tinygen.library.origin import Origin
from tinygen.listening.detector import Detector
from tinygen.listening.detector_for import detector_for
from tinygen.listening.frames import Frames, frames_of
from tinygen.listening.hearing import Hearing
from tinygen.listening.library import listening_library, listening_sizes
from tinygen.listening.part import LibraryPart
from tinygen.part_sizes import NOTHING, PartSizes
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
    sizes: PartSizes
    """Of what is beside the model."""


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


def beside(models: Sequence[Model], hearing: Hearing | None, interface: Interface, core: Core) -> PartSizes:
    """What there will be beside the model, with the model's interface as `listening_interface` gives it."""
    if hearing is None:
        return NOTHING
    (model,) = models
    frames = frames_of(model.graph, model.stream, hearing)
    output = model.graph.tensors[model.graph.outputs[0]]
    zero_point = 0 if output.quant is None else int(output.quant.zero_point[0])
    detector = detector_of(model, hearing, frames)
    is_own = interface.input == EXTERNAL
    return listening_sizes(hearing.front_end, frames, detector, is_own, (output.dtype, zero_point), core)


def detector_of(model: Model, hearing: Hearing, frames: Frames) -> Detector | None:
    """The detector that is wished for, for this model. Raises UsageError where that cannot be."""
    wish = hearing.detector
    return None if wish is None else detector_for(model.graph, hearing.front_end, frames, wish)


@contextlib.contextmanager
def within(goal: Goal, sizes: PartSizes) -> Iterator[Goal]:
    """The goal with those budgets that are left for the model.

    Raises DoesNotFit where nothing is left, and says of any that comes from within what is not there for the model.
    """
    taken = {"RAM": (goal.ram_budget, sizes.ram_bytes), "flash": (goal.flash_budget, sizes.flash_bytes)}
    given = [(what, budget, size) for what, (budget, size) in taken.items() if budget is not None and size]
    for what, budget, size in given:
        if size >= budget:
            raise DoesNotFit(
                f"the front end with its detector needs {size:,} bytes of {what}, the budget is {budget:,}",
                f"Raise the {what} budget.",
            )
    left = {what: budget - size for what, budget, size in given}
    try:
        yield dataclasses.replace(
            goal,
            ram_budget=left.get("RAM", goal.ram_budget),
            flash_budget=left.get("flash", goal.flash_budget),
        )
    except DoesNotFit as error:
        if not given:
            raise
        of = " and ".join(f"{size:,} of the {budget:,} bytes of {what}" for what, budget, size in given)
        raise DoesNotFit(f"{error.message}: the front end with its detector takes {of}", error.remedy) from None


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
            ram_bytes=ours.sizes.ram_bytes,
            const_bytes=ours.sizes.const_bytes,
        ),
        ours.sizes,
    )
