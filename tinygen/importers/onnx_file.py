"""The bytes of an .onnx file to plain values: nodes with their attributes, and constants as arrays.

Nothing is believed: sizes are compared with the bytes that are there before arrays are made of them, names must have
one meaning, and an order of execution must exist. Other files than this one are never opened.
"""

from __future__ import annotations

import dataclasses
import graphlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.numpy_helper
from google.protobuf.message import DecodeError

from tinygen.errors import InvalidModel
from tinygen.importers.onnx_inlining import NotInlined, inlined
from tinygen.ir import Array, read_only

OLDEST_OPSET = 10
MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
_STANDARD = ("", "ai.onnx")
_CONSTANTS_ARE_INPUTS = 3
"""The last version of the format (not of operators) in which constants have to be listed as inputs, too."""
_LONGEST_LABEL = 60
_MOST_NODES = 100_000
_MOST_ELEMENTS = 2**28
_TYPES: Mapping[int, np.dtype[Any]] = {
    int(onnx.TensorProto.FLOAT): np.dtype(np.float32),
    int(onnx.TensorProto.DOUBLE): np.dtype(np.float64),
    int(onnx.TensorProto.FLOAT16): np.dtype(np.float16),
    int(onnx.TensorProto.BOOL): np.dtype(np.bool_),
    **{
        int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))): np.dtype(name)
        for name in (*("int8", "uint8", "int16", "uint16", "int32", "int64"),)
    },
}
"""The types of tensors that are read, by their number in the file."""


@dataclass(frozen=True)
class RawNode:
    """One operator as the file has it. Inputs that are left out are empty names."""

    index: int
    """Its place in the file."""
    name: str
    op: str
    version: int
    """The opset that gives the operator its meaning; 1 for those of ONNX Runtime's own domain."""
    attributes: Mapping[str, Any]
    """int, float, str, lists of them, and arrays."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    in_integers: bool = False
    """Whether the file's operator computes on integers itself, without QuantizeLinear and DequantizeLinear."""

    @property
    def label(self) -> str:
        """What messages call it."""
        name = self.name or next(filter(None, self.outputs), "")
        return f"node {self.index}" + (f" ({shortened(name)})" if name else "")


