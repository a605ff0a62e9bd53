"""An .onnx file to a graph: the parts of the importer, one after the other.

What a file means is decided by the functions in `onnx_operators`, one per operator: there, factors, paddings, clamps
and zero points become explicit attributes, and images NHWC. Here, tensors and nodes become a graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from tinygen.errors import FloatModel, UnsupportedModel
from tinygen.importers import OutlineRow
from tinygen.importers.converted import Converted, Refused, as_parts
from tinygen.importers.onnx_call import QUANTISE, Call, remedy_of
from tinygen.importers.onnx_edges import edge_label
from tinygen.importers.onnx_file import RawNode, read_onnx, shortened
from tinygen.importers.onnx_functions import OPERATORS
from tinygen.importers.onnx_graph import RawGraph, resolved
from tinygen.importers.onnx_operators import CONVERTERS, INSTEAD, INSTEAD_OF_ANY, RECURRENT
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.importers.onnx_quant import Lost, Matcher
from tinygen.importers.onnx_rewrites import rewritten
from tinygen.importers.onnx_wiring import Wiring
from tinygen.importers.workshop import Workshop
from tinygen.ir import Graph, Node, Tensor
from tinygen.ops.common import STORED, UINT8
from tinygen.ops.curve import ChannelCurves, Curve
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_expression import FloatExpression
from tinygen.ops.float_instance_norm import FloatInstanceNorm
from tinygen.ops.float_layer_norm import FloatLayerNorm
from tinygen.ops.float_mean import FloatMean, RealMean
from tinygen.ops.float_pair import FloatPair
from tinygen.ops.float_pool import FloatAveragePool, RealAveragePool
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.quantize import Quantize
from tinygen.ops.real_softmax import RealLogSoftmax, RealSoftmax
from tinygen.options import Options
from tinygen.rescaling import FloatLine

UINT8_NOTE = "uint8 model, computed as int8: the same results"
_DEFAULTS = (
    "constants of the file are listed as its inputs, too: ONNX Runtime does not rely on them, and fuses less, so that "
    "a value among many can differ by one step; without them in graph.input, it gives the same"
)
_OUTLINED_TENSORS = 3
_STATICALLY = "quantise the float model statically: tinygen quantize MODEL --data CALIBRATION -o OUT.onnx"

_STAYS_FLOAT = "it stays float32 when the model is quantised: ONNX Runtime has no integers for it"
_NO_FUNCTION = (
    "it is computed in float32, and its result is no function of one quantised tensor, value by value, that "
    "QuantizeLinear ends"
)
_BY_A_TABLE = (
    "supported are such operators between one DequantizeLinear and QuantizeLinear, with constants of one value or one "
    "for each channel: quantise its inputs and its result, or leave it out"
)
_OF_A_NORM = "it squares deviations from a mean: it is a part of LayerNormalization, which is split up here"
_AS_A_NORM = "export the float model in opset 17 or newer, which has that as one operator, and quantise it again"


def graph(data: bytes, source: str, options: Options) -> Graph:
    """The graph of a file; `source` is its name, for messages. Raises InvalidModel, and UnsupportedModel."""
    raw = rewritten(resolved(read_onnx(data, source), source, options.batch))
    return _Importer(source, raw).graph()


def outline(data: bytes, source: str) -> list[OutlineRow]:
    """The operators of the file. Raises InvalidModel."""
    model = read_onnx(data, source)
    types = {name: f"{array.dtype}{list(array.shape)}" for name, array in model.constants.items()}
    types.update((value.name, f"{value.dtype}{list(value.shape)}") for value in model.inputs)

    def tensors(names: Iterable[str]) -> str:
        found = [types.get(name, shortened(name)) for name in names if name]
        return ", ".join([*found[:_OUTLINED_TENSORS], *(["…"] if len(found) > _OUTLINED_TENSORS else [])])

    return [OutlineRow(node.label, node.op, tensors(node.inputs), tensors(node.outputs)) for node in model.nodes]


_AS_IN_FLOAT = (
    ChannelCurves,
    Curve,
    FloatConv,
    FloatExpression,
    FloatInstanceNorm,
    FloatLayerNorm,
    FloatMean,
    FloatPair,
    Quantize,
    RealAveragePool,
    RealLogSoftmax,
    RealMean,
    RealSoftmax,
)


def _is_as_in_float(part: Converted) -> bool:
    """Whether an operator gives what float32 does, in the runtime's order."""
    if isinstance(part.op, FullyConnected):
        return isinstance(part.op.requant, FloatLine)
    if isinstance(part.op, FloatAveragePool):
        return part.op.in_float
    return isinstance(part.op, _AS_IN_FLOAT)


