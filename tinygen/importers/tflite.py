"""TensorFlow Lite to IR, in the arithmetic of TensorFlow Lite Micro.

This is where a file's meaning is decided: multipliers, paddings, clamps and zero points become explicit attributes of
the operators. One function per operator, listed in one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygen import fixedpoint
from tinygen.errors import Problem, UnsupportedModel
from tinygen.fixedpoint import Requant
from tinygen.importers import OutlineRow
from tinygen.importers.tflite_file import ABSENT, RawOperator, RawSubgraph, RawTensor, read_tflite
from tinygen.ir import Graph, Node, Op, Quant, Tensor, read_only
from tinygen.ops.add import Add
from tinygen.ops.common import FLOAT32, INT8, INT32, Clamp
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ops.quantize import Dequantize, Quantize, Requantize
from tinygen.ops.reshape import Reshape
from tinygen.ops.softmax import Softmax
from tinygen.ops.window import Axis, Window, same_padding

_LARGEST_TENSOR = 2**30
"""Bytes; the generated C counts in int32."""

_QUANTISE = (
    "quantise the whole model to int8: converter.optimizations = [tf.lite.Optimize.DEFAULT], a "
    "representative_dataset, and target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)


def read(data: bytes, source: str) -> Graph:
    """Decode the bytes of a .tflite file; `source` is its name, for messages.

    Raises InvalidModel when the file is not readable, UnsupportedModel with every reason when parts of it cannot be
    built.
    """
    raw = read_tflite(data, source)
    return _Importer(source, raw.subgraphs[0]).graph()


_OUTLINED_TENSORS = 3


def outline(data: bytes, source: str) -> list[OutlineRow]:
    """The operators of the file, for looking at models that cannot be built. Raises InvalidModel."""
    subgraph = read_tflite(data, source).subgraphs[0]
    names = _unique_names(subgraph)

    def tensors(indices: tuple[int, ...]) -> str:
        found = [subgraph.tensors[index] for index in indices if index != ABSENT]
        shown = [f"{tensor.dtype}{list(tensor.shape)}" for tensor in found[:_OUTLINED_TENSORS]]
        return ", ".join([*shown, *(["…"] if len(found) > len(shown) else [])])

    return [
        OutlineRow(_node_label(raw, names), raw.op, tensors(raw.inputs), tensors(raw.outputs))
        for raw in subgraph.operators
    ]


class _Refused(Exception):
    """An operator that cannot be built; carries the reason and a remedy."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class _Converted:
    """An operator, and the tensors that it reads in the order in which it wants them."""

    op: Op
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Call:
    """One operator of the file with its tensors resolved."""

    raw: RawOperator
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    def input(self, index: int, role: str) -> Tensor:
        """An input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise _Refused(f"its {role} (input {index}) is missing")
        return found

    @property
    def output(self) -> Tensor:
        """The only output."""
        if len(self.outputs) != 1:
            raise _Refused(f"it has {len(self.outputs)} outputs, expected is 1")
        return self.outputs[0]

    def option(self, name: str) -> Any:
        """A field of the option table."""
        return self.raw.options[name]


class _Importer:
    def __init__(self, source: str, subgraph: RawSubgraph) -> None:
        self._source = source
        self._subgraph = subgraph
        self._names = _unique_names(subgraph)
        self._tensors: dict[str, Tensor] = {}
        self._problems: list[Problem] = []
        self._lacks_operator = False

    def graph(self) -> Graph:
        inputs = tuple(self._interface(index, "input") for index in self._subgraph.inputs)
        outputs = tuple(self._interface(index, "output") for index in self._subgraph.outputs)
        if len(set(inputs)) < len(inputs):
            self._refuse("inputs", "", "one tensor is listed as an input twice")
        if not outputs:
            self._refuse("outputs", "", "the model has no outputs")
        constants = {i for i, raw in enumerate(self._subgraph.tensors) if raw.data is not None}
        known = constants | set(self._subgraph.inputs)
        nodes = []
        for raw in self._subgraph.operators:
            node = self._node(raw, known)
            if node is not None:
                nodes.append(node)
            known.update(raw.outputs)
        self._check_outputs(known - constants)
        for index in self._subgraph.inputs:
            if index in constants:
                self._refuse(self._label(index), "", "it is an input, but the file holds a value for it")
        if self._problems:
            supported = f"Supported operators: {', '.join(sorted(_CONVERTERS))}."
            raise UnsupportedModel(self._source, self._problems, supported if self._lacks_operator else "")
        return Graph(self._source, MappingProxyType(dict(self._tensors)), tuple(nodes), inputs, outputs)

    def _check_outputs(self, written: set[int]) -> None:
        depends = set(self._subgraph.inputs)
        for raw in self._subgraph.operators:
            if depends.intersection(raw.inputs):
                depends.update(raw.outputs)
        for index in self._subgraph.outputs:
            if index not in written:
                self._refuse(self._label(index), "", "it is an output, but no operator writes it")
            elif index not in depends:
                self._refuse(self._label(index), "", "it is an output, but depends on no input", "leave it out")

    def _refuse(self, place: str, operator: str, reason: str, remedy: str = "") -> None:
        self._problems.append(Problem(place, operator, reason, remedy))

    def _label(self, index: int) -> str:
        return f"tensor {index} ({_short(self._names[index])})"

    def _interface(self, index: int, role: str) -> str:
        try:
            tensor = self._tensor(index)
        except _Refused as refused:
            self._refuse(self._label(index), "", refused.reason, refused.remedy)
            return self._names[index]
        if tensor.dtype not in (INT8, FLOAT32):
            self._refuse(
                self._label(index), "", f"the {role} is {tensor.dtype}, supported are int8 and float32", _QUANTISE
            )
        return tensor.name

    def _tensor(self, index: int) -> Tensor:
        name = self._names[index]
        if name not in self._tensors:
            self._tensors[name] = _convert_tensor(name, self._subgraph.tensors[index])
        return self._tensors[name]

    def _node(self, raw: RawOperator, known: set[int]) -> Node | None:
        names = self._names
        place = _node_label(raw, names)
        try:
            convert = _CONVERTERS.get(raw.op)
            if convert is None:
                self._lacks_operator = True
                raise _Refused("the operator is not supported", _INSTEAD.get(raw.op, _INSTEAD_OF_ANY))
            unwritten = [names[i] for i in raw.inputs if i != ABSENT and i not in known]
            if unwritten:
                raise _Refused(f"it reads {unwritten[0]!r}, which nothing has written before")
            rewritten = [names[i] for i in raw.outputs if i in known]
            if rewritten or len(set(raw.outputs)) < len(raw.outputs):
                raise _Refused(f"it writes {(rewritten or [names[raw.outputs[0]]])[0]!r} a second time")
            call = _Call(
                raw,
                tuple(None if i == ABSENT else self._tensor(i) for i in raw.inputs),
                tuple(self._tensor(i) for i in raw.outputs),
            )
            converted = convert(call)
        except _Refused as refused:
            self._refuse(place, raw.op, refused.reason, refused.remedy)
            return None
        return self._checked(place, converted, call)

    def _checked(self, place: str, converted: _Converted, call: _Call) -> Node | None:
        problems = list(converted.op.problems(converted.inputs))
        if not problems:
            expected = converted.op.output_types(converted.inputs)
            found = tuple(tensor.type for tensor in call.outputs)
            if expected != found:
                shapes = [f"{t.dtype} {t.shape}" for t in (*expected, *found)]
                problems.append(f"its inputs make {shapes[0]}, its output is declared {shapes[-1]}")
        for problem in problems:
            is_float = any(t.dtype == FLOAT32 for t in converted.inputs)
            self._refuse(place, call.raw.op, problem, _QUANTISE if is_float else "")
        for tensor in converted.inputs:
            self._tensors.setdefault(tensor.name, tensor)
        names = tuple(tensor.name for tensor in converted.inputs)
        return Node(place, converted.op, names, tuple(tensor.name for tensor in call.outputs))


def tensor_indices(data: bytes, source: str) -> Mapping[str, int]:
    """Index in the file of each tensor, by the name that it has in the graph."""
    return {name: index for index, name in enumerate(_unique_names(read_tflite(data, source).subgraphs[0]))}


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
    try:
        dtype = np.dtype(raw.dtype)
    except TypeError:
        raise _Refused(f"tensor {name!r} has the type {raw.dtype}, which is not supported") from None
    if raw.is_variable:
        raise _Refused(f"tensor {name!r} is a variable, which is not supported")
    if any(dim < 1 for dim in raw.shape):
        raise _Refused(f"tensor {name!r} has the shape {raw.shape}, all dimensions must be known and positive")
    quant = None
    if raw.quantization is not None:
        quant = Quant(raw.quantization.scale, raw.quantization.zero_point, raw.quantization.axis)
    tensor = Tensor(name, raw.shape, dtype, quant, None if raw.data is None else read_only(raw.data))
    if tensor.bytes > _LARGEST_TENSOR:
        raise _Refused(f"tensor {name!r} takes {tensor.bytes} bytes, the limit is {_LARGEST_TENSOR}")
    return tensor


# What operators share.


def _activation(tensor: Tensor, role: str) -> tuple[float, int]:
    """Scale (as float64) and zero point of a tensor that must have one of each."""
    if tensor.dtype == FLOAT32:
        raise _Refused(f"the {role} {tensor.name!r} is float32, supported is int8", _QUANTISE)
    if tensor.quant is None:
        raise _Refused(f"the {role} {tensor.name!r} has no scale", _QUANTISE)
    if tensor.quant.scale.size != 1:
        raise _Refused(f"the {role} {tensor.name!r} has {tensor.quant.scale.size} scales, expected is one")
    zero_point = int(tensor.quant.zero_point[0])
    if tensor.dtype == INT8 and not -128 <= zero_point <= 127:
        raise _Refused(f"the {role} {tensor.name!r} has the zero point {zero_point}, outside int8")
    return float(tensor.quant.scale[0]), zero_point


def _filter_scales(weights: Tensor, axis: int) -> np.ndarray:
    """Scales (float64) of a convolution's filter: zero points must be zero, per-channel ones run along `axis`."""
    if weights.dtype == FLOAT32 or weights.quant is None:
        raise _Refused(f"the filter {weights.name!r} is not quantised", _QUANTISE)
    if np.any(weights.quant.zero_point):
        raise _Refused("the filter has a zero point other than 0", "convert with symmetric int8 weights")
    if weights.quant.scale.size > 1 and weights.quant.axis != axis:
        raise _Refused(f"the filter's scales run along dimension {weights.quant.axis}, expected is {axis}")
    return weights.quant.scale.astype(np.float64)


