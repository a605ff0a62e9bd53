"""The C of one layer: its function with a comment, and the statement that calls it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen import c_text
from tinygen.c_text import C_TYPES
from tinygen.dialect import Dialect
from tinygen.emit import render
from tinygen.interface import Interface
from tinygen.ir import Graph, Tensor
from tinygen.layers import Function, Layer
from tinygen.layout import Layout, Place
from tinygen.ops.common import shape_text
from tinygen.select import Step

_ARRAYS = {"arena": "arena", "state": "state", "scratch": "layer_scratch"}
"""C names of static memory. Functions have variables called scratch."""

_MEMBERS = {"int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "float32": "f32"}


class Pointers:
    """C expressions for what lies in memory; an arena of others is reached by its address.

    Inputs and outputs of the application's memory are variables of their own: a row that it feeds, a parameter.
    """

    def __init__(self, graph: Graph, layout: Layout, interface: Interface) -> None:
        self._graph = graph
        self._layout = layout
        self._interface = interface
        self._arrow = "->" if interface.is_external or interface.shared else "."

    def of(self, name: str) -> str:
        """A pointer to a tensor's first element."""
        array, index = self.element(name)
        return array if index == 0 and self._layout.places[name].memory not in _ARRAYS else f"{array} + {index}"

    def public(self, name: str) -> str:
        """The same for the application: null while an external arena has not been given."""
        return f"arena ? {self.of(name)} : 0" if self._interface.is_external else self.of(name)

    def element(self, name: str) -> tuple[str, int]:
        """The array that a tensor lies in, and the index of its first element."""
        dtype = self._graph.tensors[name].dtype
        place = self._layout.places[name]
        return self._array(place, dtype), place.offset // dtype.itemsize

    def words(self, place: Place) -> str:
        """A pointer to a place, in words."""
        dtype = np.dtype(np.int32)
        return f"{self._array(place, dtype)} + {place.offset // dtype.itemsize}"

    def _array(self, place: Place, dtype: np.dtype[Any]) -> str:
        if place.memory in _ARRAYS:
            member = self._arrow if place.memory == "arena" else "."
            return f"{_ARRAYS[place.memory]}{member}{_MEMBERS[str(dtype)]}"
        return "row" if self._interface.by_rows and place.memory == "input" else place.memory

    def members(self, memory: str, size: int) -> list[dict[str, object]]:
        """The members of a memory's union, whose size is in bytes: an array of each type that something in it has."""
        places = self._layout.places.items()
        used = {str(self._graph.tensors[name].dtype) for name, place in places if place.memory == memory}
        # int32_t is always there: it aligns the memory to words, which kernels may load and store.
        return [
            {"c_type": C_TYPES[dtype], "name": member, "count": max(size, 4) // np.dtype(dtype).itemsize}
            for dtype, member in _MEMBERS.items()
            if dtype in used or dtype == "int32"
        ]


def call_text(layer: Layer, pointers: Pointers) -> str:
    """The statement that runs a layer."""
    arguments = []
    for parameter, index in layer.operands:
        tensor = layer.step.site.inputs[index]
        arguments.append(f"{layer.id}_{parameter}" if tensor.data is not None else pointers.of(tensor.name))
    arguments += [pointers.of(tensor.name) for _, tensor in layer.results]
    arguments += ["rows"] if layer.is_fed else []
    return f"{layer.symbol}({', '.join(arguments)});"


def _signature(layer: Layer, const: str) -> str:
    updated = set(layer.step.kernel.in_place.values())
    read, inputs = _read_as(layer, const), layer.step.site.inputs
    parameters = [
        " ".join((*([] if index in updated else [read[name]]), C_TYPES[str(inputs[index].dtype)], f"*{name}"))
        for name, index in layer.operands
    ]
    parameters += [f"{C_TYPES[str(tensor.dtype)]} *{name}" for name, tensor in layer.results]
    parameters += ["uint32_t row"] if layer.is_fed else []
    return f"{'HOT_LAYER' if layer.is_hot else 'LAYER'} void {layer.symbol}({', '.join(parameters)})"


def _read_as(layer: Layer, const: str) -> dict[str, str]:
    """What the pointers to a layer's inputs are declared with, by their C names."""
    inputs = layer.step.site.inputs
    return {name: "const" if inputs[index].data is None else const for name, index in layer.operands}


def layer_call(layer: Layer, pointers: Pointers) -> dict[str, object]:
    """What the library's template needs to run a layer, and to show its output."""
    return {
        "index": layer.index,
        "call": call_text(layer, pointers),
        "output_bytes": layer.output.bytes,
        "output_pointer": pointers.of(layer.output.name),
        "is_fed": layer.is_fed,
    }


def layer_text(
    layer: Layer, graph: Graph, pointers: Pointers, name: str, function: Function | None, dialect: Dialect
) -> dict[str, object]:
    """A layer's function, or a part's, and its comment.

    `function`: the one in assembly that computes it.
    """
    signature = _signature(layer, dialect.const)
    scratch = pointers.words(layer.scratch) if layer.scratch else None
    around = layer.body.around
    if function is not None and around is None:
        text = f"{signature}\n{{\n    {function.call(layer, scratch)}\n}}\n"
    else:
        if function is not None and around is not None:
            template = around.template
            values = {**around.values, "scratch": scratch, "call": partial(function.call, layer)}
        else:
            template = layer.step.kernel.template
            values = {**_group_values(layer, pointers), **layer.body.values}
        text = render(
            template,
            id=layer.id,
            symbol=layer.symbol,
            prefix=name,
            signature=signature,
            const=dialect.const,
            const_of=_read_as(layer, dialect.const),
            factor_type=dialect.factor if layer.step.site.inputs[0].dtype == np.int8 else "int32_t",
            x_type=C_TYPES[str(layer.step.site.inputs[0].dtype)],
            y_type=C_TYPES[str(layer.output.dtype)],
            **values,
        )
    return {
        "comment": _part_comment(layer) if layer.letter else _layer_comment(layer, graph),
        "text": text.strip("\n") + "\n",
        # Without a blank line, the layer's comment would seem to belong to its first helper.
        "starts_with_comment": text.lstrip().startswith("/*"),
    }


def _group_values(layer: Layer, pointers: Pointers) -> dict[str, object]:
    """What the template of a group needs besides: its parts, and its memory."""
    if not layer.parts:
        return {}
    schedule = layer.body.constants["schedule"]
    scratch = pointers.words(layer.scratch) if layer.scratch else ""
    schedule_type = C_TYPES[str(schedule.dtype)]
    return {"parts": layer.parts, "schedule_type": schedule_type, "scratch": scratch, "fed": layer.is_fed}


def _part_comment(layer: Layer) -> str:
    step = layer.step
    shapes = shapes_text([step.site.inputs[index] for _, index in step.kernel.operands(step.site.inputs)])
    words = [f"{step.node.op.name} {shapes} -> {shape_text(layer.output.shape)}", step.node.op.describe()]
    first = f"Layer {layer.number}: {', '.join(word for word in words if word)}."
    calls = f"{layer.calls:,} calls" if layer.calls > 1 else "one call"
    second = f"Kernel {step.kernel.name}, {calls}, writes rows of {c_text.tensor_text(layer.output.name)}."
    return "/* " + "\n * ".join([first, second, *_choice(step)]) + " */"


def _layer_comment(layer: Layer, graph: Graph) -> str:
    step = layer.step
    shapes = shapes_text([step.site.inputs[index] for _, index in step.kernel.operands(step.site.inputs)])
    words = [f"{step.node.op.name} {shapes} -> {shape_text(layer.output.shape)}", step.node.op.describe()]
    first = f"Layer {layer.index}: {', '.join(word for word in words if word)}."
    macs = graph.macs(step.node)
    work = f"{macs:,} MACs, kernel" if macs else "Kernel"
    rounding = step.node.op.rounding
    rule = "" if rounding == "exact" else f" ({rounding})"
    second = f"{work} {step.kernel.name}{rule}, writes {c_text.tensor_text(layer.output.name)}."
    return "/* " + "\n * ".join([first, second, *_computed(graph, layer.output), *_choice(step)]) + " */"


def _computed(graph: Graph, tensor: Tensor) -> list[str]:
    """Which part of the model's channels it is."""
    kept = graph.kept.get(tensor.name)
    if kept is None:
        return []
    return [f"Of the model's {len(kept)} channels, {int(kept.sum())} are computed; the others have no effect."]


def _choice(step: Step) -> list[str]:
    """What the kernel is expected to cost, and which others there were."""
    found = step.chosen.estimate
    if found.instructions is None:
        return []
    scratch = f", {found.scratch:,} of scratch" if found.scratch else ""
    lines = [f"Expected: {found.instructions:,} instructions, {found.flash:,} bytes of flash{scratch}."]
    # Of a group there are many ways, all of one name.
    others = (other for other in step.rejected if other.kernel.name != step.kernel.name)
    known = [other for other in others if other.estimate.instructions is not None]
    if known:
        costs = [f"{other.kernel.name} ({other.estimate.instructions:,}; {other.estimate.flash:,})" for other in known]
        lines += textwrap.wrap(f"Instead of {', '.join(costs)}.", 112, break_long_words=False)
    return lines


def shapes_text(tensors: Sequence[Tensor]) -> str:
    """Shapes in words; many alike are counted."""
    shapes = [shape_text(tensor.shape) for tensor in tensors]
    if len(shapes) > 3 and len(set(shapes)) == 1:
        return f"{len(shapes)} of {shapes[0]}"
    return " and ".join(shapes)
