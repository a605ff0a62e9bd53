"""What lies where in static memory, and when: the memory plan in the terms of the network's layers, for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import NamedTuple

from tinygen.alias import Life, lives
from tinygen.ir import Graph, Node, Tensor
from tinygen.ops.common import shape_text
from tinygen.ops.row_group import RowGroup
from tinygen.ops.row_pool import unrolled
from tinygen.plan import Plan
from tinygen.select import Step


class Moments(NamedTuple):
    """Moments from the first to the last, both included.

    Layer i, of n that leave code, runs in moment 2i + 1. In moment 2i what is alive waits for it, and in moment 2n
    the application reads the outputs.
    """

    first: int
    last: int

    def meets(self, other: Moments) -> bool:
        """Whether there is a moment of both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Block:
    """Bytes of static memory with one content: `offset` counts from the start of the arena, or of the states."""

    name: str
    """Of the tensor; of memory that a layer wants for itself, of the layer's node."""
    role: str
    """One of ROLES."""
    shape: str
    """In words: "25x5x64"; empty for what is no tensor."""
    dtype: str
    offset: int
    bytes: int
    alive: Moments

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.offset + self.bytes


ROLES = ("input", "activation", "output", "scratch", "rows", "state", "front end")
"""Of "rows" are the line buffers of layers that are computed together, and what these want for themselves. What belongs
to a front end lies behind the states.
"""

KEPT = ("state", "front end")
"""What is kept between invocations."""


class Shared(NamedTuple):
    """Bytes that two blocks of different content share while a layer runs: it reads them before it overwrites them."""

    moment: int
    start: int
    end: int
    older: Block
    newer: Block


@dataclass(frozen=True)
class Inner:
    """Bytes within a block of the role "rows", in use for some of the group's parts."""

    layer: int
    first: int
    """The first of the parts, by index, and the last one."""
    last: int
    rows: int
    """Of the tensor, in a line buffer; 0 of scratch memory."""
    block: Block


@dataclass(frozen=True)
class LayerMemory:
    """What the arena holds while a layer runs."""

    operator: str
    """As people call it: "depthwise conv"."""
    output: str
    """Its first output's shape: "25x5x64"."""
    attributes: str
    """The operator's, in a few words."""
    node: str
    kernel: str
    blocks: tuple[Block, ...]
    """The largest first."""
    used: int
    """Bytes that belong to one of them, or to two."""
    parts: tuple[str, ...] = ()
    """Of layers that are computed together: each one's operator and output, "conv 25x5x64"."""

    @property
    def live(self) -> int:
        """Bytes of all of them."""
        return sum(block.bytes for block in self.blocks)


@dataclass(frozen=True)
class MemoryMap:
    """The static memory of a library: blocks, and the layers that leave code."""

    layers: tuple[LayerMemory, ...]
    blocks: tuple[Block, ...]
    shared: tuple[Shared, ...]
    peak: int | None
    """The layer that sets the arena's size; None where there are no layers."""
    arena_bytes: int
    scratch_bytes: int
    """Of what layers want for themselves, where that lies apart from the arena: it is drawn above that."""
    state_bytes: int
    lower_bound: int
    """What no plan of the arena with these kernels can go below."""
    disjoint_bytes: int
    """What the arena takes where no two blocks share bytes."""
    inner: tuple[Inner, ...] = ()
    front_end_bytes: int = 0
    """Of what takes samples, which is kept like the states."""

    @property
    def kept_bytes(self) -> int:
        """Of what never changes places: below the arena, where it is drawn."""
        return self.state_bytes + self.front_end_bytes

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.arena_bytes + self.scratch_bytes + self.kept_bytes


def with_front_end(drawn: MemoryMap, ram: Mapping[str, int]) -> MemoryMap:
    """The memory with that of a front end, in bytes by what they are for."""
    ends = [*accumulate(ram.values(), initial=drawn.state_bytes)]
    always = Moments(0, 2 * len(drawn.layers))
    blocks = [
        Block(name, "front end", "", "", start, size, always)
        for (name, size), start in zip(ram.items(), ends, strict=False)
    ]
    return dataclasses.replace(drawn, blocks=(*drawn.blocks, *blocks), front_end_bytes=sum(ram.values()))


