"""A detector for a particular model and front end."""

from __future__ import annotations

import math

from tinygen.audio import FrontEnd
from tinygen.errors import UsageError
from tinygen.ir import Graph
from tinygen.listening.detector import Detector, DetectorWish, Word
from tinygen.listening.frames import Frames

_MOST_WORDS = 255  # the protocol counts them in a byte


def detector_for(graph: Graph, front_end: FrontEnd, frames: Frames, wish: DetectorWish) -> Detector:
    """Thresholds as sums of the output's integers, the pause in results. Raises UsageError where that cannot be."""
    tensor = graph.tensors[graph.outputs[0]]
    where = f"{wish.source}: " if wish.source else ""
    if tensor.quant is None or tensor.dtype.kind not in "iu":
        raise UsageError(
            f"{graph.source} yields {tensor.dtype}, and a detector takes quantised results",
            "With --io int8, it yields the integers behind.",
        )
    if len(wish.labels) != tensor.elements:
        raise UsageError(
            f"{where}{len(wish.labels)} labels ({', '.join(name or '-' for name in wish.labels)}) for the "
            f"{tensor.elements} elements of {graph.source}'s output",
            "Name each one, with --labels; - for those that are no words.",
        )
    if wish.frame_ms not in (None, front_end.step_ms):
        raise UsageError(
            f"{where}the model was trained on a frame every {wish.frame_ms} ms, this front end has one every "
            f"{front_end.step_ms} ms",
            "Choose another --frontend: micro for 10 ms, micro-20ms for 20 ms.",
        )
    scale = float(str(tensor.quant.scale[0]))
    words = tuple(
        Word(label, output, _sum(threshold, scale, wish))
        for output, (label, threshold) in enumerate(zip(wish.labels, wish.thresholds, strict=True))
        if label
    )
    if len(words) > _MOST_WORDS:
        raise UsageError(f"{where}{len(words)} words; the most are {_MOST_WORDS}", "Leave some out: -.")
    step = frames.new * front_end.step
    return Detector(words, wish.window, math.ceil(wish.pause_ms * front_end.sample_rate / (1000 * step)))


def _sum(threshold: float, scale: float, wish: DetectorWish) -> int:
    """What the sum of a window's outputs has to exceed."""
    if wish.levels is not None:
        return int(threshold * wish.levels) * wish.window
    return math.floor(threshold / scale * wish.window)
