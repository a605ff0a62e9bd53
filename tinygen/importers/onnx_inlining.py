"""Functions that an .onnx file defines for itself, in the places where they are called: exporters make them of modules.

ONNX Runtime puts them there, too, before it looks at operators. `onnx` does the work; what it would make is measured
first, as a few functions that call each other can stand for any number of nodes.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable

import onnx
import onnx.inliner

_LARGEST = 2**28
_OF_A_NODE = 100
"""Bytes that a node takes beyond what is in the file."""
_LONGEST = 60
"""Characters of a name that messages show."""

_Key = tuple[str, str, str]


class NotInlined(Exception):
    """Why functions cannot be put where they are called."""


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own. Raises NotInlined."""
    if not model.functions:
        return model
    functions = {(each.domain, each.name, each.overload): each for each in model.functions}
    if len(functions) < len(model.functions):
        raise NotInlined("two of its functions have the same name")
    _expect_no_graphs(model.graph.node)
    sizes: dict[_Key, int] = {}
    for key in _in_order(functions):
        _expect_no_graphs(functions[key].node)
        sizes[key] = _size(functions[key].node, sizes)
    if _size(model.graph.node, sizes) > _LARGEST:
        raise NotInlined(f"its functions, where they are called, take more than {_LARGEST:,} bytes")
    try:
        found = onnx.inliner.inline_local_functions(model)
    except (ValueError, RuntimeError):
        raise NotInlined("its functions break the rules of ONNX") from None
    del found.functions[:]  # what is still called is an operator of an unknown domain
    return found


def _expect_no_graphs(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise NotInlined(f"{node.op_type[:_LONGEST]!r} holds a graph of its own, beside functions")


def _called(node: onnx.NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload


def _in_order(functions: dict[_Key, onnx.FunctionProto]) -> list[_Key]:
    """Callees before callers."""
    calls = {key: functions.keys() & map(_called, each.node) for key, each in functions.items()}
    try:
        return list(graphlib.TopologicalSorter(calls).static_order())
    except graphlib.CycleError as error:
        raise NotInlined(f"its function {error.args[1][0][1][:_LONGEST]!r} calls itself") from None


def _size(nodes: Iterable[onnx.NodeProto], sizes: dict[_Key, int]) -> int:
    """Bytes of nodes with what they call."""
    return sum(node.ByteSize() + _OF_A_NODE + sizes.get(_called(node), 0) for node in nodes)
