"""What layers may touch: their own tensors, constants, scratch memory and the stack, and not a byte more.

The emulator watches every load and store (tinygen/counting), so that reading a byte too much shows, too, which no
comparison of results would.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from building import Built

from tinygen import elf
from tinygen.counting.record import ALL_SPANS, OUTSIDE_OF_PARTS, Allowance
from tinygen.fit import room
from tinygen.goal import Goal
from tinygen.layers import Layer, layers_of
from tinygen.layout import Layout, Place
from tinygen.plan import Plan, plan
from tinygen.target import load_board, load_core


def allowed(image: elf.Image, built: Built) -> tuple[Allowance, ...]:
    """What each layer of a built model may touch."""
    kernels = [layer.kernel for layer in built.manifest.layers]
    core, goal = load_core(built.manifest.core), Goal(built.manifest.optimize, prefer=frozenset(kernels))
    return allowed_by(image, built, plan(built.model.graph, core, goal, room(load_board(built.manifest.board))))


def allowed_by(image: elf.Image, built: Built, chosen: Plan) -> tuple[Allowance, ...]:
    """The same, given the plan that it was built by."""
    layers = layers_of(chosen.steps, chosen.layout, built.manifest.name)
    assert [layer.step.kernel.name for layer in layers] == [layer.kernel for layer in built.manifest.layers]
    stack = image.symbol("linker_bss_end").address, image.symbol("linker_stack_top").address
    return (
        Allowance(OUTSIDE_OF_PARTS, 0, 2**32, "rw"),
        Allowance(ALL_SPANS, *stack, "rw"),
        *code_and_constants(image, layers),
        *(allowance for layer in layers for allowance in own_memory(image, layer, chosen.layout)),
    )


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
        owners = (layer.index for layer in layers if symbol.name.startswith(f"{layer.id}_"))
        yield Allowance(next(owners, ALL_SPANS) if symbol.kind == "object" else ALL_SPANS, start, stop, "r")
    for (_, before), (after, _) in pairwise([*((start, stop) for start, stop, _ in named), (end, end)]):
        if after - before > WIDEST_PADDING:
            yield Allowance(ALL_SPANS, before, after, "r")


def own_memory(image: elf.Image, layer: Layer, layout: Layout) -> Iterator[Allowance]:
    """A layer's tensors and scratch memory.

    Assembly may not read what it writes: it would not show that it reads beyond an input which lies before its output.
    """

    def at(place: Place, size: int, access: str) -> Allowance:
        address = image.symbol(place.memory).address + place.offset
        return Allowance(layer.index, address, address + size, access)

    site, kernel = layer.step.site, layer.step.kernel
    for _, index in layer.operands:
        tensor = site.inputs[index]
        if tensor.data is None:
            access = "rw" if index in kernel.in_place.values() else "r"
            yield at(layout.places[tensor.name], tensor.bytes, access)
    for _, tensor in layer.results:
        yield at(layout.places[tensor.name], tensor.bytes, "w" if kernel.assembly else "rw")
    if layer.scratch is not None:
        yield at(layer.scratch, layer.step.scratch, "rw")
