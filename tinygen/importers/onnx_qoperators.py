"""Operators that compute on integers, as ONNX Runtime writes them, taken apart into what they stand for.

QLinearConv, and its like of the domain com.microsoft, become DequantizeLinear, Conv and QuantizeLinear: one form for
all that follows, whose shapes `onnx` can infer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygen.importers.onnx_file import RawNode
from tinygen.ir import Array, read_only

QUANTIZE = "QuantizeLinear"
DEQUANTIZE = "DequantizeLinear"


@dataclass(frozen=True)
class _Form:
    """Where an operator has its operands: inputs are index of value, scale, zero point."""

    op: str
    reals: tuple[tuple[int, int, int], ...]
    result: tuple[int, int]
    """Scale and zero point of the output."""
    bias: int | None = None
    axes: tuple[int | None, ...] = ()
    """The dimension that scales run along, of operands that can have many: as in the standard."""
    dropped: tuple[str, ...] = ("channels_last",)
    """Attributes that the standard's operator lacks."""


def _unary(op: str, *dropped: str) -> _Form:
    return _Form(op, ((0, 1, 2),), (3, 4), dropped=("channels_last", *dropped))


_BINARY = ((0, 1, 2), (3, 4, 5))
_FORMS: Mapping[str, _Form] = {
    "QLinearConv": _Form("Conv", _BINARY, (6, 7), bias=8, axes=(None, 0)),
    "QLinearMatMul": _Form("MatMul", _BINARY, (6, 7), axes=(-2, -1)),
    "QGemm": _Form("Gemm", _BINARY, (7, 8), bias=6, axes=(None, 1)),
    "QLinearAdd": _Form("Add", _BINARY, (6, 7)),
    "QLinearMul": _Form("Mul", _BINARY, (6, 7)),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearReduceMean": _unary("ReduceMean"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _unary("Softmax", "opset"),
}
"""By ONNX Runtime's operator; QLinearConv and QLinearMatMul are the standard's."""

_CHANNELS_LAST_POOL = "NhwcMaxPool"

KNOWN = frozenset((*_FORMS, "QLinearConcat", _CHANNELS_LAST_POOL, QUANTIZE, DEQUANTIZE))
"""Operators of ONNX Runtime's domain that can be read."""


def in_standard_form(nodes: Sequence[RawNode], constants: dict[str, Array], opset: int) -> list[RawNode]:
    """The same with operators of the standard only, as far as they are known; adds constants."""
    taken = {name for node in nodes for name in (*node.inputs, *node.outputs)} | set(constants)
    apart = _Apart(constants, opset, taken)
    return [part for node in nodes for part in apart.of(node)]


