"""How much copies move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tinygen.ir import Graph, Op, Tensor
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.strided_copy import Loop, StridedCopy
from tinygen.ops.traits import Moving

_SCATTERED = 4
"""Loading and storing single elements takes about so many times the instructions of copying runs of them."""
_RUN = 4
"""From so many elements on, it is a run."""


class Moved(NamedTuple):
    """Work to be compared, and bytes."""

    work: int
    bytes: int

    def plus(self, other: Moved) -> Moved:
        """Both."""
        return Moved(self.work + other.work, self.bytes + other.bytes)


NOTHING = Moved(0, 0)


def moved(op: Op, output: Tensor) -> Moved:
    """What an operator copies; nothing where its output can lie in its input, or its inputs in its output."""
    if not isinstance(op, Moving) or (isinstance(op, Concatenation) and op.outer == 1):
        return NOTHING
    return moved_by(op.merged(), output) if isinstance(op, StridedCopy) else Moved(output.bytes, output.bytes)


def moved_by(loops: Sequence[Loop], output: Tensor) -> Moved:
    """What the fewest loops copy that there are for it."""
    if [loop.stride for loop in loops] == [1]:
        return NOTHING
    is_run = loops[-1].stride == 1 and loops[-1].trips >= _RUN
    return Moved(output.bytes * (1 if is_run else _SCATTERED), output.bytes)


def all_moved(graph: Graph) -> Moved:
    """What all operators of a graph copy in an invoke."""
    total = NOTHING
    for node in graph.nodes:
        total = total.plus(moved(node.op, graph.tensors[node.outputs[0]]))
    return total
