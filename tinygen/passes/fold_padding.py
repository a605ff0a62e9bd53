"""PAD that says to a window what the window would have said itself: it becomes the window's own padding.

A convolution counts what lies outside the image as its zero point, so that is what must have been padded with. MAX_POOL
leaves it out, so it must have been a value that nothing in the image is below. Other readers of the PAD keep it.
"""

from __future__ import annotations

import dataclasses

from tinygen.ir import Graph, Node
from tinygen.ops.convolution import Convolution
from tinygen.ops.pad import Pad
from tinygen.ops.pool_2d import MaxPool2D
from tinygen.ops.window import Axis, Window
from tinygen.passes.remove_unused import remove_unused
from tinygen.range_analysis import tensor_intervals


def fold_padding(graph: Graph) -> Graph:
    """Widen the windows; PAD operators that nobody reads any more are dropped."""
    pads = {node.outputs[0]: node for node in graph.nodes if isinstance(node.op, Pad)}
    lowest = {name: int(interval.low.min()) for name, interval in tensor_intervals(graph).items()} if pads else {}
    nodes = tuple(
        _widened(graph, node, pads[node.inputs[0]], lowest.get(pads[node.inputs[0]].inputs[0])) or node
        if node.inputs and node.inputs[0] in pads
        else node
        for node in graph.nodes
    )
    return remove_unused(dataclasses.replace(graph, nodes=nodes))


def _widened(graph: Graph, node: Node, padding: Node, lowest: int | None) -> Node | None:
    """The node that reads what was padded, whose least value is `lowest`; None where that is another result."""
    op, pad = node.op, padding.op
    assert isinstance(pad, Pad)
    image = graph.tensors[padding.inputs[0]]
    if not isinstance(op, Convolution | MaxPool2D) or not _is_the_same(op, pad, lowest):
        return None
    if len(image.shape) != 4 or any((pad.before[0], pad.after[0], pad.before[3], pad.after[3])):
        return None
    axes = [
        dataclasses.replace(axis, before=axis.before + pad.before[dim], after=axis.after + pad.after[dim])
        for dim, axis in ((1, op.window.rows), (2, op.window.columns))
    ]
    if not all(_meets(axis, size) for axis, size in zip(axes, image.shape[1:3], strict=True)):
        return None
    inputs = (image.name, *node.inputs[1:])
    return dataclasses.replace(node, op=dataclasses.replace(op, window=Window(*axes)), inputs=inputs)


def _is_the_same(op: Convolution | MaxPool2D, pad: Pad, lowest: int | None) -> bool:
    """Whether the padding's value counts as what is outside of the image."""
    return pad.value == op.zero_point if isinstance(op, Convolution) else lowest is not None and pad.value <= lowest


def _meets(axis: Axis, size: int) -> bool:
    """Whether no window lies wholly outside of the image: kernels need not be made for that."""
    return bool(axis.tap_sets(size).any(axis=1).all())
