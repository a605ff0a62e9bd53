"""What layers may touch, and in which order: the emulator watches every load and store (tinygen/counting).

They may touch their own tensors, constants, scratch memory and the stack, and not a byte more: reading a byte too much
shows, which no comparison of results would. And a kernel that says how its output may overlap an input (see
`Kernel.overlaps`) must have read each byte of it before one is written that may lie there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from building import Built

from tinygen import elf
from tinygen.access import Spacing
from tinygen.counting.record import ALL_SPANS, OUTSIDE_OF_PARTS, Allowance, Pair
from tinygen.fit import room
from tinygen.goal import Goal
from tinygen.layers import Layer, layers_of
from tinygen.layout import Layout, Place
from tinygen.plan import Plan, plan
from tinygen.target import load_board, load_core


@dataclass(frozen=True)
class Expected:
    """What layers may touch, and what their kernels say of how inputs and outputs, which lie apart, may overlap."""

    allowed: tuple[Allowance, ...]
    pairs: tuple[Pair, ...] = ()
    declared: tuple[Spacing, ...] = ()
    """For each pair."""


def expected(image: elf.Image, built: Built) -> Expected:
    """What is expected of each layer of a model that was built without overlaps."""
    core = load_core(built.manifest.core)
    goal = Goal(built.manifest.optimize, prefer=built.prefer, overlap=False)
    return allowed_by(image, built, plan(built.model.graph, core, goal, room(load_board(built.manifest.board))))


def allowed_by(image: elf.Image, built: Built, chosen: Plan) -> Expected:
    """The same, given the plan that it was built by."""
    layers = layers_of(chosen.steps, chosen.layout, built.manifest.name)
    assert [layer.step.kernel.name for layer in layers] == [layer.kernel for layer in built.manifest.layers]
    stack = image.symbol("linker_bss_end").address, image.symbol("linker_stack_top").address
    allowed = (
        Allowance(OUTSIDE_OF_PARTS, 0, 2**32, "rw"),
        Allowance(ALL_SPANS, *stack, "rw"),
        *code_and_constants(image, layers),
        *(allowance for layer in layers for allowance in own_memory(image, layer, chosen.layout)),
        *fed_row(image, built),
    )
    found = [pair for layer in layers for pair in pairs(image, layer, chosen.layout)]
    return Expected(allowed, tuple(pair for pair, _ in found), tuple(declared for _, declared in found))


WIDEST_PADDING = 15
"""Bytes between two symbols that only align the second. Wider ones are a compiler's tables, which have no name."""


def code_and_constants(image: elf.Image, layers: list[Layer]) -> Iterator[Allowance]:
    """Functions, which hold literals, objects in flash, and tables without a name: layers have constants of their own.

    The software floats of a Cortex-M0 jump by such tables.
    """
    end = image.symbol("linker_data_load").address
    named = [
        (s.address, s.address + s.bytes, s)
        for s in sorted(image.symbols, key=lambda s: s.address)
        if s.kind and s.address + s.bytes <= end
    ]
    for start, stop, symbol in named:
        owners = owners_of(image, symbol, layers) if symbol.kind == "object" else []
        for owner in owners or [ALL_SPANS]:
            yield Allowance(owner, start, stop, "r")
    for (_, before), (after, _) in pairwise([*((start, stop) for start, stop, _ in named), (end, end)]):
        if after - before > WIDEST_PADDING:
            yield Allowance(ALL_SPANS, before, after, "r")


def owners_of(image: elf.Image, constant: elf.Symbol, layers: list[Layer]) -> list[int]:
    """Whose constant it is: several layers' where the compiler made one of functions that are alike."""
    addresses = {layer.index: image.symbol(layer.symbol).address for layer in layers}
    shared = {addresses[layer.index] for layer in layers if constant.name.startswith(f"{layer.id}_")}
    return [index for index, address in addresses.items() if address in shared]