def _clamp(call: _Call, output: Tensor) -> Clamp:
    """``CalculateActivationRangeQuantized``: the range of int8 that the fused activation leaves."""
    activation = call.option("fused_activation_function")
    scale, zero_point = _activation(output, "output")

    def quantized(value: float) -> int:
        if abs(value) > fixedpoint.INT32_MAX * scale:
            raise _Refused(f"the output's scale {scale:g} is too small for a fused {activation}")
        return zero_point + fixedpoint.round_half_away(float(np.float32(value) / np.float32(scale)))

    ranges: Mapping[str, Callable[[], Clamp]] = {
        "NONE": lambda: (-128, 127),
        "RELU": lambda: (quantized(0.0), 127),
        "RELU6": lambda: (quantized(0.0), quantized(6.0)),
        "RELU_N1_TO_1": lambda: (quantized(-1.0), quantized(1.0)),
    }
    if activation not in ranges:
        raise _Refused(f"the fused activation {activation} is not supported", f"supported are {', '.join(ranges)}")
    low, high = ranges[activation]()
    return max(low, -128), min(high, 127)


def _bias(call: _Call, filters: int) -> Tensor:
    given = call.inputs[2] if len(call.inputs) > 2 else None
    if given is not None:
        return given
    zeros = read_only(np.zeros(filters, np.int32))
    return Tensor(f"{call.output.name}/no_bias", (filters,), INT32, None, zeros)


