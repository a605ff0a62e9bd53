"""How a front end's frames become a model's input, or why they cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygen.audio import FrontEnd
from tinygen.errors import FrontEndError, UsageError
from tinygen.ir import Graph, Shape, Tensor
from tinygen.listening.hearing import Hearing
from tinygen.passes.stream import Stream

_TOLERANCE = 0.01
"""By which scales may differ, relatively: trainings calibrate the input, devices take the front end's own constants."""


@dataclass(frozen=True)
class Frames:
    """What the model's input holds: earlier frames, then new ones."""

    features: int
    """Of a frame."""
    kept: int
    """Frames that were there for the result before; 0: each result is for new frames only."""
    new: int
    """Frames that come for each result."""
    zero_point: int
    """What stands in the input for frames before the first one."""

    @property
    def elements(self) -> int:
        """Of the input."""
        return (self.kept + self.new) * self.features


def frames_of(graph: Graph, stream: Stream | None, hearing: Hearing) -> Frames:
    """Frames for a model with this graph, `stream` if it takes new frames only.

    A model that remembers takes new frames, as many as its input holds. One that takes whole windows gets a window that
    moves on by the hop. Raises FrontEndError where the front end is not the model's, UsageError for a hop that cannot
    be.
    """
    tensor = _only_input(graph)
    front_end = hearing.front_end
    _check_type(graph, tensor, hearing)
    frames = _frames_in(tensor.shape, front_end.features, stream)
    if frames is None:
        raise FrontEndError(
            f"{graph.source} does not take this front end's frames: {hearing.source} has {front_end.features} features "
            f"in a frame, the input's shape is {list(tensor.shape)}",
            f"Whole frames of {front_end.features} follow each other in inputs that fit: [1, frames, "
            f"{front_end.features}].",
        )
    new = _new_frames(graph, stream, frames, hearing.hop)
    assert tensor.quant is not None
    return Frames(front_end.features, frames - new, new, int(tensor.quant.zero_point[0]))


def _only_input(graph: Graph) -> Tensor:
    if len(graph.inputs) != 1:
        raise FrontEndError(
            f"{graph.source} has {len(graph.inputs)} inputs; a front end is for one", "Build it without --frontend."
        )
    return graph.tensors[graph.inputs[0]]


def _check_type(graph: Graph, tensor: Tensor, hearing: Hearing) -> None:
    """Raise FrontEndError unless a feature's number stands for the same in the front end and in the model."""
    front_end = hearing.front_end
    if str(tensor.dtype) != front_end.dtype or front_end.dtype != "int8" or tensor.quant is None:
        remedies = {
            "uint16": "A front end of kind micro yields int8 with a table [quantisation].",
            "int8": "Of float32 and uint8 inputs, --io int8 takes the integers behind.",
        }
        raise FrontEndError(
            f"{graph.source} takes {tensor.dtype}, the front end {hearing.source} yields {front_end.dtype}",
            remedies[front_end.dtype],
        )
    ours, theirs = _quantisation(front_end), (float(tensor.quant.scale[0]), int(tensor.quant.zero_point[0]))
    if abs(ours[0] - theirs[0]) > _TOLERANCE * theirs[0] or ours[1] != theirs[1]:
        raise FrontEndError(
            f"{graph.source} takes features of {_text(theirs)}, the front end {hearing.source} yields {_text(ours)}",
            "It was trained on other features: take its own front end (docs/audio.md says how they are described).",
        )


def _quantisation(front_end: FrontEnd) -> tuple[float, int]:
    assert front_end.scale is not None and front_end.zero_point is not None  # its features are int8
    return front_end.scale, front_end.zero_point


def _text(quantisation: tuple[float, int]) -> str:
    return f"scale {np.float32(quantisation[0])!s}, zero point {quantisation[1]}"


def _frames_in(shape: Shape, features: int, stream: Stream | None) -> int | None:
    """How many whole frames an input of this shape holds, one after the other; None: it does not."""
    if not shape or shape[0] != 1:
        return None
    axes = range(len(shape)) if stream is None else [stream.axis]
    for axis in axes:
        if math.prod(shape[:axis]) == 1 and math.prod(shape[axis + 1 :]) == features:
            return shape[axis]
    # Windows that were flattened before the model.
    flat = len(shape) == 2 and stream is None and shape[1] % features == 0
    return shape[1] // features if flat else None


def _new_frames(graph: Graph, stream: Stream | None, frames: int, hop: int | None) -> int:
    if stream is None and not graph.states:
        if hop is not None and hop > frames:
            raise UsageError(
                f"{graph.source}: a hop of {hop} frames would leave frames out: its window has {frames}",
                f"Choose --hop from 1 to {frames}.",
            )
        return hop or 1
    if hop is not None and hop != frames:
        raise UsageError(
            f"{graph.source} takes {frames} new frames at a time, not {hop}",
            f"Leave --hop out{'; --streaming HOP chooses' if stream is not None else ''}.",
        )
    return frames
