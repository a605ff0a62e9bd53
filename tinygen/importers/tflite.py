"""TensorFlow Lite to IR, in the arithmetic of TensorFlow Lite Micro.

What a file means is decided by the functions in `tflite_operators`, one per operator: there, multipliers, paddings,
clamps and zero points become explicit attributes. Here, tensors and nodes become a graph. What reads nothing but
constants is evaluated, so that shapes and indices which the file computes are constants to the operators behind.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tinygen.errors import FloatModel, UnsupportedModel
from tinygen.importers import OutlineRow, tflite_variables
from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused, as_parts
from tinygen.importers.tflite_batch import file_batch, open_dimensions, with_batch
from tinygen.importers.tflite_call import QUANTISE, Call
from tinygen.importers.tflite_file import (
    ABSENT,
    RawModel,
    RawOperator,
    RawSignature,
    RawSubgraph,
    RawTensor,
    read_tflite,
)
from tinygen.importers.tflite_operators import CONVERTERS, INSTEAD, INSTEAD_OF_ANY, PACKED_INPUTS
from tinygen.importers.tflite_uint8 import NOTE as UINT8_NOTE
from tinygen.importers.tflite_uint8 import computes_on_uint8, gives_the_same, without_uint8
from tinygen.importers.tflite_variables import Variables
from tinygen.importers.workshop import Workshop
from tinygen.ir import Graph, Node, Quant, State, Tensor, read_only, unpacked
from tinygen.ops.common import FLOAT32, INT8, INT16, STORED, UINT8
from tinygen.options import LITERT, TFLM, Options

PROFILES = (TFLM, LITERT)
"""Whose arithmetic the operators of this format have."""

PACKED = "int4"
"""The type of constants that the file and the generated C hold two to a byte."""


def read(data: bytes, source: str, options: Options) -> Graph:
    """Decode the bytes of a .tflite file; `source` is its name, for messages.

    Raises InvalidModel when the file is not readable, UnsupportedModel with every reason when parts of it cannot be
    built.
    """
    raw = without_uint8(read_tflite(data, source))
    wanted = with_batch(raw, options.batch)
    try:
        return _Importer(source, wanted, options).graph()
    except UnsupportedModel as unsupported:
        if wanted is raw:
            raise
        _Importer(source, raw, options).graph()  # raises what has nothing to do with the batch
        raise UnsupportedModel(
            source,
            unsupported.problems,
            f"This model cannot be built with --batch {options.batch}. Without, it can: the operators above keep to the"
            " batch that they were converted with.",
        ) from None


_OUTLINED_TENSORS = 3
_QUANTISED = {PACKED, INT8.name, UINT8.name, INT16.name}


def outline(data: bytes, source: str) -> list[OutlineRow]:
    """The operators of the file, for looking at models that cannot be built. Raises InvalidModel."""
    subgraph = without_uint8(read_tflite(data, source)).subgraphs[0]
    names = _unique_names(subgraph)

    def tensors(indices: tuple[int, ...]) -> str:
        found = [subgraph.tensors[index] for index in indices if index != ABSENT]
        shown = [f"{tensor.dtype}{list(tensor.shape)}" for tensor in found[:_OUTLINED_TENSORS]]
        return ", ".join([*shown, *(["…"] if len(found) > len(shown) else [])])

    return [
        OutlineRow(_node_label(raw, names), raw.op, tensors(raw.inputs), tensors(raw.outputs))
        for raw in subgraph.operators
    ]


class _Importer:
    def __init__(self, source: str, model: RawModel, options: Options) -> None:
        self._source = source
        self._options = options
        self._subgraph = model.subgraphs[0]
        self._names = _unique_names(self._subgraph)
        self._variables = Variables(model)
        self._states: list[State] = []
        self._workshop = Workshop(QUANTISE)
        self._tensors = self._workshop.tensors
        self._refuse = self._workshop.refuse
        self._lacks_operator = False

    def graph(self) -> Graph:
        inputs = tuple(self._interface(index, "input") for index in self._subgraph.inputs)
        outputs = tuple(self._interface(index, "output") for index in self._subgraph.outputs)
        if len(set(inputs)) < len(inputs):
            self._refuse("inputs", "", "one tensor is listed as an input twice")
        if not outputs:
            self._refuse("outputs", "", "the model has no outputs")
        constants = {i for i, raw in enumerate(self._subgraph.tensors) if raw.data is not None}
        variables = {i for i, raw in enumerate(self._subgraph.tensors) if raw.is_variable}
        known = constants | variables | set(self._subgraph.inputs)
        nodes = []
        for raw in self._subgraph.operators:
            nodes += self._nodes(raw, known)
            known.update(raw.outputs)
        nodes += self._next_states()
        self._check_outputs(known - constants)
        for index in self._subgraph.inputs:
            if index in constants:
                self._refuse(self._label(index), "", "it is an input, but the file holds a value for it")
        if self._workshop.problems:
            if self._is_float():
                raise FloatModel(self._source)
            supported = f"Supported operators: {', '.join(sorted(CONVERTERS))}."
            raise UnsupportedModel(self._source, self._workshop.problems, supported if self._lacks_operator else "")
        tensors = MappingProxyType(dict(self._tensors))
        return Graph(self._source, tensors, tuple(nodes), inputs, outputs, tuple(self._states), tuple(self._notes()))

    def _is_float(self) -> bool:
        """Whether all inputs are float32, and nothing is quantised."""
        tensors = self._subgraph.tensors
        given = {tensors[index].dtype for index in self._subgraph.inputs}
        return given == {FLOAT32.name} and not {tensor.dtype for tensor in tensors} & _QUANTISED

    def _notes(self) -> Iterator[str]:
        if any(tensor.was_uint8 for tensor in self._subgraph.tensors):
            yield UINT8_NOTE
        yield from open_dimensions(self._subgraph)
        yield from self._workshop.notes

    def _next_states(self) -> list[Node]:
        """What variables hold from the end of the invocation on."""
        nodes = []
        try:
            for converted, state in self._variables.states():
                nodes.append(self._workshop.node(f"the next value of {state.read!r}", converted, "ASSIGN_VARIABLE", ()))
                self._states.append(state)
            self._tensors.update((tensor.name, tensor) for tensor in self._variables.constants())
        except Refused as refused:
            self._refuse("variables", "", refused.reason, refused.remedy)
        return nodes

    def _check_outputs(self, written: set[int]) -> None:
        depends = set(self._subgraph.inputs)
        for raw in self._subgraph.operators:
            if depends.intersection(raw.inputs) or raw.op == "READ_VARIABLE":
                depends.update(raw.outputs)
        for index in self._subgraph.outputs:
            if index not in written:
                self._refuse(self._label(index), "", "it is an output, but no operator writes it")
            elif index not in depends:
                self._refuse(self._label(index), "", "it is an output, but depends on no input", "leave it out")
            elif index not in self._subgraph.inputs and self._is_constant(index):
                self._refuse(self._label(index), "", "it is an output, but has the same value always", "leave it out")

    def _is_constant(self, index: int) -> bool:
        tensor = self._tensors.get(self._names[index])
        return tensor is not None and tensor.data is not None

    def _label(self, index: int) -> str:
        return f"tensor {index} ({_short(self._names[index])})"

    def _interface(self, index: int, role: str) -> str:
        try:
            tensor = self._tensor(index)
        except Refused as refused:
            self._refuse(self._label(index), "", refused.reason, refused.remedy)
            return self._names[index]
        if tensor.dtype not in STORED:
            supported = ", ".join(str(dtype) for dtype in STORED)
            self._refuse(self._label(index), "", f"the {role} is {tensor.dtype}, supported are {supported}", QUANTISE)
        return tensor.name

    def _tensor(self, index: int) -> Tensor:
        name = self._names[index]
        if name not in self._tensors:
            self._tensors[name] = _convert_tensor(name, self._subgraph.tensors[index])
        return self._tensors[name]

    def _nodes(self, raw: RawOperator, known: set[int]) -> list[Node]:
        names = self._names
        place = _node_label(raw, names)
        try:
            unwritten = [names[i] for i in raw.inputs if i != ABSENT and i not in known]
            if unwritten:
                raise Refused(f"it reads {unwritten[0]!r}, which nothing has written before")
            if raw.op in tflite_variables.OPERATORS:
                return self._variable_nodes(raw, place)
            rewritten = [names[i] for i in raw.outputs if i in known]
            if rewritten or len(set(raw.outputs)) < len(raw.outputs):
                raise Refused(f"it writes {(rewritten or [names[raw.outputs[0]]])[0]!r} a second time")
            convert = CONVERTERS.get(raw.op)
            if convert is None:
                self._lacks_operator = True
                raise Refused("the operator is not supported", INSTEAD.get(raw.op, INSTEAD_OF_ANY))
            self._check_uint8(raw)
            self._check_packed(raw)
            call = Call(
                raw,
                tuple(None if i == ABSENT else self._tensor(i) for i in raw.inputs),
                tuple(self._tensor(i) for i in raw.outputs),
                self._options.profile,
                any(self._subgraph.tensors[i].was_uint8 for i in raw.outputs),
            )
            parts = as_parts(convert(call))
            self._check_states(raw, {state.read for part in parts for state in part.states})
        except Refused as refused:
            self._refuse(place, raw.op, refused.reason, refused.remedy)
            return []
        for part in parts:
            self._states += part.states
        return self._workshop.nodes(place, parts, raw.op, self._settled(raw, parts))

    def _settled(self, raw: RawOperator, parts: Sequence[Converted]) -> tuple[Tensor, ...]:
        """The operator's outputs: where the file leaves dimensions open, its inputs decide, as in the runtimes."""
        part = parts[0]
        if len(parts) == 1 and part.outputs is None and not list(part.op.problems(part.inputs)):
            for index, made in zip(raw.outputs, part.op.output_types(part.inputs), strict=False):
                if self._subgraph.tensors[index].may_have(made.shape):
                    self._tensors[self._names[index]] = dataclasses.replace(self._tensor(index), shape=made.shape)
        return tuple(self._tensor(index) for index in raw.outputs)

    def _check_states(self, raw: RawOperator, held: set[str]) -> None:
        """Variable tensors are states, and states are variable tensors, each of one operator."""
        taken = {state.read for state in self._states} | {self._names[index] for index in self._subgraph.inputs}
        for index in raw.inputs:
            if index == ABSENT:
                continue
            name, is_variable = self._names[index], self._subgraph.tensors[index].is_variable
            if is_variable and name not in held:
                raise Refused(f"it reads the variable tensor {name!r}, which is not supported there")
            if name in held and not is_variable:
                raise Refused(f"its state {name!r} is no variable tensor, which the runtime refuses")
            if name in held and name in taken:
                raise Refused(f"its state {name!r} is that of another operator, or an input of the model")

    def _variable_nodes(self, raw: RawOperator, place: str) -> list[Node]:
        if raw.op == "VAR_HANDLE":
            self._variables.handle(raw)
        elif raw.op == "CALL_ONCE":
            self._variables.call_once(raw)
        elif raw.op == "ASSIGN_VARIABLE":
            self._variables.assign(raw, self._tensor(raw.inputs[1]))
        else:
            converted = self._variables.read(raw, self._tensor(raw.outputs[0]))
            return self._workshop.nodes(place, [converted], raw.op, ())
        return []

    def _check_uint8(self, raw: RawOperator) -> None:
        if not gives_the_same(self._subgraph, raw):
            raise Refused(
                "of uint8, it is not known to give the same on int8",
                "convert the model with a current converter, which makes int8 of it",
            )

    def _check_packed(self, raw: RawOperator) -> None:
        packed = {at for at, i in enumerate(raw.inputs) if i != ABSENT and self._subgraph.tensors[i].dtype == PACKED}
        for position in packed - PACKED_INPUTS.get(raw.op, frozenset()):
            name = self._names[raw.inputs[position]]
            raise Refused(f"it reads {name!r}, which is {PACKED}: only filters of {', '.join(PACKED_INPUTS)} can be")