def own_memory(image: elf.Image, layer: Layer, layout: Layout) -> Iterator[Allowance]:
    """A layer's tensors and scratch memory.

    Assembly may not read what it writes: it would not show that it reads beyond an input which lies before its output.
    """

    def at(place: Place, size: int, access: str) -> Allowance:
        addresses = addresses_of(image, place, size)
        return Allowance(layer.index, addresses.start, addresses.stop, access)

    site, kernel = layer.step.site, layer.step.kernel
    for _, index in layer.operands:
        tensor = site.inputs[index]
        if tensor.data is None and layout.places[tensor.name].memory in MEMORIES:
            access = "rw" if index in kernel.in_place.values() else "r"
            yield at(layout.places[tensor.name], tensor.bytes, access)
    for _, tensor in layer.results:
        yield at(layout.places[tensor.name], tensor.bytes, "w" if kernel.assembly else "rw")
    if layer.scratch is not None:
        yield at(layer.scratch, layer.step.scratch, "rw")


MEMORIES = ("arena", "state")
"""Of the library."""


def fed_row(image: elf.Image, built: Built) -> Iterator[Allowance]:
    """The runner's memory for a row of the input, which the first layer reads."""
    size = built.manifest.inputs[0].row_bytes
    if size is not None:
        address = image.symbol(f"{built.manifest.name}_in_0").address
        yield Allowance(0, address, address + size, "r")


def addresses_of(image: elf.Image, place: Place, size: int) -> range:
    """Of the bytes at a place in static memory."""
    address = image.symbol(place.memory).address + place.offset
    return range(address, address + size)


def pairs(image: elf.Image, layer: Layer, layout: Layout) -> Iterator[tuple[Pair, Spacing]]:
    """A layer's inputs, each with the only output, and how the two may overlap; and those with its scratch memory."""
    yield from scratch_pairs(image, layer, layout)
    site, kernel = layer.step.site, layer.step.kernel
    operands = [index for _, index in layer.operands if index not in kernel.in_place.values()]
    for name in {site.inputs[index].name for index in operands}:
        same = [index for index in operands if site.inputs[index].name == name]
        tensor = site.inputs[same[0]]
        if tensor.data is not None or len(site.outputs) > 1 or layout.places[name].memory not in MEMORIES:
            continue
        x, y = (addresses_of(image, layout.places[each.name], each.bytes) for each in (tensor, layer.output))
        if x.start >= y.stop or y.start >= x.stop:
            yield Pair(layer.index, x, y), declared_of(layer, same)


def scratch_pairs(image: elf.Image, layer: Layer, layout: Layout) -> Iterator[tuple[Pair, Spacing]]:
    """A layer's scratch memory with the inputs, and with the output, that it may overlap."""
    declared = layer.step.kernel.scratch_overlaps(layer.step.site)
    if layer.scratch is None:
        return
    scratch = addresses_of(image, layer.scratch, layer.step.scratch)
    for operand, spacing in declared.inputs.items():
        x = layer.step.site.inputs[operand]
        yield Pair(layer.index, addresses_of(image, layout.places[x.name], x.bytes), scratch), spacing
    if declared.output is not None:
        y = addresses_of(image, layout.places[layer.output.name], layer.output.bytes)
        yield Pair(layer.index, scratch, y), declared.output


def declared_of(layer: Layer, operands: Sequence[int]) -> Spacing:
    """How a tensor may overlap the output that is all these inputs: for each of them it must be allowed."""
    site, kernel = layer.step.site, layer.step.kernel
    apart = Spacing(layer.output.bytes, site.inputs[operands[0]].bytes)
    overlaps = kernel.overlaps(site)
    each = [overlaps.get(index, apart) for index in operands]
    if kernel.moves_down(site):
        each = [spacing._replace(input_above=min(spacing.input_above, 0)) for spacing in each]
    return Spacing(
        max(spacing.input_above for spacing in each),
        max(spacing.output_above for spacing in each),
        all(spacing.in_place for spacing in each),
    )


def too_near(expected: Expected, found: Sequence[Spacing]) -> list[str]:
    """Where a kernel says that an output may be nearer to its input than it may, in words."""
    return [
        f"layer {pair.span} says {declared}, the truth is {true}"
        for pair, declared, true in zip(expected.pairs, expected.declared, found, strict=True)
        if declared.input_above < true.input_above or declared.output_above < true.output_above
    ]


def reads_the_overwritten(expected: Expected, found: Sequence[Spacing]) -> bool:
    """Whether a kernel that may write its output over an input would read bytes of it that it has overwritten.

    That may be right: of a word some channels are not used. Only results can tell.
    """
    pairs = zip(expected.declared, found, strict=True)
    return any(declared.in_place and not true.in_place for declared, true in pairs)
