"""What a library's source says of itself: totals, where what lies, and the calls of its layers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tinygen import c_text
from tinygen.interface import SharedArena
from tinygen.ir import Graph
from tinygen.layer_text import Pointers, call_text, shapes_text
from tinygen.layers import Layer
from tinygen.layout import Layout
from tinygen.memory import Slot, overlapping
from tinygen.ops.common import shape_text
from tinygen.passes.stream import Stream
from tinygen.select import Step


def contents(steps: Sequence[Step], layers: Sequence[Layer], pointers: Pointers) -> list[str]:
    """The statements of an inference; a comment for each step that has no code."""
    by_output = {layer.output.name: layer for layer in layers}
    lines = []
    for step in steps:
        layer = by_output.get(step.node.outputs[0])
        if layer is not None and layer.is_fed:
            continue
        if layer is not None:
            lines.append(call_text(layer, pointers))
        else:
            shapes = f"{shapes_text(step.site.inputs)} -> {shape_text(step.site.outputs[0].shape)}"
            lines.append(f"/* {step.node.op.name} {shapes}: the same bytes, no code */")
    return lines


def sharing_lines(shared: SharedArena, name: str) -> list[str]:
    """What an application must know of an arena that several models use."""
    text = (
        f"The arena is shared with {', '.join(shared.others(name))}: what one leaves there, inputs and outputs too, "
        "the next overwrites. Write the input, invoke, and read the output before it is another one's turn."
    )
    return textwrap.wrap(text, 112)


def summary(graph: Graph) -> str:
    """Types and shapes of inputs and outputs."""

    def ports(names: Sequence[str]) -> str:
        return ", ".join(f"{graph.tensors[name].dtype} {shape_text(graph.tensors[name].shape)}" for name in names)

    return f"{ports(graph.inputs)} -> {ports(graph.outputs)}"


def totals(graph: Graph, layers: Sequence[Layer], macs: int, const_bytes: int, stream: Stream | None) -> str:
    """Work and constants of an inference, and what was left out of the model."""
    text = f"{macs:,} MACs an inference, {len(layers)} layers, {const_bytes:,} bytes of constants."
    if stream is not None:
        text += f"\n * A whole window would take {stream.window_macs:,} MACs."
    gone = sum(len(removed.channels) for removed in graph.removed)
    return f"{text}\n * {gone:,} channels are proved to have no effect, and are not computed." if gone else text


def bound_text(layout: Layout) -> str:
    """How good the arena's size is."""
    plan, disjoint = layout.plan, layout.disjoint_bytes
    least = "the least for these kernels" if plan.bytes == plan.lower_bound else f"at least {plan.lower_bound:,}"
    return f"{least}; {disjoint:,} if nothing overlapped" if disjoint > plan.bytes else least


def rows(slots: Sequence[Slot]) -> list[str]:
    """A line for each tensor: offset, bytes, first and last layer, and what it lies over."""
    over: dict[str, list[str]] = {slot.buffer.name: [] for slot in slots}
    for earlier, later in overlapping(slots):
        over[later.buffer.name].append(c_text.tensor_text(earlier.buffer.name))
    rows = []
    for slot in slots:
        buffer = slot.buffer
        span = f"{buffer.first}-{buffer.last}"
        names = ", over ".join((c_text.tensor_text(buffer.name), *over[buffer.name]))
        rows.append(f"{slot.offset:>9,} {buffer.bytes:>9,} {span:>7}  {names}")
    return rows