@dataclass(frozen=True)
class RawValue:
    """An input or output of the model: its type, and its dimensions, of which those without a size have a name."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class RawModel:
    """The one graph of a file, in an order of execution."""

    opset: int
    nodes: tuple[RawNode, ...]
    constants: Mapping[str, Array]
    inputs: tuple[RawValue, ...]
    outputs: tuple[str, ...]
    has_defaults: bool
    """Whether some of the constants are inputs, too, which may be given or not: ONNX Runtime does not rely on them."""


def read_onnx(data: bytes, source: str) -> RawModel:
    """Decode the bytes of an .onnx file; `source` is its name, for messages.

    Raises InvalidModel for what is no valid model, or uses what is never supported: subgraphs, external data, other
    domains and opsets.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise InvalidModel(f"{source} is not an ONNX file, or is cut off", "Export the model again.") from None
    try:
        model = inlined(model)
    except NotInlined as error:
        raise InvalidModel(f"{source}: {error}", "Export the model without functions, conditions and loops.") from None
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise InvalidModel(f"{source}: a name in it is no text (UTF-8)", "Export the model again.")
    _keep_names_free(model.graph)
    if not model.HasField("graph") or not model.graph.node:
        raise InvalidModel(f"{source} holds no graph of ONNX operators", "Is it the right file?")
    return _Reader(source).model(model)


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source

    def _invalid(self, reason: str, remedy: str = "") -> InvalidModel:
        return InvalidModel(f"{self._source}: {reason}", remedy)

    def model(self, model: onnx.ModelProto) -> RawModel:
        opset = self._opset(model)
        graph = model.graph
        if graph.sparse_initializer:
            raise self._invalid("it has sparse constants, which are not supported", "Store them as dense ones.")
        if len(graph.node) > _MOST_NODES:
            raise self._invalid(f"it has {len(graph.node)} nodes, the limit is {_MOST_NODES}")
        constants = {}
        for tensor in graph.initializer:
            if not tensor.name or tensor.name in constants:
                raise self._invalid(f"the constant {shortened(tensor.name)!r} has no name of its own")
            constants[tensor.name] = self._array(tensor, f"the constant {shortened(tensor.name)!r}")
        nodes = [self._node(index, node, opset) for index, node in enumerate(graph.node)]
        # Files of old versions list constants as inputs, too.
        inputs = tuple(self._value(value) for value in graph.input if value.name not in constants)
        nodes = self._in_order(nodes, {*constants, *(value.name for value in inputs)})
        outputs = tuple(value.name for value in graph.output)
        self._check_interface(inputs, outputs, nodes, constants)
        self._check(model, nodes)
        has_defaults = len(inputs) < len(graph.input) and model.ir_version > _CONSTANTS_ARE_INPUTS
        return RawModel(opset, tuple(nodes), MappingProxyType(constants), inputs, outputs, has_defaults)

    def _opset(self, model: onnx.ModelProto) -> int:
        versions = {"" if entry.domain in _STANDARD else entry.domain: entry.version for entry in model.opset_import}
        newest = onnx.defs.onnx_opset_version()
        if "" not in versions:
            raise self._invalid("it names no opset of the standard operators", "Export the model again.")
        if not OLDEST_OPSET <= versions[""] <= newest:
            raise self._invalid(
                f"its operators are those of opset {versions['']}, supported are {OLDEST_OPSET} to {newest}",
                "Export it with an opset_version in this range, or convert it: onnx.version_converter.",
            )
        return int(versions[""])

    def _node(self, index: int, node: onnx.NodeProto, opset: int) -> RawNode:
        domain = "" if node.domain in _STANDARD else node.domain
        raw = RawNode(index, node.name, node.op_type, opset, {}, tuple(node.input), tuple(node.output), domain)
        if not node.op_type:
            raise self._invalid(f"{raw.label} has no operator")
        if domain not in ("", MICROSOFT):
            raise self._invalid(
                f"{raw.label}: {shortened(node.op_type)} is an operator of the domain {shortened(domain)!r}",
                f"Supported are the standard operators, and ONNX Runtime's for integers ({MICROSOFT}).",
            )
        attributes = {found.name: self._attribute(found, raw) for found in node.attribute}
        return dataclasses.replace(raw, attributes=MappingProxyType(attributes))

    def _attribute(self, attribute: onnx.AttributeProto, node: RawNode) -> Any:
        kind = attribute.type
        what = f"{node.label} {node.op}: the attribute {shortened(attribute.name)!r}"
        if kind in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise self._invalid(
                f"{node.label}: {node.op} holds a graph of its own, which is not supported",
                "Export the model without conditions and loops.",
            )
        if kind == onnx.AttributeProto.TENSOR:
            return self._array(attribute.t, what)
        supported = ("FLOAT", "INT", "STRING", "FLOATS", "INTS", "STRINGS")
        if kind not in [getattr(onnx.AttributeProto, name) for name in supported]:
            raise self._invalid(f"{what} is of a type that is not supported")
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if isinstance(value, int | float):
            return value
        return [item.decode(errors="replace") if isinstance(item, bytes) else item for item in value]

    def _array(self, tensor: onnx.TensorProto, what: str) -> Array:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise self._invalid(
                f"{what} is in another file, which is never opened",
                "Store the model in one file: onnx.save(onnx.load(PATH), OUT).",
            )
        dtype = _TYPES.get(tensor.data_type)
        if dtype is None:
            raise self._invalid(
                f"{what} is of {type_name(tensor.data_type)}, which is not supported",
                "Quantise weights to int8 or uint8: ONNX Runtime computes on other small types in float32.",
            )
        if any(dim < 0 for dim in tensor.dims) or math.prod(tensor.dims) > _MOST_ELEMENTS:
            raise self._invalid(f"{what} has the shape {list(tensor.dims)}")
        if tensor.HasField("raw_data"):
            found = len(tensor.raw_data) // dtype.itemsize
        else:
            fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
            found = max(len(field) for field in fields)
        if found != math.prod(tensor.dims):
            raise self._invalid(f"{what} has {found} values, its shape {list(tensor.dims)} asks for others")
        try:
            return read_only(onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, OverflowError) as error:
            raise self._invalid(f"{what} cannot be read: {error}") from None

    def _value(self, value: onnx.ValueInfoProto) -> RawValue:
        what = f"the input {shortened(value.name)!r}"
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or tensor.elem_type not in _TYPES:
            raise self._invalid(f"{what} is of {type_name(tensor.elem_type)}, which is not supported")
        if not tensor.HasField("shape"):
            raise self._invalid(f"{what} has no shape", "Export the model with the shapes of its inputs.")
        dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
        if any(isinstance(dim, int) and dim < 1 for dim in dims) or math.prod(_sizes(dims)) > _MOST_ELEMENTS:
            raise self._invalid(f"{what} has the shape {dims}")
        return RawValue(value.name, _TYPES[tensor.elem_type], tuple(dims))

    def _in_order(self, nodes: Sequence[RawNode], given: set[str]) -> list[RawNode]:
        """The nodes so that each one reads what is there already; in the file's order where that is one."""
        writers: dict[str, RawNode] = {}
        for node in nodes:
            for name in filter(None, node.outputs):
                if name in writers or name in given:
                    raise self._invalid(f"{node.label} {node.op} writes {shortened(name)!r}, which is there already")
                writers[name] = node
        order: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter()
        for node in nodes:
            for name in filter(None, node.inputs):
                if name not in writers and name not in given:
                    raise self._invalid(
                        f"{node.label} {node.op} reads {shortened(name)!r}, which nothing writes",
                        "Export the model again, with its constants.",
                    )
            order.add(node.index, *(writers[name].index for name in node.inputs if name in writers))
        try:
            sequence = list(order.static_order())
        except graphlib.CycleError as error:
            on_cycle = nodes[error.args[1][0]]
            raise self._invalid(f"{on_cycle.label} {on_cycle.op} reads what is computed from its own result") from None
        seen = set(given)
        for node in nodes:
            if not seen.issuperset(filter(None, node.inputs)):
                return [nodes[index] for index in sequence]
            seen.update(node.outputs)
        return list(nodes)

    def _check_interface(
        self,
        inputs: Sequence[RawValue],
        outputs: Sequence[str],
        nodes: Sequence[RawNode],
        constants: Collection[str],
    ) -> None:
        names = [value.name for value in inputs]
        if not outputs:
            raise self._invalid("it has no outputs")
        if len(set(names)) < len(names) or "" in names:
            raise self._invalid("two of its inputs have the same name")
        written = {name for node in nodes for name in node.outputs}
        for name in outputs:
            if name not in written:
                known = "is an input, or a constant" if name in names or name in constants else "is never written"
                raise self._invalid(f"the output {shortened(name)!r} {known}")

    def _check(self, model: onnx.ModelProto, nodes: Sequence[RawNode]) -> None:
        """What the standard says of the operators' inputs and attributes."""
        checked = onnx.ModelProto()
        checked.CopyFrom(model)
        del checked.graph.node[:]
        checked.graph.node.extend(model.graph.node[node.index] for node in nodes)
        for named in (*checked.opset_import, *checked.graph.node):
            named.domain = "" if named.domain in _STANDARD else named.domain
        try:
            onnx.checker.check_model(checked)
        except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[:1] or ["no reason given"]
            has_scales = "axis for operator" in first[0] and "antizeLinear" in first[0]
            remedy = "in opset 13 or newer, which has scales for each channel" if has_scales else "again"
            raise self._invalid(f"it breaks the rules of ONNX: {first[0]}", f"Export the model {remedy}.") from None


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """Names of all kinds; protobuf gives bytes for what cannot be decoded."""
    graph = model.graph
    yield from (entry.domain for entry in model.opset_import)
    for value in (*graph.initializer, *graph.input, *graph.output):
        yield value.name
    for value in (*graph.input, *graph.output):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