@dataclass(frozen=True)
class FileView:
    """A model as its file has it, for who runs the file."""

    indices: Mapping[str, int]
    """Index of each tensor, by the name that it has in the graph."""
    tensors: Sequence[RawTensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: int | None
    """The batch that the file's shapes are for, where it is open."""
    on_uint8: bool
    """Whether operators compute on uint8."""
    signatures: Sequence[RawSignature]
    """Those of the subgraph that runs."""
    operators: frozenset[tuple[str, int]]
    """Names, with what not every runtime takes of them, and versions of all."""


def view(data: bytes, source: str) -> FileView:
    """The file itself, without what options make of it. Raises InvalidModel."""
    model = read_tflite(data, source)
    graph = model.subgraphs[0]
    indices = {name: index for index, name in enumerate(_unique_names(graph))}
    signatures = [signature for signature in model.signatures if signature.subgraph == 0]
    on_uint8 = computes_on_uint8(graph)
    operators = frozenset((_kind(graph, raw), raw.version) for raw in graph.operators)
    batch = file_batch(graph)
    return FileView(indices, graph.tensors, graph.inputs, graph.outputs, batch, on_uint8, signatures, operators)


def _kind(graph: RawSubgraph, raw: RawOperator) -> str:
    """An operator's name, with what not every runtime takes of it."""
    if raw.op == "FILL" and raw.inputs and graph.tensors[raw.inputs[0]].data is None:
        return "FILL of computed dimensions"
    if raw.op == "RESHAPE" and raw.inputs and raw.outputs:
        x, y = graph.tensors[raw.inputs[0]], graph.tensors[raw.outputs[0]]
        return "RESHAPE" if math.prod(x.shape) == math.prod(y.shape) else "RESHAPE to dimensions that are left open"
    return raw.op


def _node_label(raw: RawOperator, names: list[str]) -> str:
    return f"node {raw.index}" + (f" ({_short(names[raw.outputs[0]])})" if raw.outputs else "")


_LONGEST_LABEL = 60


def _short(name: str) -> str:
    """A name for messages: the converter joins the names of what it fused by semicolons, the first is enough."""
    first = name.split(";")[0] or name
    return first if len(first) <= _LONGEST_LABEL else first[: _LONGEST_LABEL - 3] + "..."


def _unique_names(subgraph: RawSubgraph) -> list[str]:
    seen: set[str] = set()
    names = []
    for tensor in subgraph.tensors:
        name = tensor.name or f"tensor_{tensor.index}"
        if name in seen:
            name = f"{name}#{tensor.index}"
        while name in seen:
            name += "'"
        seen.add(name)
        names.append(name)
    return names


def _convert_tensor(name: str, raw: RawTensor) -> Tensor:
    packed = raw.dtype == PACKED and raw.data is not None
    try:
        dtype = INT8 if packed else np.dtype(raw.dtype)
    except TypeError:
        dtype = None
    if dtype is None or dtype.isbuiltin != 1:  # other packages may add types to numpy's
        raise Refused(f"tensor {name!r} has the type {raw.dtype}, which is not supported")
    if any(dim < 1 for dim in raw.shape):
        raise Refused(f"tensor {name!r} has the shape {raw.shape}, all dimensions must be known and positive")
    quant = None
    if raw.quantization is not None:
        quant = Quant(raw.quantization.scale, raw.quantization.zero_point, raw.quantization.axis)
    data = unpacked(raw.data, raw.shape) if packed and raw.data is not None else raw.data
    tensor = Tensor(name, raw.shape, dtype, quant, None if data is None else read_only(data), packed)
    if tensor.bytes > LARGEST_TENSOR:
        raise Refused(f"tensor {name!r} takes {tensor.bytes} bytes, the limit is {LARGEST_TENSOR}")
    return tensor
