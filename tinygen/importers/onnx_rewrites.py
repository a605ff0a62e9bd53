"""What ONNX Runtime does to a graph before it computes on integers, where it changes results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tinygen.importers.onnx_file import RawNode
from tinygen.importers.onnx_graph import RawGraph
from tinygen.importers.onnx_integer_products import with_scaled_sums
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.importers.onnx_wiring import Wiring
from tinygen.ir import Array, TensorType, read_only


def rewritten(graph: RawGraph) -> RawGraph:
    """The graph whose operators are those that ONNX Runtime runs."""
    graph = _with_single_pairs(_with_late_biases(_with_biases(_with_real_bounds(graph))))
    return with_scaled_sums(graph)


def _with_real_bounds(graph: RawGraph) -> RawGraph:
    """Bounds of Clip that are constants behind DequantizeLinear become real constants."""
    wiring, constants, nodes = Wiring.of(graph), dict(graph.constants), []
    for node in graph.nodes:
        following = wiring.readers(node.outputs[0]) if node.op == DEQUANTIZE else ()
        is_bound = bool(following) and all(
            reader.op == "Clip" and reader.inputs[0] != node.outputs[0] for reader in following
        )
        quant = _range(node, constants) if is_bound and node.inputs[0] in constants else None
        if quant is None or constants[node.inputs[0]].size != 1:
            nodes.append(node)
            continue
        difference = int(constants[node.inputs[0]].reshape(-1)[0]) - quant[1]
        constants[node.outputs[0]] = read_only(np.asarray(np.float32(difference) * quant[0]))
    return dataclasses.replace(graph, nodes=tuple(nodes), constants=constants)


def _with_biases(graph: RawGraph) -> RawGraph:
    """``MatMulAddFusion``: MatMul and Add of a constant row become Gemm.

    Of more than two dimensions it is MatMul with a third input, its bias.
    """
    wiring = Wiring.of(graph)
    gone: dict[int, RawNode] = {}
    taken: set[int] = set()
    for place, node in enumerate(graph.nodes):
        add = wiring.only_reader(node.outputs[0]) if node.op == "MatMul" and node.outputs else None
        if add is None or add.op != "Add":
            continue
        others = [name for name in add.inputs if name != node.outputs[0]]
        if len(others) != 1 or not _is_row(others[0], graph, wiring):
            continue
        if graph.types[add.outputs[0]].shape != graph.types[node.outputs[0]].shape:
            continue
        gone[place] = node
        taken.add(graph.nodes.index(add))
        gone[graph.nodes.index(add)] = dataclasses.replace(
            node,
            op="Gemm" if len(graph.types[node.inputs[0]].shape) == 2 else node.op,
            inputs=(*node.inputs[:2], others[0]),
            outputs=add.outputs,
        )
    nodes = [
        gone[place] if place in taken else node
        for place, node in enumerate(graph.nodes)
        if place in taken or place not in gone
    ]
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _is_row(name: str, graph: RawGraph, wiring: Wiring) -> bool:
    """Whether a value is a constant, or one behind DequantizeLinear, of one dimension that is not one."""
    writer = wiring.writers.get(name)
    source = writer.inputs[0] if writer is not None and writer.op == DEQUANTIZE else name
    if source not in graph.constants:
        return False
    is_bias = graph.constants[source].dtype in (np.dtype(np.int32), np.dtype(np.float32))
    shape = graph.constants[source].shape
    return is_bias and len(shape) >= 1 and all(dim == 1 for dim in shape[:-1])


def _with_late_biases(graph: RawGraph) -> RawGraph:
    """``ConvAddActivationFusion``: Conv adds its sum to what Add has besides it, and then the bias."""
    wiring, constants, types = Wiring.of(graph), dict(graph.constants), dict(graph.types)
    nodes: list[RawNode] = []
    late: dict[int, str] = {}
    for node in graph.nodes:
        add = wiring.only_reader(node.outputs[0])
        bias = None if add is None or not _is_added(node, add, graph) else _real_bias(node, constants, wiring)
        if add is None or bias is None or add.index in late:
            nodes.append(node)
            continue
        name = f"{node.outputs[0]}~bias"
        constants[name] = read_only(bias.reshape(-1, *[1] * (len(graph.types[node.outputs[0]].shape) - 2)))
        types[name] = TensorType(constants[name].shape, constants[name].dtype)
        late[add.index] = name
        nodes.append(dataclasses.replace(node, inputs=node.inputs[:2]))
    found: list[RawNode] = []
    for node in nodes:
        if node.op != "Add" or node.index not in late:
            found.append(node)
            continue
        summed = f"{node.outputs[0]}~summed"
        types[summed] = types[node.outputs[0]]
        found.append(dataclasses.replace(node, outputs=(summed,)))
        found.append(dataclasses.replace(node, inputs=(summed, late[node.index])))
    return dataclasses.replace(graph, nodes=tuple(found), constants=constants, types=types)


def _is_added(conv: RawNode, add: RawNode, graph: RawGraph) -> bool:
    """Whether a node adds the results of Conv to other computed values of the same shape."""
    if conv.op != "Conv" or conv.in_integers or add.op != "Add":
        return False
    others = [name for name in add.inputs if name != conv.outputs[0]]
    if len(others) != 1 or others[0] in graph.constants:
        return False
    return graph.types[others[0]].shape == graph.types[conv.outputs[0]].shape


def _real_bias(conv: RawNode, constants: Mapping[str, Array], wiring: Wiring) -> Array | None:
    """The bias of a Conv in float32; None where it has none, or none that is known."""
    name = conv.inputs[2] if len(conv.inputs) > 2 else ""
    if name in constants:
        return constants[name] if constants[name].dtype == np.float32 and constants[name].ndim == 1 else None
    writer = wiring.writers.get(name)
    if writer is None or writer.op != DEQUANTIZE or not all(given in constants for given in writer.inputs if given):
        return None
    values, scale, *zero_point = (constants[given] for given in writer.inputs if given)
    if values.ndim != 1 or scale.size not in (1, values.size) or scale.dtype != np.float32:
        return None
    differences = values.astype(np.int64) - (zero_point[0].astype(np.int64) if zero_point else 0)
    return np.asarray(differences.astype(np.float32) * scale.reshape(-1))


def _with_single_pairs(graph: RawGraph) -> RawGraph:
    """``DoubleQDQPairsRemover``: of two pairs of QuantizeLinear and DequantizeLinear in a row, one is left.

    It has the range that both leave, in new steps.
    """
    constants = dict(graph.constants)
    nodes = list(graph.nodes)
    changed: dict[int, RawNode | None] = {}
    wiring = Wiring.of(graph)
    places = {id(node): place for place, node in enumerate(nodes)}
    for node in nodes:
        chain = _double_pair(node, wiring)
        if chain is None or any(places[id(part)] in changed for part in chain):
            continue
        first, inner, second, *last = chain
        outer, within = _range(first, constants), _range(second, constants)
        dtype = graph.types[first.outputs[0]].dtype
        if outer is None or within is None or graph.types[second.outputs[0]].dtype != dtype:
            continue
        found = _common(outer, within, dtype)
        if found is None:
            continue
        names = tuple(f"{second.outputs[0]}~{what}" for what in ("scale", "zero_point"))
        constants.update(zip(names, found, strict=True))
        changed[places[id(inner)]] = changed[places[id(second)]] = None
        changed[places[id(first)]] = dataclasses.replace(first, inputs=(first.inputs[0], *names))
        for part in last:
            changed[places[id(part)]] = dataclasses.replace(part, inputs=(first.outputs[0], *names))
    if not changed:
        return graph
    kept = [changed.get(place, node) for place, node in enumerate(nodes)]
    return dataclasses.replace(graph, nodes=tuple(node for node in kept if node is not None), constants=constants)


def _double_pair(inner: RawNode, wiring: Wiring) -> list[RawNode] | None:
    """QuantizeLinear, DequantizeLinear (`inner`), QuantizeLinear, and the DequantizeLinear that read it."""
    if inner.op != DEQUANTIZE or inner.in_integers:
        return None
    first, second = wiring.writers.get(inner.inputs[0]), wiring.only_reader(inner.outputs[0])
    if first is None or first.op != QUANTIZE or second is None or second.op != QUANTIZE:
        return None
    last = wiring.readers(second.outputs[0])
    if wiring.only_reader(first.outputs[0]) is None or second.outputs[0] in wiring.outputs:
        return None
    if not last or any(node.op != DEQUANTIZE for node in last):
        return None
    return [first, inner, second, *last]


def _range(node: RawNode, constants: Mapping[str, Array]) -> tuple[np.float32, int] | None:
    """Scale and zero point that are constant, one of each, and given."""
    if len(node.inputs) < 3 or not all(name in constants and constants[name].size == 1 for name in node.inputs[1:3]):
        return None
    scale, zero_point = (constants[name].reshape(-1)[0] for name in node.inputs[1:3])
    return np.float32(scale), int(zero_point)


def _common(
    first: tuple[np.float32, int], second: tuple[np.float32, int], dtype: np.dtype[np.generic]
) -> tuple[Array, Array] | None:
    """Scale and zero point for the reals that both can hold; None where they are the same, or share none."""
    if first == second or dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        return None
    limits = np.iinfo(str(dtype))
    ends = [[np.float32(end - zero) * scale for end in (limits.min, limits.max)] for scale, zero in (first, second)]
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    if not low < high:
        return None
    scale = (high - low) / np.float32(limits.max - limits.min)
    zero_point = np.rint(np.float32(limits.min) - low / scale)
    return read_only(np.asarray(scale, np.float32)), read_only(np.asarray(zero_point, dtype))
