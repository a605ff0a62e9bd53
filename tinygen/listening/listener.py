"""The numpy reference from samples to results: the front end, the frames, and the model."""

from __future__ import annotations

import numpy as np

from tinygen import reference
from tinygen.audio import FrontEnd, Stream
from tinygen.ir import Array, Graph
from tinygen.listening.detector import NOTHING, Detecting, Detector
from tinygen.listening.frames import Frames
from tinygen.listening.heard import Heard


class Listener:
    """A model that hears through a front end; however its samples are cut, the results are the same."""

    def __init__(self, graph: Graph, front_end: FrontEnd, frames: Frames, detector: Detector | None = None) -> None:
        self._graph = graph
        self._frames = frames
        self._first = front_end.window + (frames.new - 1) * front_end.step
        self._step = frames.new * front_end.step
        self._stream = Stream(front_end)
        output = graph.tensors[graph.outputs[0]]
        zero_point = 0 if output.quant is None else int(output.quant.zero_point[0])
        self._detecting = None if detector is None else Detecting(detector, zero_point)
        self.reset()

    def reset(self) -> None:
        """Forget all samples, and what the model remembers."""
        self._stream.reset()
        self._states = reference.initial_states(self._graph)
        self._kept = np.full((self._frames.kept, self._frames.features), self._frames.zero_point, np.int8)
        self._pending = self._kept[:0]
        self._results = 0
        if self._detecting is not None:
            self._detecting.reset()

    def feed(self, samples: Array) -> list[Heard]:
        """Each result that is due with these samples, int16 (samples,)."""
        new = self._frames.new
        found = np.concatenate([self._pending, self._stream.feed(samples)])
        used = len(found) // new * new
        self._pending = found[used:]
        return [self._result(found[start : start + new]) for start in range(0, used, new)]

    def _result(self, new: Array) -> Heard:
        graph = self._graph
        window = np.concatenate([self._kept, new])
        self._kept = window[self._frames.new :]
        values = reference.evaluate(graph, [window.reshape(graph.tensors[graph.inputs[0]].shape)], self._states)
        self._states = reference.next_states(graph, values)
        word = NOTHING if self._detecting is None else self._detecting.take(values[graph.outputs[0]])
        after = self._first + self._results * self._step
        self._results += 1
        return Heard([values[name].tobytes() for name in graph.outputs], word, after)
