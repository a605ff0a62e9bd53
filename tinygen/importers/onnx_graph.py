"""A model of plain values whose shapes are all known, and which computes nothing that is known already.

Shapes come from `onnx`. What reads only constants is evaluated, in turns with the shapes: exporters compute the shapes
that they give to Reshape.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
from onnx.reference import ReferenceEvaluator

from tinygen.errors import InvalidModel, Problem, UnsupportedModel
from tinygen.importers.onnx_file import RawModel, RawNode, RawValue, shortened
from tinygen.importers.onnx_qoperators import DEQUANTIZE, KNOWN, in_standard_form
from tinygen.ir import Array, TensorType, read_only

_SAME = ("Identity", "Dropout")
_MOST_ROUNDS = 16
_MOST_FOLDED = 2**26
"""Elements of a result that is evaluated."""
_FOLDED = frozenset(
    (
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Exp", "Expand"),
        *("Flatten", "Floor", "Gather", "Greater", "Less", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or"),
        *("Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"),
        *("Relu", "Reshape", "ScatterND", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose"),
        *("Trilu", "Unsqueeze", "Where"),
    )
)
"""What is evaluated where it reads constants only."""


@dataclass(frozen=True)
class RawGraph:
    """Nodes in an order of execution; all values have a known type."""

    nodes: tuple[RawNode, ...]
    constants: Mapping[str, Array]
    types: Mapping[str, TensorType]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    has_open_batch: bool
    has_defaults: bool
    """As in the file: `RawModel`."""


def resolved(model: RawModel, source: str, batch: int | None) -> RawGraph:
    """The graph for that many inferences at once.

    Raises InvalidModel where shapes contradict each other, UnsupportedModel where they are not known.
    """
    inputs, is_open = _with_batch(model.inputs, source, batch)
    constants = dict(model.constants)
    nodes = list(_without_names_for_the_same(model.nodes, constants, model.outputs))
    nodes = in_standard_form(nodes, constants, model.opset)
    _expect_known_domains(nodes, source)
    names = tuple(value.name for value in inputs)
    graph = RawGraph(tuple(nodes), constants, {}, names, model.outputs, model.opset, is_open, model.has_defaults)
    for _ in range(_MOST_ROUNDS):
        graph = dataclasses.replace(graph, types=_inferred(graph, inputs, source))
        folded = _folded(graph, source)
        if len(folded.nodes) == len(graph.nodes):
            break
        graph = folded
    return _of_known_types(_live(graph), source)


def _with_batch(inputs: Sequence[RawValue], source: str, batch: int | None) -> tuple[list[RawValue], bool]:
    """The inputs with a size for every dimension, and whether their first was open."""
    found, problems = [], []
    is_open = any(value.shape and isinstance(value.shape[0], str) for value in inputs)
    for value in inputs:
        shape = list(value.shape)
        if shape and isinstance(shape[0], str):
            shape[0] = batch or 1
        place = f"the input {shortened(value.name)!r}"
        for axis, dim in enumerate(shape):
            if isinstance(dim, str):
                remedy = "export the model with a fixed size: only the first dimension, the batch, can be open"
                problems.append(Problem(place, "", f"its dimension {axis} ({shortened(dim)}) has no size", remedy))
        found.append(dataclasses.replace(value, shape=tuple(shape)))
    if batch is not None and not is_open and any(value.shape[:1] != (batch,) for value in inputs):
        reason = f"its batch is fixed at {inputs[0].shape[0] if inputs[0].shape else 'one'}, not {batch}"
        problems.append(
            Problem("the model", "", reason, "export it with an open first dimension, or leave --batch out")
        )
    if problems:
        raise UnsupportedModel(source, problems)
    return found, is_open


def _without_names_for_the_same(
    nodes: Sequence[RawNode], constants: dict[str, Array], outputs: Sequence[str]
) -> Iterator[RawNode]:
    """Constant nodes become constants; what hands a value on becomes that value, but for outputs of the model."""
    alias: dict[str, str] = {}
    for node in nodes:
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        value = _constant(node)
        if value is not None:
            constants[node.outputs[0]] = value
        elif node.op in _SAME and not node.domain and inputs and not set(node.outputs) & set(outputs):
            alias[node.outputs[0]] = inputs[0]
        else:
            yield dataclasses.replace(node, inputs=inputs)


def _constant(node: RawNode) -> Array | None:
    """The value of a Constant node, whichever attribute holds it."""
    if node.op != "Constant" or node.domain or not node.outputs:
        return None
    for name, dtype in (("value", None), ("value_float", np.float32), ("value_int", np.int64)):
        if name in node.attributes:
            return read_only(np.asarray(node.attributes[name], dtype))
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if name in node.attributes:
            return read_only(np.asarray(node.attributes[name], dtype))
    return None


def _expect_known_domains(nodes: Sequence[RawNode], source: str) -> None:
    problems = [
        Problem(
            node.label, node.op, f"the operator of {node.domain} is not supported", f"supported are {sorted(KNOWN)}"
        )
        for node in nodes
        if node.domain
    ]
    if problems:
        raise UnsupportedModel(source, problems)


def _inferred(graph: RawGraph, inputs: Sequence[RawValue], source: str) -> Mapping[str, TensorType]:
    """The types of all values, as far as they follow from the inputs'."""
    values = [
        onnx.helper.make_tensor_value_info(
            value.name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), [int(dim) for dim in value.shape]
        )
        for value in inputs
    ]
    unknown = [onnx.helper.make_empty_tensor_value_info(name) for name in graph.outputs]
    nodes = [
        onnx.helper.make_node(node.op, node.inputs, node.outputs, node.label, **_attributes(node, graph.opset))
        for node in graph.nodes
    ]
    used = {name for node in graph.nodes for name in node.inputs}
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in graph.constants.items() if name in used
    ]
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "graph", values, unknown, tensors),
        opset_imports=[onnx.helper.make_opsetid("", graph.opset)],
    )
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidModel(
            f"{source}: its shapes do not fit together: {_shortened_reason(reason)}", "Export the model again."
        ) from None
    types = {name: TensorType(array.shape, array.dtype) for name, array in graph.constants.items()}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            dims = tuple(dim.dim_value for dim in tensor.shape.dim)
            types[value.name] = TensorType(dims, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return types


_LONGEST_REASON = 240


def _shortened_reason(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 3] + "..."


_PER_AXIS = 13
"""The opset since which DequantizeLinear has an axis; ONNX Runtime's own operators had channels before."""


def _attributes(node: RawNode, opset: int) -> dict[str, Any]:
    """Without empty lists, which have no type, and what the opset lacks."""
    lacking = {(DEQUANTIZE, "axis")} if opset < _PER_AXIS else set()
    return {
        name: onnx.numpy_helper.from_array(np.asarray(value)) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
        if not (isinstance(value, list) and not value) and (node.op, name) not in lacking
    }


def _folded(graph: RawGraph, source: str) -> RawGraph:
    """Without the nodes whose results are known, or what they read."""
    constants = dict(graph.constants)
    alias: dict[str, str] = {}
    kept = []
    for found in graph.nodes:
        node = dataclasses.replace(found, inputs=tuple(alias.get(name, name) for name in found.inputs))
        values = _values(node, graph, constants)
        if set(node.outputs) & set(graph.outputs):
            kept.append(node)
        elif _is_cast_to_the_same(node, graph):
            alias[node.outputs[0]] = node.inputs[0]
        elif values is None:
            kept.append(node)
        else:
            constants.update(zip(node.outputs, values, strict=False))
    return dataclasses.replace(graph, nodes=tuple(kept), constants=constants)


def _is_cast_to_the_same(node: RawNode, graph: RawGraph) -> bool:
    """``CastElimination``: PyTorch writes such behind each QuantizeLinear."""
    known = graph.types.get(node.inputs[0]) if node.op == "Cast" and node.inputs else None
    return known is not None and onnx.helper.np_dtype_to_tensor_dtype(known.dtype) == node.attributes.get("to")


def _values(node: RawNode, graph: RawGraph, constants: Mapping[str, Array]) -> Sequence[Array] | None:
    if node.op in ("Shape", "Size") and node.inputs[0] in graph.types:
        shape = graph.types[node.inputs[0]].shape
        start, end = node.attributes.get("start", 0), node.attributes.get("end")
        found = np.array(shape[start:end] if node.op == "Shape" else math.prod(shape), np.int64)
        return [read_only(found)]
    inputs = [name for name in node.inputs if name]
    if node.op not in _FOLDED or not all(name in constants for name in inputs):
        return None
    types = [graph.types.get(name) for name in node.outputs]
    if any(known is None or math.prod(known.shape) > _MOST_FOLDED for known in types):
        return None
    return _evaluated(node, {name: constants[name] for name in inputs}, graph.opset)


def _evaluated(node: RawNode, inputs: Mapping[str, Array], opset: int) -> Sequence[Array] | None:
    """By the reference implementation of the standard; None where it fails, so that the node is refused later."""
    proto = onnx.helper.make_node(node.op, node.inputs, node.outputs, **_attributes(node, opset))
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    unknown = [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([proto], "node", values, unknown),
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )
    try:
        with np.errstate(all="ignore"):  # a file's constants can be anything
            found = ReferenceEvaluator(model).run(None, {name: np.asarray(array) for name, array in inputs.items()})
    except Exception:
        return None
    return [read_only(np.asarray(value)) for value in found]


_LARGEST_VALUE = 2**23
"""Elements of what is computed at run time: more than any microcontroller holds."""


def _of_known_types(graph: RawGraph, source: str) -> RawGraph:
    """The graph, whose values all have sizes that can be."""
    problems = []
    for node in graph.nodes:
        for name in filter(None, node.outputs):
            known = graph.types.get(name)
            if known is None:
                remedy = "simplify the model first, for example with onnxsim, or give shapes as constants"
                problems.append(Problem(node.label, node.op, f"the shape of {shortened(name)!r} is not known", remedy))
            elif any(dim < 1 for dim in known.shape):
                reason = f"{shortened(name)!r} has the shape {known.shape}, which holds nothing"
                problems.append(Problem(node.label, node.op, reason, ""))
            elif math.prod(known.shape) > _LARGEST_VALUE:
                reason = f"{shortened(name)!r} has the shape {known.shape}; {_LARGEST_VALUE:,} elements are the limit"
                problems.append(Problem(node.label, node.op, reason, ""))
    for name in graph.inputs:
        if math.prod(graph.types[name].shape) > _LARGEST_VALUE:
            reason = f"it has the shape {graph.types[name].shape}; {_LARGEST_VALUE:,} elements are the limit"
            problems.append(Problem(f"the input {shortened(name)!r}", "", reason, ""))
    if problems:
        raise UnsupportedModel(source, problems)
    return graph


def _live(graph: RawGraph) -> RawGraph:
    """Without nodes that no output depends on, and with a type for every value that is left."""
    needed = set(graph.outputs)
    nodes = []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            needed.update(node.inputs)
            nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(reversed(nodes)), constants=MappingProxyType(dict(graph.constants)))
