"""First values of a library's states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array, Graph
from tinygen.layer_text import Pointers
from tinygen.library.constants import Constant


@dataclass(frozen=True)
class Reset:
    """A state's first value: one for all elements, or a constant array, over and over."""

    memory: str
    first: int
    count: int
    value: int | float
    array: Constant | None

    @property
    def index(self) -> str:
        """Of the array's element for element i, in C."""
        assert self.array is not None
        return "i" if self.array.count == self.count else f"i % {self.array.count}"


def resets_of(graph: Graph, pointers: Pointers) -> list[Reset]:
    """Of each state of the graph, in its order."""
    found = []
    for index, state in enumerate(graph.states):
        repeated = _repeated(state.initial)
        array = None if repeated.size == 1 else Constant(f"initial_{index}", repeated)
        found.append(Reset(*pointers.element(state.read), state.initial.size, repeated.flat[0].item(), array))
    return found


def _repeated(array: Array) -> Array:
    """The shortest run of last dimensions that the array consists of: an element, a row, or all of it."""
    for rank in range(array.ndim + 1):  # at the latest, all of it is one run
        run = array.reshape(-1, math.prod(array.shape[array.ndim - rank :]))
        if (run == run[0]).all():
            break
    return np.asarray(run[0])
