"""Where ONNX Runtime reduces images with channels last that the file has first: it sums in another order then.

It computes convolutions of uint8 with channels last. The transposition behind one is moved on, towards the one before
another convolution, through what it can be moved through.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from tinygen.importers.onnx_file import RawNode
from tinygen.importers.onnx_graph import RawGraph
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.importers.onnx_wiring import Wiring

_PASSED = frozenset(
    (
        *("Abs", "Add", "AveragePool", "Cast", "Ceil", "Clip", "Concat", "Div", "Elu", "Erf", "Exp", "Floor"),
        *("GlobalAveragePool", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "MaxPool", "Min", "Mul", "Neg"),
        *("Pad", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"),
        *("Relu", "Resize", "Round", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh", DEQUANTIZE, QUANTIZE),
    )
)
"""Operators that a transposition is moved through."""
_ENDS = frozenset(("ConvTranspose", "Flatten", "Gemm", "LayerNormalization", "MatMul", "Reshape"))
"""Operators that it is not moved through."""


class Layout(Enum):
    """Of what is reduced, there."""

    AS_IN_THE_FILE = 0
    UNKNOWN = 1
    CHANNELS_LAST = 2


def layout_of_sums(node: RawNode, graph: RawGraph, wiring: Wiring, is_on_uint8: Callable[[RawNode], bool]) -> Layout:
    """Of the input of a reduction; `is_on_uint8` tells of a Conv whether it is computed on integers of that type."""
    if len(graph.types[node.inputs[0]].shape) not in (3, 4):
        return Layout.AS_IN_THE_FILE
    paths = _Paths(graph, wiring, is_on_uint8)
    found = (paths.behind_convolutions(node.inputs[0]), paths.before_convolutions(node.outputs[0]))
    return min(found, key=lambda layout: layout.value)


class _Paths:
    def __init__(self, graph: RawGraph, wiring: Wiring, is_on_uint8: Callable[[RawNode], bool]) -> None:
        self._graph = graph
        self._wiring = wiring
        self._is_on_uint8 = is_on_uint8

    def behind_convolutions(self, name: str) -> Layout:
        """Whether all that a value is made of comes from convolutions."""
        return self._walked(name, self._behind)

    def before_convolutions(self, name: str) -> Layout:
        """Whether a convolution reads what is made of a value."""
        return self._walked(name, self._before)

    def _walked(self, name: str, step: Callable[[str, dict[str, Layout]], list[str] | None]) -> Layout:
        """`step` notes the layout of a value in what is known, or says which values it depends on first."""
        known: dict[str, Layout] = {}
        waiting = [name]
        while waiting:
            missing = None if waiting[-1] in known else step(waiting[-1], known)
            if missing is None:
                waiting.pop()
            else:
                waiting += missing
        return known[name]

    def _behind(self, name: str, known: dict[str, Layout]) -> list[str] | None:
        writer = self._wiring.writers.get(name)
        if writer is None or writer.op in _ENDS:
            known[name] = Layout.AS_IN_THE_FILE
            return None
        if writer.op == "Conv":
            known[name] = _if(self._is_on_uint8(writer))
            return None
        sources = [source for source in writer.inputs if source and not self._is_constant(source)]
        missing = [source for source in sources if source not in known]
        if missing:
            return missing
        found = {known[source] for source in sources} or {Layout.AS_IN_THE_FILE}
        is_certain = len(found) == 1 and (writer.op in _PASSED or found == {Layout.AS_IN_THE_FILE})
        known[name] = found.pop() if is_certain else Layout.UNKNOWN
        return None

    def _before(self, name: str, known: dict[str, Layout]) -> list[str] | None:
        found = [Layout.AS_IN_THE_FILE]
        missing = []
        for reader in self._wiring.readers(name):
            if reader.op == "Conv":
                found.append(_if(reader.inputs[0] == name and self._is_on_uint8(reader)))
            elif reader.op not in _ENDS:
                missing += [output for output in reader.outputs if output and output not in known]
                most = Layout.CHANNELS_LAST if reader.op in _PASSED else Layout.UNKNOWN
                behind = [known[output] for output in reader.outputs if output in known]
                found += [min(most, layout, key=lambda each: each.value) for layout in behind]
        if missing:
            return missing
        known[name] = max(found, key=lambda layout: layout.value)
        return None

    def _is_constant(self, name: str) -> bool:
        writer = self._wiring.writers.get(name)
        source = writer.inputs[0] if writer is not None and writer.op == DEQUANTIZE else name
        return source in self._graph.constants


def _if(is_channels_last: bool) -> Layout:
    return Layout.CHANNELS_LAST if is_channels_last else Layout.AS_IN_THE_FILE
