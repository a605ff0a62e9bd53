"""Where importers of all formats put a graph together: tensors by name, nodes that were checked, and what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tinygen.errors import Problem
from tinygen.importers.converted import Converted
from tinygen.ir import Node, Tensor, read_only
from tinygen.ops.common import FLOAT32
from tinygen.ops.strided_copy import StridedCopy


class Workshop:
    """Tensors, problems and notes, as they come up. `quantise`: what to do about operators on float32."""

    def __init__(self, quantise: str) -> None:
        self._quantise = quantise
        self.tensors: dict[str, Tensor] = {}
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def refuse(self, place: str, operator: str, reason: str, remedy: str = "") -> None:
        """One more reason why the model cannot be built."""
        self.problems.append(Problem(place, operator, reason, remedy))

    def nodes(self, place: str, parts: Sequence[Converted], op: str, outputs: tuple[Tensor, ...]) -> list[Node]:
        """The nodes of an operator; those that read nothing but constants are evaluated here and now."""
        nodes = []
        for name, part in zip(_names(place, parts), parts, strict=True):
            node = self.node(name, part, op, outputs)
            constants = [data for name in node.inputs if (data := self.tensors[name].data) is not None]
            if len(constants) < len(node.inputs) or self.problems:
                nodes.append(node)
                continue
            for name, value in zip(node.outputs, node.op.reference(*constants), strict=True):
                self.tensors[name] = dataclasses.replace(self.tensors[name], data=read_only(value))
        return nodes

    def node(self, place: str, converted: Converted, op: str, outputs: tuple[Tensor, ...]) -> Node:
        """One node; `outputs` are those of the operator in the file, for who names no others."""
        inputs = tuple(self.tensors.setdefault(tensor.name, tensor) for tensor in converted.inputs)
        outputs = outputs if converted.outputs is None else converted.outputs
        problems = list(converted.op.problems(inputs))
        if not problems:
            expected = converted.op.output_types(inputs)
            if len(expected) != len(outputs):
                problems.append(f"its inputs make {len(expected)} outputs, it declares {len(outputs)}")
            for made, output in zip(expected, outputs, strict=False):
                if made != output.type:
                    found = f"{output.dtype} {output.shape}"
                    problems.append(f"its inputs make {made.dtype} {made.shape}, its output is declared {found}")
        for problem in problems:
            is_float = any(t.dtype == FLOAT32 for t in inputs)
            self.refuse(place, op, problem, self._quantise if is_float else "")
        if not problems:
            self.notes += [f"{place} {op}: {note}" for note in converted.op.notes(inputs)]
        for tensor in outputs:
            self.tensors.setdefault(tensor.name, tensor)
        return Node(place, converted.op, tuple(t.name for t in inputs), tuple(t.name for t in outputs))


def _names(place: str, parts: Sequence[Converted]) -> list[str]:
    """A name for each part of an operator: its own for what computes, numbers for what only moves values around it."""
    computing = [index for index, part in enumerate(parts) if not isinstance(part.op, StridedCopy)]
    main = computing[0] if computing else 0
    return [place if index == main else f"{place}, part {index + 1}" for index in range(len(parts))]
