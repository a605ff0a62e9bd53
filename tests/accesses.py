"""What layers may touch: their own tensors, constants, scratch memory and the stack, and not a byte more.

The emulator watches every load and store (tinygen/counting), so that reading a byte too much shows, too, which no
comparison of results would.
"""

from __future__ import annotations

from collections.abc import Iterator

from building import Built

from tinygen import elf
from tinygen.counting.record import ALL_SPANS, OUTSIDE_OF_PARTS, Allowance
from tinygen.fit import room
from tinygen.goal import Goal
from tinygen.layers import Layer, layers_of
from tinygen.layout import Layout, Place
from tinygen.plan import plan
from tinygen.target import load_board, load_core


def allowed(image: elf.Image, built: Built) -> tuple[Allowance, ...]:
    """What each layer of a built model may touch."""
    kernels = [layer.kernel for layer in built.manifest.layers]
    core, goal = load_core(built.manifest.core), Goal(built.manifest.optimize, prefer=frozenset(kernels))
    chosen = plan(built.model.graph, core, goal, room(load_board(built.manifest.board)))
    layers = layers_of(chosen.steps, chosen.layout, built.manifest.name)
    assert [layer.step.kernel.name for layer in layers] == kernels
    stack = image.symbol("linker_bss_end").address, image.symbol("linker_stack_top").address
    return (
        Allowance(OUTSIDE_OF_PARTS, 0, 2**32, "rw"),
        Allowance(ALL_SPANS, *stack, "rw"),
        *code_and_constants(image, layers),
        *(allowance for layer in layers for allowance in own_memory(image, layer, chosen.layout)),
    )


def code_and_constants(image: elf.Image, layers: list[Layer]) -> Iterator[Allowance]:
    """Functions, which hold literals, and objects in flash: a layer's constants are for it alone."""
    end = image.symbol("linker_data_load").address
    for symbol in image.symbols:
        if symbol.kind and symbol.address + symbol.bytes <= end:
            owners = (layer.index for layer in layers if symbol.name.startswith(f"{layer.id}_"))
            owner = next(owners, ALL_SPANS) if symbol.kind == "object" else ALL_SPANS
            yield Allowance(owner, symbol.address, symbol.address + symbol.bytes, "r")


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
