"""What all files of a library are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen import manifest
from tinygen.interface import EXTERNAL
from tinygen.ir import Graph
from tinygen.layer_text import Pointers
from tinygen.layers import Function, Layer, functions_of, layers_of
from tinygen.layout import Layout
from tinygen.library.constants import Constant, constants_of
from tinygen.library.origin import Origin
from tinygen.library.ports import port_texts, ports_of
from tinygen.library.remarks import sharing_lines, summary
from tinygen.library.resets import Reset, resets_of
from tinygen.memory import ALIGNMENT
from tinygen.placement import sections
from tinygen.plan import Plan
from tinygen.select import Step


@dataclass(frozen=True)
class Draft:
    """A graph with its plan, under the names that its C has."""

    graph: Graph
    name: str
    origin: Origin
    steps: Sequence[Step]
    layout: Layout
    pointers: Pointers
    layers: Sequence[Layer]
    functions: Sequence[Function]
    """What several layers call."""
    inputs: tuple[manifest.Port, ...]
    outputs: tuple[manifest.Port, ...]
    resets: Sequence[Reset]
    constants: Sequence[Constant]
    hot: frozenset[str]
    """Ids of layers whose code lies apart."""

    @property
    def const_bytes(self) -> int:
        """Of all constant arrays."""
        return sum(constant.array.nbytes for constant in self.constants)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an inference."""
        return sum(self.graph.macs(step.node) for step in self.steps)

    @property
    def set_arena(self) -> str | None:
        """The function that takes the arena's memory, where the application has it."""
        return f"{self.name}_set_arena" if self.origin.interface.is_external else None

    @property
    def placed(self) -> Mapping[str, str]:
        """The names of the sections of those parts that are this library's own, and there."""
        is_there = {
            "arena": not self.origin.interface.shared,
            "scratch": bool(self.layout.scratch_bytes),
            "state": bool(self.layout.states),
            "hot": bool(self.hot),
        }
        found = sections(self.origin.goal.places).items()
        return {part: section.name for part, section in found if is_there.get(part, True)}

    @property
    def names(self) -> dict[str, Any]:
        """What each file says of what it belongs to."""
        return {
            "name": self.name,
            "prefix_upper": self.name.upper(),
            "origin": self.origin.text(self.name),
            "summary": summary(self.graph),
        }

    @property
    def memory(self) -> dict[str, Any]:
        """Header and source alike: inputs, outputs, and whose memory the arena is."""
        interface = self.origin.interface
        inputs = port_texts(self.inputs, self.graph, self.pointers, self.name, "input")
        outputs = port_texts(self.outputs, self.graph, self.pointers, self.name, "output")
        given = [text["variable"] for text in (*inputs, *outputs) if text["memory"] == EXTERNAL]
        fed = self.inputs[0]
        return {
            "inputs": inputs,
            "outputs": outputs,
            "fed": {"rows": fed.shape[1], "bytes": fed.row_bytes} if interface.by_rows else None,
            "absent": " || ".join(f"!{variable}" for variable in (["arena"] if self.set_arena else []) + given),
            "set_arena": self.set_arena,
            "arena_alignment": ALIGNMENT,
            "shared_arena": interface.shared.name if interface.shared else "",
            "sharing": sharing_lines(interface.shared, self.name) if interface.shared else [],
        }


def draft_of(graph: Graph, plan: Plan, name: str, origin: Origin, hot: frozenset[str]) -> Draft:
    """Names for what a plan has; `hot`: ids of layers whose code lies apart."""
    layers = layers_of(plan.steps, plan.layout, name, hot)
    pointers = Pointers(graph, plan.layout, origin.interface)
    resets = resets_of(graph, pointers)
    first_values = [reset.array for reset in resets if reset.array is not None]
    return Draft(
        graph=graph,
        name=name,
        origin=origin,
        steps=plan.steps,
        layout=plan.layout,
        pointers=pointers,
        layers=layers,
        functions=functions_of(layers, name),
        inputs=ports_of(graph, graph.inputs, graph.input_axes, name, "input", origin.interface.input),
        outputs=ports_of(graph, graph.outputs, graph.output_axes, name, "output", origin.interface.output),
        resets=resets,
        constants=[*constants_of(layers, name), *first_values],
        hot=hot,
    )