def memory_map(graph: Graph, chosen: Plan) -> MemoryMap:
    """The plan's memory over the layers that leave code."""
    coded = _coded(chosen)
    tensors = _tensors(graph, chosen, coded)
    plan = chosen.layout.plan
    scratch = [
        Block(step.node.name, "rows" if step.chosen.parts else "scratch", "", "", offset, step.scratch, Moments(at, at))
        for index, step in enumerate(chosen.steps)
        if index in chosen.layout.scratch
        for offset in [chosen.layout.scratch[index].offset + (plan.bytes if chosen.layout.scratch_bytes else 0)]
        for at in [_while(coded, index)]
    ]
    states = [
        Block(
            slot.buffer.name,
            "state",
            shape_text(graph.tensors[slot.buffer.name].shape),
            str(graph.tensors[slot.buffer.name].dtype),
            slot.offset,
            slot.buffer.bytes,
            Moments(0, 2 * sum(coded)),
        )
        for slot in chosen.layout.states
    ]
    arena = [block for block, _ in tensors] + scratch
    layers = []
    for index, step in enumerate(chosen.steps):
        if coded[index]:
            at = Moments(_while(coded, index), _while(coded, index))
            alive = _outermost(tensors, at) + [block for block in scratch if block.alive.meets(at)]
            alive.sort(key=lambda block: (-block.bytes, block.alive, block.offset))
            layers.append(
                LayerMemory(
                    operator=_operator(step.node),
                    output=shape_text(step.site.outputs[0].shape),
                    attributes=step.node.op.describe(),
                    node=step.node.name,
                    kernel=step.kernel.name,
                    blocks=tuple(alive),
                    used=covered((block.offset, block.end) for block in alive),
                    parts=tuple(_part_text(step.node, part.step.node) for part in step.chosen.parts),
                )
            )
    return MemoryMap(
        layers=tuple(layers),
        blocks=(*sorted(arena, key=lambda block: (block.alive, block.offset, block.name)), *states),
        shared=tuple(_shared([*tensors, *((block, f"scratch of {block.name}") for block in scratch)])),
        peak=min(sum(coded[: plan.peak_step]), len(layers) - 1) if layers else None,
        arena_bytes=plan.bytes,
        scratch_bytes=chosen.layout.scratch_bytes,
        state_bytes=chosen.layout.state_bytes,
        lower_bound=plan.lower_bound,
        disjoint_bytes=chosen.layout.disjoint_bytes,
        inner=tuple(
            inner
            for index, block in zip(sorted(chosen.layout.scratch), scratch, strict=True)
            if block.role == "rows"
            for inner in _inner(block, chosen.steps[index])
        ),
    )


def _operator(node: Node) -> str:
    """As people call it; of a group, the first one and the last."""
    if isinstance(node.op, RowGroup):
        names = [_operator(inner) for inner in node.op.graph.nodes]
        return f"{names[0]} … {names[-1]} by rows"
    return node.op.name.lower().replace("_2d", "").replace("_", " ")


def _part_text(group: Node, part: Node) -> str:
    """A part's operator and all of its output."""
    return f"{_operator(part)} {shape_text(_whole(group, part.outputs[0]).shape)}"


def _whole(group: Node, name: str) -> Tensor:
    """A tensor of a group, with all of its rows."""
    assert isinstance(group.op, RowGroup)
    return unrolled(group.op.graph).tensors[name]


def _inner(block: Block, step: Step) -> Iterator[Inner]:
    """The line buffers of a group, and what its parts want for themselves, in its block."""
    layer = block.alive.first // 2
    for line in step.chosen.lines:
        tensor = _whole(step.node, line.tensor)
        shape, dtype = shape_text(tensor.shape), str(tensor.dtype)
        rows = Block(line.tensor, "rows", shape, dtype, block.offset + line.offset, line.bytes, block.alive)
        yield Inner(layer, line.first, line.last, line.rows, rows)
    for index, part in enumerate(step.chosen.parts):
        if part.step.scratch:
            offset = block.offset + part.scratch
            own = Block(part.step.node.name, "scratch", "", "", offset, part.step.scratch, block.alive)
            yield Inner(layer, index, index, 0, own)


