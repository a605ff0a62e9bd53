"""The C between samples and a model: the front end's files, and what feeds its frames to the model."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from tinygen.audio import FrontEnd
from tinygen.audio.library import library as front_end_library
from tinygen.audio.library import sizes
from tinygen.c_text import C_TYPES
from tinygen.emit import render
from tinygen.interface import EXTERNAL
from tinygen.listening.detector import Detector
from tinygen.listening.detector_library import detector_library, detector_sizes
from tinygen.listening.frames import Frames
from tinygen.listening.part import COUNTER_BYTES, LibraryPart
from tinygen.manifest import Port
from tinygen.part_sizes import NOTHING, PartSizes
from tinygen.target import Core

_CODE_BYTES = 192
"""At most, as GCC compiles what feeds frames to the model for Cortex-M with -O2."""


def listening_library(
    front_end: FrontEnd,
    frames: Frames,
    detector: Detector | None,
    name: str,
    origin: str,
    ports: tuple[tuple[Port, ...], tuple[Port, ...]],
    has_state: bool,
    core: Core,
) -> LibraryPart:
    """For the model's library `name` with these inputs and outputs, on a core.

    Frames go to the model's input, where that is its own; else to a window that it reads in place.
    """
    (given,), outputs = ports
    is_own = given.memory == EXTERNAL
    part = front_end_library(front_end, f"{name}_front_end", core, given=True)
    output = outputs[0]
    size = listening_sizes(front_end, frames, detector, is_own, (np.dtype(output.dtype), output.zero_point or 0), core)
    values = {
        "name": name,
        "prefix_upper": name.upper(),
        "origin": origin,
        "summary": _summary(front_end, frames),
        "usage": textwrap.wrap(_usage(frames, name, has_state, len(outputs)), 116),
        "input": given,
        "output": output,
        "output_type": C_TYPES[output.dtype],
        "has_state": has_state,
        "is_own": is_own,
        "has_words": detector is not None,
        "sample_rate": front_end.sample_rate,
        "first": front_end.window + (frames.new - 1) * front_end.step,
        "step": frames.new * front_end.step,
        "features": frames.features,
        "kept": frames.kept,
        "new": frames.new,
        "elements": frames.elements,
        "words": _window_bytes(frames) // 4,
        "zero_point": frames.zero_point,
    }
    words = None if detector is None else detector_library(detector, name, origin, output)
    totals = {"ram_bytes": size.ram_bytes, "const_bytes": size.const_bytes}
    files = {
        **{f"src/{path}": text for path, text in part.files.items()},
        f"src/{name}_audio.h": render("listening/audio.h.j2", **values, **totals),
        f"src/{name}_audio.c": render("listening/audio.c.j2", **values, **totals),
        **(words.files if words is not None else {}),
    }
    return LibraryPart(files, size)


def listening_sizes(
    front_end: FrontEnd,
    frames: Frames,
    detector: Detector | None,
    is_own: bool,
    output: tuple[np.dtype[Any], int],
    core: Core,
) -> PartSizes:
    """What it takes: front end, window if it is its own, and detector, for an output of this type and zero point."""
    counters = (frames.new > 1) + (frames.kept > 0)
    ram = {"window": _window_bytes(frames) if is_own else 0, "counters": counters * COUNTER_BYTES}
    around = PartSizes({name: count for name, count in ram.items() if count}, {}, _CODE_BYTES)
    words = NOTHING if detector is None else detector_sizes(detector, *output)
    return sizes(front_end, core, given=True) + around + words


def _window_bytes(frames: Frames) -> int:
    return -(-frames.elements // 4) * 4


def _summary(front_end: FrontEnd, frames: Frames) -> str:
    new = "each frame" if frames.new == 1 else f"every {frames.new} frames"
    return f"from samples of {front_end.sample_rate} Hz to a result for {new} of {frames.features} features"


def _usage(frames: Frames, name: str, has_state: bool, outputs: int) -> str:
    text = (
        f"The first result is due after {name.upper()}_AUDIO_FIRST samples, the others after {name.upper()}_AUDIO_STEP "
        "more, however the samples are cut. "
    )
    if frames.kept:
        window = frames.kept + frames.new
        text += f"Each is for the last {window} frames; before the first frame, there are frames of zeros. "
    elif has_state:
        text += "The model remembers what it heard. "
    if outputs > 1:
        text += "The other outputs are there, too. "
    return text + (
        f"In between, neither write to the model's input nor invoke it: {name}_restart() begins again after that. "
        "All memory is static. Not reentrant."
    )
