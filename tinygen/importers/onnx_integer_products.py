"""MatMulInteger and ConvInteger with what makes reals of their sums: Cast, Mul by a constant, and Add of one.

ONNX Runtime runs these one after the other, in float32, where the activations' scale is a constant. Here they are one
operator, on what DequantizeLinear makes: the scale of the weights is what the sums are multiplied by.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import numpy as np

from tinygen.importers.onnx_file import RawNode
from tinygen.importers.onnx_graph import RawGraph
from tinygen.importers.onnx_qoperators import DEQUANTIZE
from tinygen.importers.onnx_wiring import Wiring
from tinygen.ir import Array, Shape, TensorType, read_only
from tinygen.ops.common import FLOAT32

SCALED = MappingProxyType({"ConvInteger": "ConvInteger with Mul", "MatMulInteger": "MatMulInteger with Mul"})
"""What the operators are called with what follows them: names that no file has."""
_FLOAT = 1
"""What Cast calls float32."""


def with_scaled_sums(graph: RawGraph) -> RawGraph:
    """The graph in which each such group is one node: of activations, weights, and a float32 constant, if there is one.

    What does not make such a group stays as it is.
    """
    wiring = Wiring.of(graph)
    groups = {
        place: group
        for place, node in enumerate(graph.nodes)
        if node.op in SCALED and (group := _Group.found(node, graph, wiring)) is not None
    }
    if not groups:
        return graph
    constants, types = dict(graph.constants), dict(graph.types)
    gone = {id(node) for group in groups.values() for node in group.following}
    nodes: list[RawNode] = []
    for place, node in enumerate(graph.nodes):
        if place in groups:
            nodes += groups[place].as_one(constants, types)
        elif id(node) not in gone:
            nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), constants=constants, types=types)


@dataclasses.dataclass(frozen=True, eq=False)
class _Group:
    node: RawNode
    following: tuple[RawNode, ...]
    gains: Array
    """What sums are multiplied by: (1,), or (channels,)."""
    added: Array | None
    """What is added to them then: the same."""
    weights: Array
    zero_points: Array

    @staticmethod
    def found(node: RawNode, graph: RawGraph, wiring: Wiring) -> _Group | None:
        if any(name and name not in graph.constants for name in node.inputs[1:]):
            return None
        axis = 1 if node.op == "ConvInteger" else len(graph.types[node.outputs[0]].shape) - 1
        cast = _next(node.outputs[0], "Cast", wiring)
        if cast is None or cast.attributes.get("to") != _FLOAT:
            return None
        scaled = _next(cast.outputs[0], "Mul", wiring)
        gains = None if scaled is None else _row(scaled, cast.outputs[0], axis, graph)
        if scaled is None or gains is None:
            return None
        following: tuple[RawNode, ...] = (cast, scaled)
        added = None
        shifted = _next(scaled.outputs[0], "Add", wiring)
        if shifted is not None:
            added = _row(shifted, scaled.outputs[0], axis, graph)
            following = following if added is None else (*following, shifted)
        weights = graph.constants[node.inputs[1]]
        has_zero_points = len(node.inputs) > 3 and node.inputs[3]
        given = graph.constants[node.inputs[3]] if has_zero_points else np.zeros(1, weights.dtype)
        return _Group(node, following, gains, added, weights, given.reshape(-1))

    def as_one(self, constants: dict[str, Array], types: dict[str, TensorType]) -> list[RawNode]:
        """The nodes that take the group's place; adds their constants and types."""
        last = self.following[-1].outputs[0]

        def named(wanted: str, value: Array | None = None, shape: Shape = ()) -> str:
            name = f"{last}/{wanted}"
            while name in types:
                name += "'"
            if value is not None:
                constants[name] = read_only(value)
            types[name] = TensorType(shape, FLOAT32) if value is None else TensorType(value.shape, value.dtype)
            return name

        x, weights, *x_zero = self.node.inputs[:3]
        reals = named("x", shape=types[x].shape), named("weights", shape=types[weights].shape)
        x_scale = named("x_scale", np.ones((), np.float32))
        gains, zero_points = np.broadcast_arrays(self.gains, self.zero_points)
        quant = named("gains", gains.copy()), named("zero_points", zero_points.copy())
        axis = 0 if self.node.op == "ConvInteger" else self.weights.ndim - 1
        operands = [*reals, *([] if self.added is None else [named("added", self.added)])]
        return [
            self._dequantised((x, x_scale, *x_zero), reals[0]),
            self._dequantised((weights, *quant), reals[1], axis),
            dataclasses.replace(
                self.node, op=SCALED[self.node.op], inputs=tuple(operands), outputs=(last,), in_integers=True
            ),
        ]

    def _dequantised(self, inputs: tuple[str, ...], output: str, axis: int = 0) -> RawNode:
        return dataclasses.replace(
            self.node,
            op=DEQUANTIZE,
            attributes=MappingProxyType({"axis": axis}),
            inputs=inputs,
            outputs=(output,),
            in_integers=True,
        )


def _next(name: str, op: str, wiring: Wiring) -> RawNode | None:
    """What alone reads a value, if it is such an operator."""
    reader = wiring.only_reader(name)
    return reader if reader is not None and reader.op == op else None


def _row(node: RawNode, name: str, axis: int, graph: RawGraph) -> Array | None:
    """The node's constant operand as one value, or one for each index of dimension `axis`; None if it is no such."""
    others = [other for other in node.inputs if other != name]
    shape = graph.types[name].shape
    if len(others) != 1 or others[0] not in graph.constants or graph.types[node.outputs[0]].shape != shape:
        return None
    values = graph.constants[others[0]]
    aligned = (1,) * (len(shape) - values.ndim) + values.shape
    is_row = values.dtype == FLOAT32 and all(dim == 1 for place, dim in enumerate(aligned) if place != axis)
    return values.reshape(-1) if is_row else None