class _Apart:
    def __init__(self, constants: dict[str, Array], opset: int, taken: set[str]) -> None:
        self._constants = constants
        self._opset = opset
        self._taken = taken

    def of(self, node: RawNode) -> Iterator[RawNode]:
        node = dataclasses.replace(node, name=node.name or next(iter(node.outputs), ""))
        if node.op == _CHANNELS_LAST_POOL or node.attributes.get("channels_last"):
            yield from self._channels_second(node)
        elif node.op == "QLinearConcat":
            yield from self._concat(node)
        elif node.op in _FORMS:
            yield from self._taken_apart(node, _FORMS[node.op])
        elif node.op in (QUANTIZE, DEQUANTIZE):
            yield dataclasses.replace(node, domain="", version=self._opset)
        else:
            yield node

    def _name(self, wanted: str) -> str:
        while wanted in self._taken:
            wanted += "'"
        self._taken.add(wanted)
        return wanted

    def _channels_second(self, node: RawNode) -> Iterator[RawNode]:
        """The operator on images (n, c, ...) between transpositions.

        Files have it with channels last that ONNX Runtime saved after its optimisations.
        """
        rank = self._rank(node)
        before, after = (self._name(f"{name}/channels_second") for name in (node.inputs[0], node.outputs[0]))
        yield self._transposed(node, node.inputs[0], before, [0, rank - 1, *range(1, rank - 1)])
        attributes = {name: value for name, value in node.attributes.items() if name != "channels_last"}
        second = dataclasses.replace(
            node, attributes=MappingProxyType(attributes), inputs=(before, *node.inputs[1:]), outputs=(after,)
        )
        if node.op == _CHANNELS_LAST_POOL:
            yield dataclasses.replace(second, op="MaxPool", version=self._opset, domain="")
        else:
            yield from self.of(second)
        yield self._transposed(node, after, node.outputs[0], [0, *range(2, rank), 1])

    def _rank(self, node: RawNode) -> int:
        """Of a windowed operator's image; of one without a window it is four."""
        weights = self._constants.get(_input(node, 3)) if node.op == "QLinearConv" else None
        window = node.attributes.get("kernel_shape", (1, 1))
        return len(window) + 2 if weights is None else weights.ndim

    def _transposed(self, node: RawNode, x: str, y: str, order: Sequence[int]) -> RawNode:
        perm = MappingProxyType({"perm": order})
        return RawNode(node.index, node.name, "Transpose", self._opset, perm, (x,), (y,))

    def _taken_apart(self, node: RawNode, form: _Form) -> Iterator[RawNode]:
        reals = []
        for position, indices in enumerate(form.reals):
            axis = form.axes[position] if form.axes else None
            if node.op == "QGemm" and node.attributes.get("transB"):
                axis = 0 if axis == 1 else axis
            dequantize = self._dequantize(node, indices, axis)
            yield dequantize
            reals.append(dequantize.outputs[0])
        if form.bias is not None and _input(node, form.bias):
            bias = self._bias(node, form)
            yield bias
            reals.append(bias.outputs[0])
        version = int(node.attributes.get("opset", self._opset)) if node.op == "QLinearSoftmax" else self._opset
        attributes = {name: value for name, value in node.attributes.items() if name not in form.dropped}
        yield from self._around(node, form.op, version, attributes, reals, form.result)

    def _around(
        self,
        node: RawNode,
        op: str,
        version: int,
        attributes: Mapping[str, Any],
        reals: Sequence[str],
        result: tuple[int, int],
    ) -> Iterator[RawNode]:
        """The operator on reals, and what quantises its result."""
        real = self._name(f"{node.outputs[0]}/real")
        standard = MappingProxyType(dict(attributes))
        yield dataclasses.replace(
            node,
            op=op,
            version=version,
            attributes=standard,
            inputs=tuple(reals),
            outputs=(real,),
            domain="",
            in_integers=True,
        )
        scale, zero = (_input(node, index) for index in result)
        yield self._node(node, QUANTIZE, (real, scale, zero), node.outputs)

    def _node(
        self, node: RawNode, op: str, inputs: Sequence[str], outputs: Sequence[str], axis: int | None = None
    ) -> RawNode:
        attributes: Mapping[str, Any] = MappingProxyType({} if axis is None else {"axis": axis})
        present = tuple(inputs) if inputs[-1] else tuple(inputs[:-1])
        return RawNode(node.index, node.name, op, self._opset, attributes, present, tuple(outputs), in_integers=True)

    def _dequantize(self, node: RawNode, indices: Sequence[int], axis: int | None = None) -> RawNode:
        names = [_input(node, index) for index in indices]
        return self._node(node, DEQUANTIZE, names, (self._name(f"{names[0]}/real"),), axis)

    def _bias(self, node: RawNode, form: _Form) -> RawNode:
        """An int32 bias counts in the product of the operands' scales."""
        assert form.bias is not None
        flat = np.ones(1, np.float32)
        for _, index, _ in form.reals:
            found = self._constants.get(_input(node, index))  # what is no constant is refused later
            if found is not None and (found.size == 1 or flat.size in (1, found.size)):
                flat = flat * found.astype(np.float32).reshape(-1)
        scale = self._name(f"{node.outputs[0]}/bias_scale")
        self._constants[scale] = read_only(flat.reshape(()) if flat.size == 1 else flat)
        inputs = (_input(node, form.bias), scale, "")
        return self._node(node, DEQUANTIZE, inputs, (self._name(f"{inputs[0]}/real"),), 0 if flat.size > 1 else None)

    def _concat(self, node: RawNode) -> Iterator[RawNode]:
        """Scale and zero point of the output, and then triples of value, scale and zero point."""
        reals = []
        for first in range(2, len(node.inputs), 3):
            dequantize = self._dequantize(node, (first, first + 1, first + 2))
            yield dequantize
            reals.append(dequantize.outputs[0])
        yield from self._around(node, "Concat", self._opset, node.attributes, reals, (0, 1))


def _input(node: RawNode, index: int) -> str:
    return node.inputs[index] if index < len(node.inputs) else ""
