"""How a model is read: what its user chooses, and what the manifest keeps so that it is read alike later."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tinygen.errors import UsageError

TFLM = "tflm"
"""TensorFlow Lite Micro."""
LITERT = "litert"
"""The reference kernels (BUILTIN_REF) of LiteRT from 1.3 on, once TensorFlow Lite."""
ONNXRUNTIME = "onnxruntime"
"""ONNX Runtime's CPU provider on x86-64, with all optimisations of the graph."""
PROFILES = (TFLM, LITERT, ONNXRUNTIME)
"""Whose arithmetic generated code follows."""
OF_FORMAT = ""
"""Not chosen: the first of the profiles that there are for the model's format."""

INTERFACES = ("model", "int8")
"""Inputs and outputs as the file has them, or, where they are float32 or uint8, as the int8 or int16 behind them."""

LAYOUTS = ("model", "nhwc")
"""Dimensions of inputs and outputs as the file has them, or channels last, where the layers want them so."""


@dataclass(frozen=True)
class Streaming:
    """A wish for a model that takes new frames only, and remembers what it needs of those before.

    Raises UsageError for what cannot be chosen.
    """

    hop: int | None = None
    """New frames in an invoke; None: as few as the model's strides allow."""
    axis: int | None = None
    """The input's dimension along which frames follow each other; None: the first after the batch that is not one."""

    def __post_init__(self) -> None:
        if self.hop is not None and self.hop < 1:
            raise UsageError(f"a hop of {self.hop} frames is no hop", "Choose --streaming 1 or more.")
        if self.axis is not None and self.axis < 0:
            raise UsageError(f"there is no dimension {self.axis}", "Dimensions count from 0.")

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words."""
        hop = () if self.hop is None else (str(self.hop),)
        return ("--streaming", *hop, *(() if self.axis is None else ("--time-axis", str(self.axis))))


@dataclass(frozen=True)
class Options:
    """Choices that change what a model computes, or how it is talked to.

    Raises UsageError for what cannot be chosen.
    """

    profile: str = OF_FORMAT
    """One of PROFILES, or OF_FORMAT."""
    batch: int | None = None
    """Inferences in one invoke; None: as many as the file fixes, or one."""
    io: str = "model"
    """One of INTERFACES."""
    layout: str = "model"
    """One of LAYOUTS."""
    streaming: Streaming | None = None
    """Frame by frame, where that gives the same; None: as the file has it."""

    def __post_init__(self) -> None:
        if self.profile != OF_FORMAT:
            _expect("profile", self.profile, PROFILES)
        _expect("interface", self.io, INTERFACES)
        _expect("layout", self.layout, LAYOUTS)
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"a batch of {self.batch} is no batch", "Choose 1 or more.")

    def for_format(self, suffix: str, profiles: tuple[str, ...]) -> Options:
        """These for a model of a format, whose profile is chosen. Raises UsageError where the format has it not."""
        if self.profile == OF_FORMAT:
            return dataclasses.replace(self, profile=profiles[0])
        if self.profile not in profiles:
            raise UsageError(
                f"there is no profile {self.profile} for {suffix} models",
                f"Choose {' or '.join(profiles)}, or leave --profile out.",
            )
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words for what is not the default."""
        profile = ("--profile", self.profile) if self.profile == LITERT else ()
        batch = () if self.batch is None else ("--batch", str(self.batch))
        io = ("--io", self.io) if self.io != INTERFACES[0] else ()
        layout = ("--layout", self.layout) if self.layout != LAYOUTS[0] else ()
        return (*profile, *batch, *io, *layout, *(self.streaming.words if self.streaming is not None else ()))


def _expect(what: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise UsageError(f"unknown {what} {found!r}", f"Choose one of {', '.join(known)}.")