def _coded(chosen: Plan) -> list[bool]:
    """For each step, whether it leaves code; of the others, all inputs lie where the output wants them."""
    return [len(chosen.layout.aliased[i]) < len(step.site.inputs) for i, step in enumerate(chosen.steps)]


def _while(coded: Sequence[bool], index: int) -> int:
    """The moment of a step: while its layer runs, or, where it leaves no code, before the next one does."""
    return 2 * sum(coded[: max(index, 0)]) + (0 <= index < len(coded) and coded[index])


_Valued = tuple[Block, str]
"""A block, and which of the contents it shows: parts and wholes of one content may share bytes at any time."""


def _tensors(graph: Graph, chosen: Plan, coded: Sequence[bool]) -> list[_Valued]:
    """A block for each tensor in the arena; tensors that are the same bytes are one block, the first one's."""
    values = _values(graph, chosen)
    same: dict[tuple[str, int, int], list[str]] = {}
    life = lives(graph, chosen.steps)
    for name in sorted(life, key=lambda name: life[name].first):
        place = chosen.layout.places[name]
        if place.memory == "arena":
            same.setdefault((values[name], place.offset, graph.tensors[name].bytes), []).append(name)
    found = [
        (_block(graph, names, offset, _moments([life[name] for name in names], coded)), value)
        for (value, offset, _), names in same.items()
    ]
    return [(_until_taken_over(block, value, found), value) for block, value in found]


def _block(graph: Graph, names: Sequence[str], offset: int, alive: Moments) -> Block:
    tensor = graph.tensors[names[0]]
    ports = {"input": graph.inputs, "output": graph.outputs}
    role = next((role for role, port in ports.items() if not set(port).isdisjoint(names)), "activation")
    return Block(tensor.name, role, shape_text(tensor.shape), str(tensor.dtype), offset, tensor.bytes, alive)


def _moments(lives: Sequence[Life], coded: Sequence[bool]) -> Moments:
    return Moments(
        _while(coded, min(life.first for life in lives)),
        _while(coded, max(life.last for life in lives)),
    )


def _until_taken_over(block: Block, value: str, others: Iterable[_Valued]) -> Block:
    """A part is shown until the whole is there, and a whole until its parts are, where nobody reads it later."""
    for other, shown in others:
        takes_over = other.alive.first == block.alive.last > block.alive.first
        if shown == value and takes_over and other.offset < block.end and block.offset < other.end:
            return dataclasses.replace(block, alive=Moments(block.alive.first, block.alive.last - 1))
    return block


def _values(graph: Graph, chosen: Plan) -> Mapping[str, str]:
    """For each tensor that is no constant the one whose content it shows all or a part of, or is a part of."""
    value = {name: name for name in chosen.layout.places}
    for index, operands in chosen.layout.aliased.items():
        node = chosen.steps[index].node
        for operand in operands:
            old, new = value[node.inputs[operand]], value[node.outputs[0]]
            value = {name: new if shown == old else shown for name, shown in value.items()}
    return value


def _outermost(tensors: Sequence[_Valued], at: Moments) -> list[Block]:
    """The blocks that are alive, without those inside of another one of the same content."""
    alive = [(block, value) for block, value in tensors if block.alive.meets(at)]
    return [
        block
        for block, value in alive
        if not any(
            value == other_value and block != other and other.offset <= block.offset and block.end <= other.end
            for other, other_value in alive
        )
    ]


def _shared(tensors: Sequence[_Valued]) -> Iterable[Shared]:
    for (a, of_a), (b, of_b) in combinations(sorted(tensors, key=lambda valued: valued[0].alive), 2):
        start, end = max(a.offset, b.offset), min(a.end, b.end)
        if of_a != of_b and start < end:
            first, last = max(a.alive.first, b.alive.first), min(a.alive.last, b.alive.last)
            for moment in range(first, last + 1):
                yield Shared(moment, start, end, a, b)


def covered(ranges: Iterable[tuple[int, int]]) -> int:
    """Bytes that lie in at least one of the ranges, which are (first byte, the one after the last)."""
    total, reached = 0, 0
    for start, end in sorted(ranges):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total
