"""What stands at the edges of a model whose inputs or outputs are of other types than the integers inside."""

from __future__ import annotations

from types import MappingProxyType

from tinygen.importers.onnx_call import Call
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.importers.onnx_qoperators import DEQUANTIZE
from tinygen.ir import Tensor

TO_INT8 = "uint8 to int8"
TO_UINT8 = "int8 to uint8"
"""Operators that no file has."""


def edge(op: str, x: Tensor, y: Tensor) -> Call:
    """What stands there, for an input or output of the model."""
    name = y.name if op in (DEQUANTIZE, TO_UINT8) else x.name
    return Call(RawNode(-1, name, op, 1, MappingProxyType({}), (x.name,), (y.name,)), (x,), (y,))


def edge_label(call: Call) -> str:
    """What messages call it."""
    side = "input" if call.op == TO_INT8 else "output"
    return f"the {side} {shortened(call.node.name)!r}"
