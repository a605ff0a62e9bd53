"""SPACE_TO_BATCH_ND, convolution, BATCH_TO_SPACE_ND: together one dilated convolution.

Of each phase of the image, the convolution makes one phase of the result. Taps that are neighbours in a phase are a
block apart in the image, so that the same filter over the whole image, dilated by the block, gives all phases at once,
without moving any of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from tinygen.errors import Problem, UnsupportedModel
from tinygen.ir import Graph, Node
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.space_to_batch import BatchToSpace, SpaceToBatch
from tinygen.ops.window import Axis, Window


class _Chain(NamedTuple):
    """The three nodes; nothing else reads what they hand on."""

    split: Node
    convolution: Node
    join: Node


def fuse_dilation(graph: Graph) -> Graph:
    """Replace each such chain by its convolution, dilated; paddings and crops become the window's paddings.

    Only where that is exact: the convolution neither strides nor pads, no more is cropped from a side than was padded
    there, and what is left of the padding is the zero point (a window counts what lies outside as zero).

    Raises UnsupportedModel where a phase stays padded with what is not the zero point.
    """
    dilated: dict[Node, Node] = {}
    gone: set[Node] = set()
    for chain in _chains(graph):
        node = _dilated(chain)
        if node is not None:
            dilated[chain.convolution] = node
            gone.update((chain.split, chain.join))
    nodes = tuple(dilated.get(node, node) for node in graph.nodes if node not in gone)
    problems = [_problem(node, node.op) for node in nodes if isinstance(node.op, SpaceToBatch)]
    if any(problems):
        raise UnsupportedModel(graph.source, [problem for problem in problems if problem])
    return dataclasses.replace(graph, nodes=nodes)


def _problem(node: Node, op: SpaceToBatch) -> Problem | None:
    if not op.pads_with_another_value:
        return None
    return Problem(
        node.name,
        op.name,
        f"it pads, and the zero point is {op.zero_point}: the runtime pads with {op.value}, which is another value",
        "pad by PAD before it, or convert with a current converter, which makes one dilated convolution of it",
    )


def _chains(graph: Graph) -> Iterator[_Chain]:
    readers: dict[str, list[Node]] = {name: [] for name in graph.tensors}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)

    def only_reader(node: Node) -> Node | None:
        (written,) = node.outputs
        found = readers[written]
        # What reads it twice, or as its filter, is no link of a chain.
        is_link = len(found) == 1 and found[0].inputs[0] == written and written not in graph.outputs
        return found[0] if is_link else None

    for node in graph.nodes:
        if isinstance(node.op, SpaceToBatch) and len(graph.tensors[node.outputs[0]].shape) == 4:
            convolution = only_reader(node)
            if convolution is not None and isinstance(convolution.op, Conv2D | DepthwiseConv2D):
                join = only_reader(convolution)
                if join is not None and isinstance(join.op, BatchToSpace):
                    yield _Chain(node, convolution, join)


def _dilated(chain: _Chain) -> Node | None:
    """The convolution over the whole image, None where there is none that gives the same."""
    split, convolution, join = chain.split.op, chain.convolution.op, chain.join.op
    assert isinstance(split, SpaceToBatch) and isinstance(join, BatchToSpace)
    assert isinstance(convolution, Conv2D | DepthwiseConv2D)
    if split.block != join.block:
        return None
    rows = _axis(convolution.window.rows, split.block[0], split.rows, join.rows)
    columns = _axis(convolution.window.columns, split.block[1], split.columns, join.columns)
    if rows is None or columns is None:
        return None
    is_padded = any((rows.before, rows.after, columns.before, columns.after))
    if is_padded and split.value != convolution.zero_point:
        return None
    op = dataclasses.replace(convolution, window=Window(rows, columns))
    inputs = (*chain.split.inputs, *chain.convolution.inputs[1:])
    return Node(chain.convolution.name, op, inputs, chain.join.outputs)


def _axis(axis: Axis, block: int, padding: tuple[int, int], crop: tuple[int, int]) -> Axis | None:
    before, after = padding[0] - crop[0], padding[1] - crop[1]
    if axis.stride != 1 or axis.before or axis.after or min(before, after) < 0:
        return None
    return Axis(axis.taps, 1, axis.dilation * block, before, after)