OURS = "~"
"""What stands in names that the file does not have."""


def _keep_names_free(graph: onnx.GraphProto) -> None:
    """Take OURS out of the file's names; they stay different."""
    given = {name for node in graph.node for name in (*node.input, *node.output)}
    given.update(value.name for value in (*graph.initializer, *graph.input, *graph.output))
    names: dict[str, str] = {}
    for name in sorted(name for name in given if OURS in name):
        free = name.replace(OURS, "-")
        while free in given:
            free += "'"
        given.add(free)
        names[name] = free
    if names:
        for value in (*graph.initializer, *graph.input, *graph.output):
            value.name = names.get(value.name, value.name)
        for node in graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]


def _sizes(dims: Sequence[int | str]) -> Iterator[int]:
    return (dim for dim in dims if isinstance(dim, int))


def type_name(number: int) -> str:
    """A type of tensors by its number in the file, in words."""
    try:
        return str(onnx.TensorProto.DataType.Name(number)).lower()
    except ValueError:
        return f"the type {number}"


def shortened(name: str) -> str:
    """A name for messages: the converter joins the names of what it fused by semicolons, the first is enough."""
    first = name.split(";")[0] or name
    return first if len(first) <= _LONGEST_LABEL else first[: _LONGEST_LABEL - 3] + "..."
