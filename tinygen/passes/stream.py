"""From whole windows to frames: each invoke takes some new frames, and computes what only they bring.

Of every tensor that goes along with time only the new rows are computed. Earlier rows that an operator reads, too, are
kept in a state before them: joined, they are what it reads, and what is read the next time moves on within the same
memory. From where a tensor is made of the whole window, everything is computed as ever.

Before its first frame, a model is taken to have heard nothing but zeros: states begin with what the layers make of
them, so that the first output is that of a window that ends with the first frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import reference
from tinygen.errors import Problem, UnsupportedModel, UsageError
from tinygen.ir import Array, Graph, Tensor
from tinygen.options import Streaming
from tinygen.passes.remove_unused import remove_unused
from tinygen.streaming.in_frames import in_frames
from tinygen.streaming.timeline import Timeline, timeline


@dataclass(frozen=True, eq=False)
class Stream:
    """How a model that is computed frame by frame belongs to the one over whole windows."""

    window: Graph
    """The latter."""
    axis: int
    """Of its input: time."""
    frames: int
    """In a window."""
    hop: int
    """New ones in an invoke."""

    @property
    def window_macs(self) -> int:
        """Multiply-accumulates of a whole window."""
        return sum(self.window.macs(node) for node in self.window.nodes)

    @property
    def full_after(self) -> int:
        """Invokes after which a window holds nothing but given frames."""
        return -(-self.frames // self.hop)


def stream(graph: Graph, wish: Streaming) -> tuple[Graph, Stream]:
    """The graph that takes new frames only. Outputs that have rows have the new ones.

    Raises UsageError for a hop that cannot be, UnsupportedModel with every reason where the model cannot be streamed.
    """
    time = timeline(graph, wish.axis)
    rows = time.rows[graph.inputs[0]]
    hop = _hop(graph, time, rows.length, wish.hop)
    found = remove_unused(
        in_frames(graph, time, hop, reference.evaluate(graph, [zeros(graph.tensors[graph.inputs[0]])]))
    )
    _expect_gain(graph, found, time, hop)
    return found, Stream(graph, rows.axis, rows.length, hop)


def zeros(tensor: Tensor) -> Array:
    """What stands for zero in all elements."""
    quant = tensor.quant
    value = int(quant.zero_point[0]) if quant is not None and tensor.dtype.kind in "iu" else 0
    return np.full(tensor.shape, value, tensor.dtype)


def _hop(graph: Graph, time: Timeline, frames: int, wanted: int | None) -> int:
    least = time.least_hop
    hop = wanted or least
    if hop % least:
        raise UsageError(
            f"{graph.source}: its layers move along time by strides of {least} frames together, a hop of {hop} frames "
            "is no multiple of that",
            f"Choose --streaming {least}, or a multiple of it.",
        )
    if hop >= frames:
        raise UsageError(
            f"{graph.source}: a hop of {hop} frames leaves nothing of a window of {frames} frames",
            f"Choose --streaming {least}, or leave it out.",
        )
    return hop


def _expect_gain(whole: Graph, streamed: Graph, time: Timeline, hop: int) -> None:
    """Raises where nothing is carried from one window to the next but the frames themselves."""
    before, after = (sum(graph.macs(node) for node in graph.nodes) for graph in (whole, streamed))
    if after < before or not before:
        return
    node = next(node for node in whole.nodes if whole.macs(node))
    if node.outputs[0] in time.rows:
        raise UsageError(
            f"{whole.source}: {hop} new frames change all that the layers make of the window",
            f"Choose a shorter hop: --streaming {time.least_hop} is the shortest.",
        )
    raise UnsupportedModel(
        whole.source,
        [
            Problem(
                node.name,
                node.op.name,
                "it reads the whole window at once: there is nothing that the next window could share",
                "begin with layers that see a few frames at a time, convolutions with padding VALID",
            )
        ],
        "Build it without --streaming, for whole windows.",
    )
