"""Models of uint8, as older converters write them: the same model of int8.

A uint8 value q with zero point z stands for the same number as the int8 value q - 128 with zero point z - 128, and
operators see only differences q - z: all values, zero points and constants move by 128, and nothing else changes. Where
an operator does more with a value, its importer asks whether it was uint8 (`RawTensor.was_uint8`): pools round the
values themselves, and filters have zero points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from tinygen.importers.tflite_file import ABSENT, RawModel, RawOperator, RawQuantization, RawSubgraph, RawTensor
from tinygen.ir import read_only

NOTE = "uint8 model, computed as int8: the same results"

_AS_IT_IS = frozenset(
    (
        *("ASSIGN_VARIABLE", "BROADCAST_TO", "CAST", "CONCATENATION", "DEQUANTIZE", "PACK", "READ_VARIABLE", "RESHAPE"),
        *("SHAPE", "SPLIT", "SPLIT_V", "SQUEEZE", "UNPACK"),
    )
)
"""Operators that take uint8 as it is."""

EXACT = frozenset(
    (
        *("ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "CONCATENATION", "CONV_2D"),
        *("DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "EXPAND_DIMS", "FULLY_CONNECTED", "HARD_SWISH"),
        *("LEAKY_RELU", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL"),
        *("PACK", "PAD", "PADV2", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RESHAPE"),
        *("RESIZE_NEAREST_NEIGHBOR", "SHAPE", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT"),
        *("SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "UNPACK"),
    )
)
"""Operators of uint8 that give the same as int8: the tests compare them with TensorFlow Lite's reference kernels.

Sums of FULLY_CONNECTED are rescaled as the profile says, like those of int8: runtimes differ there.
"""


def computes_on_uint8(graph: RawSubgraph) -> bool:
    """Whether some operator needs a form of its own for uint8."""
    return any(not _takes_uint8(graph, raw) for raw in graph.operators)


def without_uint8(model: RawModel) -> RawModel:
    """The model of int8, with inputs and outputs of uint8 behind QUANTIZE operators; itself if none is needed.

    It holds for operators that are EXACT.
    """
    graph = model.subgraphs[0]
    if not computes_on_uint8(graph):
        return model
    edges = {index for index in (*graph.inputs, *graph.outputs) if graph.tensors[index].dtype == "uint8"}
    inner = {index: len(graph.tensors) + place for place, index in enumerate(sorted(edges))}
    tensors = [tensor if tensor.index in edges else _moved(tensor) for tensor in graph.tensors]
    for index, copy in inner.items():
        tensor = graph.tensors[index]
        tensors.append(_moved(dataclasses.replace(tensor, index=copy, name=f"{tensor.name}/int8")))
    operators = [_rewired(raw, inner) for raw in graph.operators]
    before = _edges([(index, inner[index]) for index in graph.inputs if index in edges], len(operators))
    operators = [*before, *operators]
    written = [(inner[index], index) for index in graph.outputs if index in edges and index not in graph.inputs]
    operators += _edges(written, len(operators))
    changed = dataclasses.replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    return dataclasses.replace(model, subgraphs=(changed, *model.subgraphs[1:]))


def gives_the_same(graph: RawSubgraph, raw: RawOperator) -> bool:
    """Whether an operator, behind `without_uint8`, is known to compute what it did on uint8, if it did."""
    touched = [graph.tensors[index] for index in _indices(raw)]
    if not any(tensor.was_uint8 for tensor in touched):
        return True
    converts = raw.op != "QUANTIZE" or {tensor.dtype for tensor in touched} <= {"int8", "uint8", "float32"}
    return raw.op in EXACT and converts


def _takes_uint8(graph: RawSubgraph, raw: RawOperator) -> bool:
    """Whether an operator takes uint8 as it is. Values without a scale are not quantised, whatever they are."""
    touched = [graph.tensors[index] for index in _indices(raw)]
    if raw.op == "QUANTIZE":
        return {tensor.dtype for tensor in touched} not in ({"uint8"}, {"float32", "uint8"})
    is_quantised = any(tensor.dtype == "uint8" and tensor.quantization is not None for tensor in touched)
    return raw.op in _AS_IT_IS or not is_quantised


def _indices(raw: RawOperator) -> list[int]:
    return [index for index in (*raw.inputs, *raw.outputs) if index != ABSENT]


def _moved(tensor: RawTensor) -> RawTensor:
    if tensor.dtype != "uint8":
        return tensor
    quantization = tensor.quantization
    if quantization is not None:
        zero_point = read_only(quantization.zero_point - 128)
        quantization = RawQuantization(quantization.scale, zero_point, quantization.axis)
    data = tensor.data if tensor.data is None else read_only((tensor.data ^ np.uint8(128)).view(np.int8))
    return dataclasses.replace(tensor, dtype="int8", quantization=quantization, data=data, was_uint8=True)


def _rewired(raw: RawOperator, inner: Mapping[int, int]) -> RawOperator:
    inputs, outputs = (tuple(inner.get(i, i) for i in indices) for indices in (raw.inputs, raw.outputs))
    return dataclasses.replace(raw, inputs=inputs, outputs=outputs)


def _edges(pairs: Iterable[tuple[int, int]], first: int) -> list[RawOperator]:
    return [
        RawOperator(first + place, "QUANTIZE", 1, (source,), (target,), MappingProxyType({}))
        for place, (source, target) in enumerate(pairs)
    ]