_LARGEST_STEP = 32767


def _window(call: _Call, x: Tensor, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Window:
    if len(x.shape) != 4:
        raise _Refused(f"the input has {len(x.shape)} dimensions {x.shape}, expected are 4")
    strides = (int(call.option("stride_h")), int(call.option("stride_w")))
    if min(*strides, *dilation, *kernel) < 1:
        raise _Refused(f"kernel {kernel}, stride {strides} and dilation {dilation} must all be at least 1")
    if max(*strides, *dilation) > _LARGEST_STEP:
        raise _Refused(f"stride {strides} or dilation {dilation} is beyond {_LARGEST_STEP}")
    axes = []
    for size, taps, stride, spread in zip(x.shape[1:3], kernel, strides, dilation, strict=True):
        same = call.option("padding") == "SAME"
        before, after = same_padding(size, taps, stride, spread) if same else (0, 0)
        axes.append(Axis(taps, stride, spread, before, after))
    rows, columns = (size + axis.before + axis.after for size, axis in zip(x.shape[1:3], axes, strict=True))
    if rows * columns * x.shape[3] > _LARGEST_TENSOR:
        raise _Refused(f"with its padding the input has {rows} x {columns} pixels, which is too large")
    return Window(axes[0], axes[1])


# One function per operator.


def _convolution(call: _Call, op: type[Conv2D] | type[DepthwiseConv2D], filter_axis: int) -> _Converted:
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    if len(weights.shape) != 4:
        raise _Refused(f"the filter has {len(weights.shape)} dimensions {weights.shape}, expected are 4")
    x_scale, x_zero = _activation(x, "input")
    y_scale, y_zero = _activation(y, "output")
    dilation = (int(call.option("dilation_h_factor")), int(call.option("dilation_w_factor")))
    converted = op(
        window=_window(call, x, (weights.shape[1], weights.shape[2]), dilation),
        zero_point=x_zero,
        output_zero_point=y_zero,
        requant=Requant.from_scales(x_scale * _filter_scales(weights, filter_axis) / y_scale),
        clamp=_clamp(call, y),
    )
    return _Converted(converted, (x, weights, _bias(call, weights.shape[filter_axis])))


def _conv_2d(call: _Call) -> _Converted:
    return _convolution(call, Conv2D, 0)


def _depthwise_conv_2d(call: _Call) -> _Converted:
    return _convolution(call, DepthwiseConv2D, 3)


def _fully_connected(call: _Call) -> _Converted:
    x, weights, y = call.input(0, "input"), call.input(1, "filter"), call.output
    if call.option("weights_format") != "DEFAULT":
        raise _Refused(f"the weights format {call.option('weights_format')} is not supported")
    x_scale, x_zero = _activation(x, "input")
    y_scale, y_zero = _activation(y, "output")
    if weights.dtype == FLOAT32 or weights.quant is None:
        raise _Refused(f"the filter {weights.name!r} is not quantised", _QUANTISE)
    zero_points = np.unique(weights.quant.zero_point)
    if not -128 <= zero_points[0] <= zero_points[-1] <= 127:
        raise _Refused(f"the filter has the zero point {zero_points[0]}, outside int8")
    if zero_points.size != 1 or (weights.quant.scale.size > 1 and zero_points[0]):
        raise _Refused("per-channel filter scales come with zero points other than 0")
    op = FullyConnected(
        zero_point=x_zero,
        weight_zero_point=int(zero_points[0]),
        output_zero_point=y_zero,
        requant=Requant.from_scales(x_scale * weights.quant.scale.astype(np.float64) / y_scale),
        clamp=_clamp(call, y),
        keep_num_dims=bool(call.option("keep_num_dims")),
    )
    return _Converted(op, (x, weights, _bias(call, weights.shape[0] if weights.shape else 0)))


def _pool(call: _Call, op: type[AveragePool2D] | type[MaxPool2D]) -> _Converted:
    x, y = call.input(0, "input"), call.output
    if _activation(x, "input") != _activation(y, "output"):
        raise _Refused("input and output have different scales or zero points, which the runtimes ignore")
    kernel = (int(call.option("filter_height")), int(call.option("filter_width")))
    return _Converted(op(_window(call, x, kernel), _clamp(call, y)), (x,))


def _average_pool_2d(call: _Call) -> _Converted:
    return _pool(call, AveragePool2D)


def _max_pool_2d(call: _Call) -> _Converted:
    return _pool(call, MaxPool2D)


_ADD_LEFT_SHIFT = 20  # of int8 operands: headroom before the common scale


def _add(call: _Call) -> _Converted:
    a, b, y = call.input(0, "first input"), call.input(1, "second input"), call.output
    (a_scale, a_zero), (b_scale, b_zero) = _activation(a, "first input"), _activation(b, "second input")
    y_scale, y_zero = _activation(y, "output")
    twice_larger = 2 * max(a_scale, b_scale)
    op = Add(
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        output_zero_point=y_zero,
        left_shift=_ADD_LEFT_SHIFT,
        a_requant=Requant.from_scales(a_scale / twice_larger),
        b_requant=Requant.from_scales(b_scale / twice_larger),
        requant=Requant.from_scales(twice_larger / ((1 << _ADD_LEFT_SHIFT) * y_scale)),
        clamp=_clamp(call, y),
    )
    return _Converted(op, (a, b))


def _softmax(call: _Call) -> _Converted:
    x, y = call.input(0, "input"), call.output
    scale, _ = _activation(x, "input")
    if _activation(y, "output") != (1 / 256, -128):
        raise _Refused("the output must have scale 1/256 and zero point -128")
    # PreprocessSoftmaxScaling, in Q5.26.
    beta = float(np.float32(call.option("beta")))
    if not 0 < beta < math.inf:
        raise _Refused(f"beta is {beta:g}, it must be positive")
    real = min(beta * scale * (1 << 26), 2**31 - 1.0)
    if real <= 1.0:
        raise _Refused(f"beta times the input's scale is {real / (1 << 26):g}, too small for the runtimes")
    multiplier, left_shift = fixedpoint.quantize_multiplier(real)
    return _Converted(Softmax(multiplier, left_shift, -fixedpoint.calculate_input_radius(5, left_shift)), (x,))


def _reshape(call: _Call) -> _Converted:
    x, y = call.input(0, "input"), call.output
    if x.dtype == INT8 and _activation(x, "input") != _activation(y, "output"):
        raise _Refused("input and output have different scales or zero points, which the runtimes ignore")
    return _Converted(Reshape(y.shape), (x,))


def _quantize(call: _Call) -> _Converted:
    x, y = call.input(0, "input"), call.output
    scale, zero_point = _activation(y, "output")
    if x.dtype == FLOAT32:
        return _Converted(Quantize(scale, zero_point), (x,))
    x_scale, x_zero = _activation(x, "input")
    return _Converted(Requantize(x_zero, zero_point, Requant.from_scales(x_scale / scale)), (x,))


def _dequantize(call: _Call) -> _Converted:
    x = call.input(0, "input")
    return _Converted(Dequantize(*_activation(x, "input")), (x,))


_CONVERTERS: Mapping[str, Callable[[_Call], _Converted]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average_pool_2d,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _max_pool_2d,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}


_INSTEAD_OF_ANY = "leave this part of the network out, and compute it before or after the model"
_INSTEAD: Mapping[str, str] = {
    "CONCATENATION": "add branches instead of concatenating them",
    "HARD_SWISH": "train with RELU6",
    "LEAKY_RELU": "train with RELU",
    "LOGISTIC": "leave the last sigmoid out and compare with its inverse, or train with two classes and SOFTMAX",
    "MEAN": "use AveragePooling2D over the whole image instead of GlobalAveragePooling2D",
    "MUL": "scale by a convolution or batch normalisation, which the converter folds",
    "PAD": "let the convolution pad: padding='same'",
    "PRELU": "train with RELU",
    "RELU": "fuse the activation: put it right behind a convolution, dense layer or addition",
    "RELU6": "fuse the activation: put it right behind a convolution, dense layer or addition",
    "SHAPE": "convert with a fixed batch size: input_shape=(1, …)",
    "STRIDED_SLICE": "convert with a fixed batch size: input_shape=(1, …)",
    "PACK": "convert with a fixed batch size: input_shape=(1, …)",
    "SQUEEZE": "use Reshape",
    "EXPAND_DIMS": "use Reshape",
    "TRANSPOSE": "keep channels last throughout",
}
"""What people can do in their model instead."""