class _Importer:
    def __init__(self, source: str, raw: RawGraph) -> None:
        self._source = source
        self._raw = raw
        self._workshop = Workshop(QUANTISE)
        self._refuse = self._workshop.refuse
        self._wiring = Wiring.of(raw)
        self._matcher = Matcher(raw, self._wiring)
        self._written: set[str] = set()
        self._lacks_operator = False

    def graph(self) -> Graph:
        self._expect_quantised()
        nodes: list[Node] = []
        inputs = []
        for tensor, call in self._matcher.inputs():
            inputs.append(self._interface(tensor, "input"))
            nodes += self._converted(call, edge_label(call)) if call is not None else []
        for node in self._raw.nodes:
            nodes += self._node(node)
        outputs = []
        for tensor, call in self._matcher.outputs():
            nodes += self._converted(call, edge_label(call)) if call is not None else []
            outputs.append(self._interface(tensor, "output"))
        if not self._workshop.problems:
            self._check_outputs(inputs, outputs)
        if self._workshop.problems:
            names = sorted(name for name in {*CONVERTERS, *OPERATORS} if " " not in name)
            supported = f"Supported operators: {', '.join(names)}."
            raise UnsupportedModel(self._source, self._workshop.problems, supported if self._lacks_operator else "")
        tensors = MappingProxyType(dict(self._workshop.tensors))
        return Graph(self._source, tensors, tuple(nodes), tuple(inputs), tuple(outputs), notes=tuple(self._notes()))

    def _expect_quantised(self) -> None:
        """One reason instead of one for each node."""
        dynamic = [node for node in self._raw.nodes if node.op == "DynamicQuantizeLinear"]
        if dynamic:
            scales = "its scales are computed at run time, from each input: it is quantised dynamically"
            self._refuse(dynamic[0].label, dynamic[0].op, scales, _STATICALLY)
            raise UnsupportedModel(self._source, self._workshop.problems)
        if not any(node.op in (QUANTIZE, DEQUANTIZE) for node in self._raw.nodes):
            for node in self._raw.nodes:
                if node.op in RECURRENT:
                    self._refuse(node.label, node.op, _STAYS_FLOAT, INSTEAD[node.op])
            raise FloatModel(self._source, self._workshop.problems)

    def _notes(self) -> Iterable[str]:
        if any(self._raw.types[name].dtype == UINT8 for node in self._raw.nodes for name in node.outputs):
            yield UINT8_NOTE
        if self._raw.has_open_batch:
            yield "the batch is open in the file"
        if self._raw.has_defaults:
            yield _DEFAULTS
        yield from self._matcher.notes
        yield from self._workshop.notes

    def _interface(self, tensor: Tensor, role: str) -> str:
        if tensor.dtype not in STORED:
            supported = ", ".join(str(dtype) for dtype in STORED)
            place = f"the {role} {shortened(tensor.name)!r}"
            self._refuse(place, "", f"it is {tensor.dtype}, supported are {supported}", QUANTISE)
        self._workshop.tensors.setdefault(tensor.name, tensor)
        return tensor.name

    def _node(self, node: RawNode) -> list[Node]:
        try:
            calls = self._matcher.calls(node)
        except Lost:
            return []
        except Refused as refused:
            self._refuse(node.label, node.op, refused.reason, remedy_of(node, refused.remedy))
            return []
        return [made for call in calls for made in self._converted(call, call.node.label)]

    def _why_no_function(self, node: RawNode) -> tuple[str, str]:
        """Of real values; and what to do."""
        deviation = self._writer_of(node.inputs[0]) if node.op == "Pow" else None
        if deviation is not None and deviation.op == "Sub":
            mean = self._writer_of(deviation.inputs[1])
            if mean is not None and mean.op == "ReduceMean":
                return _OF_A_NORM, _AS_A_NORM
        return _NO_FUNCTION, _BY_A_TABLE

    def _writer_of(self, name: str) -> RawNode | None:
        """The operator that makes a value, before it is quantised."""
        writer = self._wiring.writers.get(name)
        if writer is not None and writer.op in (QUANTIZE, DEQUANTIZE):
            return self._writer_of(writer.inputs[0])
        return writer

    def _converted(self, call: Call, place: str) -> list[Node]:
        convert = CONVERTERS.get(call.op)
        try:
            if convert is None:
                if call.op in OPERATORS:
                    raise Refused(*self._why_no_function(call.node))
                if call.op in RECURRENT:
                    raise Refused(_STAYS_FLOAT, INSTEAD[call.op])
                self._lacks_operator = True
                raise Refused("the operator is not supported", INSTEAD.get(call.op, INSTEAD_OF_ANY))
            parts = self._unwritten(as_parts(convert(call)), call)
        except Refused as refused:
            self._refuse(place, call.op, refused.reason, remedy_of(call.node, refused.remedy))
            return []
        if call.in_float and not any(map(_is_as_in_float, parts)):
            self._workshop.notes.append(
                f"ONNX Runtime computes {shortened(call.outputs[0].name)!r} in float32, since {call.in_float}: a value "
                "among many can differ by one step"
            )
        return self._workshop.nodes(place, parts, call.op, call.outputs)

    def _unwritten(self, parts: Iterable[Converted], call: Call) -> list[Converted]:
        """Without what is there already: the other layout of an image is made once, whoever asks for it."""
        found = []
        for part in parts:
            names = {tensor.name for tensor in (call.outputs if part.outputs is None else part.outputs)}
            if not names <= self._written:
                found.append(part)
            self._written |= names
        return found

    def _check_outputs(self, inputs: list[str], outputs: list[str]) -> None:
        for name in outputs:
            place = f"the output {shortened(name)!r}"
            if name in inputs:
                self._refuse(place, "", "there is nothing between it and the input", "leave it out")
            elif self._workshop.tensors[name].data is not None:
                self._refuse(place, "", "it has the same value always", "leave it out")
        if len(set(outputs)) < len(outputs):
            self._refuse("the outputs", "", "two of them are the same", "leave one out")
