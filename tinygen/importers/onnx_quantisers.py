"""Which QuantizeLinear stands behind a value of the file, and what ONNX Runtime holds its integers as."""

from __future__ import annotations

import numpy as np

from tinygen.importers.converted import Refused
from tinygen.importers.onnx_file import RawNode
from tinygen.importers.onnx_graph import RawGraph
from tinygen.importers.onnx_properties import PASSED_BY, follows
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.importers.onnx_scales import bounds_of, quant_of
from tinygen.importers.onnx_wiring import Wiring
from tinygen.ir import Quant
from tinygen.ops.common import INT8, UINT8


class Quantisers:
    """What the file says of QuantizeLinear and DequantizeLinear around a value; nothing here changes."""

    def __init__(self, graph: RawGraph, wiring: Wiring) -> None:
        self._graph = graph
        self._wiring = wiring

    def is_integer(self, name: str) -> bool:
        """Whether a value of the file is int8 or uint8."""
        return self._graph.types[name].dtype in (INT8, UINT8)

    # Which

    def of(self, name: str) -> RawNode | None:
        """The QuantizeLinear that alone reads a value: one, or several that are the same."""
        readers = self._wiring.readers(name)
        if name in self._graph.outputs or not readers or any(reader.op != QUANTIZE for reader in readers):
            return None
        return readers[0] if len({self._parameters(reader) for reader in readers}) == 1 else None

    def _parameters(self, node: RawNode) -> tuple[object, ...]:
        """Scale and zero point: their values, where they are constant."""
        given = [self._graph.constants.get(name, name) for name in node.inputs[1:]]
        return tuple(x if isinstance(x, str) else (str(x.dtype), x.tobytes()) for x in given)

    def behind(self, node: RawNode) -> RawNode | None:
        """The QuantizeLinear behind an operator that moves or compares values, and behind others that follow it."""
        found: RawNode | None = node
        while found is not None and follows(found) and len(found.outputs) == 1:
            quantiser = self.of(found.outputs[0])
            if quantiser is not None:
                return quantiser
            found = self._wiring.only_reader(found.outputs[0])
        return None

    def ends(self, name: str) -> bool:
        """Whether QuantizeLinear reads a value, or what Relu and Clip leave of it."""
        while self.of(name) is None:
            reader = self._wiring.only_reader(name)
            if reader is None or bounds_of(reader, self._graph.constants) is None:
                return False
            name = reader.outputs[0]
        return True

    def moved_by(self, name: str) -> str:
        """What ONNX Runtime does not take DequantizeLinear through, towards who reads a value; empty: nothing is."""
        while (writer := self._wiring.writers.get(name)) is not None and follows(writer):
            x = writer.inputs[0]
            is_nothing = writer.op == "Expand" and self._graph.types[x].shape == self._graph.types[name].shape
            if writer.op not in PASSED_BY and not is_nothing and not self.is_integer(name):
                return writer.op
            name = x
        return ""

    # Scales

    def quant_of(self, quantiser: RawNode) -> Quant:
        """Scale and zero point that a QuantizeLinear makes integers with. Raises Refused."""
        shape, dtype = self._graph.types[quantiser.outputs[0]]
        return quant_of(quantiser, self._graph.constants, dtype, len(shape))

    def quant_of_readers(self, name: str) -> Quant | None:
        """What an integer input of the model stands for: its readers say it."""
        shape, dtype = self._graph.types[name]
        for reader in self._wiring.readers(name):
            if reader.op == DEQUANTIZE and dtype in (INT8, UINT8):
                try:
                    return quant_of(reader, self._graph.constants, dtype, len(shape))
                except Refused:
                    return None  # the reader is refused itself
        return None

    # Kinds

    def kind_of(self, quantiser: RawNode) -> np.dtype[np.generic]:
        """What ONNX Runtime has the result as: on x86 uint8, if only one operator reads it."""
        name = quantiser.outputs[0]
        becomes_uint8 = name not in self._graph.outputs and not quantiser.in_integers and self._edges(quantiser) == 1
        return UINT8 if becomes_uint8 else self._graph.types[name].dtype

    def _edges(self, quantiser: RawNode) -> int:
        """How many operators, and outputs of the model, read what DequantizeLinear makes of a quantiser's result.

        ONNX Runtime makes one of quantisers that are the same.
        """
        same = [reader for reader in self._wiring.readers(quantiser.inputs[0]) if reader.inputs == quantiser.inputs]
        readers = [reader for one in same for reader in self._wiring.readers(one.outputs[0])]
        reals = [reader.outputs[0] for reader in readers if reader.op == DEQUANTIZE]
        return sum(self._wiring.times_read(real) + (real in self._graph.outputs) for real in reals)

    def kind_of_moved(self, name: str, kind: np.dtype[np.generic]) -> np.dtype[np.generic]:
        """The same for what moves values of that kind: real ones are quantised again behind it."""
        source = self._wiring.writers.get(name)
        while source is not None and follows(source):
            source = self._wiring.writers.get(source.inputs[0])
        if self.is_integer(name) or source is None or source.op != DEQUANTIZE:
            return kind
        becomes_uint8 = self._wiring.times_read(name) == 1 and name not in self._graph.outputs
        return UINT8 if becomes_uint8 else self._graph.types[source.inputs[0]].dtype

    def is_on_uint8(self, node: RawNode) -> bool:
        """Whether a Conv is computed on integers of that type."""
        dequantiser = self._wiring.writers.get(node.inputs[0])
        if dequantiser is None or dequantiser.op != DEQUANTIZE or not self.ends(node.outputs[0]):
            return False
        quantiser = self._wiring.writers.get(dequantiser.inputs[0])
        if quantiser is None or quantiser.op != QUANTIZE:
            return self._graph.types[dequantiser.inputs[0]].dtype == UINT8
        return self.kind_of(quantiser) == UINT8
