"""From QuantizeLinear and DequantizeLinear around operators to calls of operators on integers.

A real value that DequantizeLinear makes is known by the integers that it stands for. An operator reads those, and
writes the integers of the QuantizeLinear that follows; Relu and Clip in between bound them. What only moves or compares
values does so with the integers. Everything is int8: what the file has as uint8 is 128 less here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from tinygen.importers.converted import Refused
from tinygen.importers.onnx_call import QUANTISE, UNBOUNDED, Call, bias_of_float
from tinygen.importers.onnx_curves import in_order
from tinygen.importers.onnx_edges import TO_INT8, TO_UINT8, edge
from tinygen.importers.onnx_expressions import OPERATORS as OF_TENSORS
from tinygen.importers.onnx_expressions import constant_of
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.importers.onnx_functions import OPERATORS as OF_VALUES
from tinygen.importers.onnx_graph import RawGraph
from tinygen.importers.onnx_layout import Layout, layout_of_sums
from tinygen.importers.onnx_properties import (
    BY_VALUE,
    CHOOSING,
    CHOOSING_IN_A_CHANNEL,
    FUSED,
    FUSED_ON_UINT8,
    MEANS,
    NEVER_FUSED,
    OF_REALS,
    PAIRS,
    PASSED_BY,
    SUMS,
    follows,
)
from tinygen.importers.onnx_qoperators import DEQUANTIZE, QUANTIZE
from tinygen.importers.onnx_quantisers import Quantisers
from tinygen.importers.onnx_reals import RealValues
from tinygen.importers.onnx_scales import (
    bounds_of,
    index_type,
    is_implied,
    moved_constant,
    quant_of,
    requantised_constant,
    same_scales,
)
from tinygen.importers.onnx_wiring import Wiring
from tinygen.ir import Quant, Tensor, read_only
from tinygen.ops.common import FLOAT32, INT8, INT32, UINT8

_CUT = "Relu or Clip behind it cuts into the range of QuantizeLinear"
_UNLIKE = "it makes uint8 of int8 values that one operator reads, but not of others"
_LONGEST_PART = 128
"""Products that ONNX Runtime adds up before the result takes part in a sum of such."""
_ON_FUNCTION = "no QuantizeLinear stands before it"


class Lost(Exception):
    """A node reads what a refused one would have written."""


class Matcher:
    """The calls of a graph, node by node in its order; a node that is refused does not keep others from being read."""

    def __init__(self, graph: RawGraph, wiring: Wiring) -> None:
        self._graph = graph
        self._values: dict[str, Tensor] = {}
        """What holds a value of the file: integers also for the real values that they stand for."""
        self._kinds: dict[str, np.dtype[np.generic]] = {}
        """What ONNX Runtime holds integers as, by the name of the tensor here."""
        self._done: set[str] = set()
        """Results of nodes that became part of an earlier one."""
        self._notes: list[str] = []
        self._in_float: dict[str, str] = {}
        """Why ONNX Runtime does not fuse the operator that makes a value."""
        self._quantised: dict[tuple[str, float, int], Tensor] = {}
        """What float32 values were quantised to."""
        self._reals = RealValues()
        self._wiring = wiring
        self._quantisers = Quantisers(graph, wiring)

    @property
    def notes(self) -> list[str]:
        """Where ONNX Runtime computes otherwise, in words."""
        return [*self._notes, *self._reals.notes]

    def inputs(self) -> Iterator[tuple[Tensor, Call | None]]:
        """The model's inputs, and what makes int8 of those that are uint8."""
        for name in self._graph.inputs:
            shape, dtype = self._graph.types[name]
            quant = self._quantisers.quant_of_readers(name)
            outer = Tensor(name, shape, dtype, None if dtype == UINT8 else quant)
            inner = outer if dtype != UINT8 else Tensor(f"{name}~int8", shape, INT8, quant)
            self._values[name] = inner
            self._kinds[inner.name] = dtype
            yield outer, edge(TO_INT8, outer, inner) if dtype == UINT8 else None

    def outputs(self) -> Iterator[tuple[Tensor, Call | None]]:
        """The model's outputs, and what makes them of the integers behind them; without what was refused."""
        for name in self._graph.outputs:
            inner = self._values.get(name)
            if inner is None:
                continue
            shape, dtype = self._graph.types[name]
            if index_type(dtype) == inner.dtype:
                yield inner, None
            else:
                outer = Tensor(name, shape, dtype)
                yield outer, edge(TO_UINT8 if dtype == UINT8 else DEQUANTIZE, inner, outer)

    def calls(self, node: RawNode) -> list[Call]:
        """What one node does beyond what earlier ones did for it. Raises Refused, and Lost."""
        if node.op == DEQUANTIZE:
            self._values[node.outputs[0]] = self._dequantised(node)
            return []
        if self._done.issuperset(node.outputs):
            return []
        if node.op == QUANTIZE:
            return self._quantise(self._operand(node.inputs[0]), node)
        operands = [self._operand(name) if name else None for name in node.inputs]
        if self._is_constant(node, operands):
            return []
        if self._is_function(node, operands) or self._is_expression(node, operands):
            return self._held(node.outputs) if node.outputs[0] in self._graph.outputs else []
        return self._operator(node, operands)

    def _operator(self, node: RawNode, operands: list[Tensor | None]) -> list[Call]:
        """What moves integers, or makes a tensor of others."""
        curve = self._taken_function(node, operands)
        early = self._quantised_early(node, operands[0]) if operands and operands[0] is not None else []
        if not early and (moves := self._moved_function(node, operands)):
            return moves
        inputs = tuple([early[-1].output, *operands[1:]] if early else operands)
        first = inputs[0] if inputs else None
        is_moved = follows(node) or self._quantisers.is_integer(node.outputs[0])
        if is_moved and first is not None and first.dtype == INT8:
            outputs = tuple(self._follower(name, first) for name in node.outputs)
            is_uint8 = self._graph.types[node.outputs[0]].dtype == UINT8
            return [*early, Call(node, inputs, outputs, unsigned=is_uint8)]
        return [*early, *self._computed(node, operands, inputs, curve)]

    def _computed(
        self,
        node: RawNode,
        operands: Sequence[Tensor | None],
        inputs: tuple[Tensor | None, ...],
        curve: tuple[float, ...],
    ) -> list[Call]:
        """What makes a tensor of others; `inputs` are the node's operands, quantised early where they were."""
        first = inputs[0] if inputs else None
        keeps_reals = follows(node) or node.op in (*MEANS, "Pad")
        is_real = keeps_reals and first is not None and first.dtype == FLOAT32 and first.data is None
        results = [(self._real(name), UNBOUNDED) if is_real else self._result(name, node) for name in node.outputs]
        outputs = tuple(tensor for tensor, _ in results)
        before: list[Call] = []
        if node.op == "Concat" and outputs[0].dtype == INT8:
            inputs, before = self._quantised_parts(node, inputs, outputs[0])
        before += self._held([x.name for x in inputs if x is not None])
        integers = [tensor for tensor in (*inputs, *outputs) if tensor is not None and tensor.dtype == INT8]
        kinds = {self._kinds.get(tensor.name) for tensor in integers}
        mover = "" if node.in_integers else next(filter(None, map(self._quantisers.moved_by, node.inputs)), "")
        reason = _ON_FUNCTION if curve else self._why_in_float(node, operands, integers, mover)
        is_turned = node.op in SUMS and self._sums_channels_last(node)
        bounds = results[0][1] if results else UNBOUNDED
        self._note_sums_of_parts(node)
        unsigned = bool(outputs) and self._kinds.get(outputs[0].name) == UINT8
        alike = node.in_integers or (len(kinds) == 1 and not mover)
        return [*before, Call(node, inputs, outputs, bounds, alike, unsigned, reason, curve, is_turned)]

    def _why_in_float(
        self, node: RawNode, operands: Sequence[Tensor | None], integers: Sequence[Tensor], mover: str
    ) -> str:
        """Why ONNX Runtime computes an operator in float32; empty: it does not, or has no other.

        `integers` are the operands and results that are such here, `mover` what moves one of its inputs.
        """
        known = next((self._in_float[name] for name in node.outputs if name in self._in_float), "")
        if known:
            return known
        if not node.in_integers:
            computed = {self._kinds.get(tensor.name) for tensor in integers if tensor.data is None}
            takes_int8 = node.op == "MatMul" and len(node.inputs) > 2  # with its bias it is Gemm there
            is_int8 = node.op in FUSED_ON_UINT8 and not takes_int8 and INT8 in computed
            if is_int8 or (node.op in FUSED and len(computed) > 1):
                return _UNLIKE
            of_bias = bias_of_float(node.op, operands)
            if of_bias:
                return of_bias
        if mover and integers and node.op in FUSED:
            return f"{mover} stands between DequantizeLinear and it"
        if node.attributes.get("mode") == "cubic" and self._layout(node) is not Layout.AS_IN_THE_FILE:
            return "it can have channels last, and interpolates in another order then"
        return ""

    def _operand(self, name: str) -> Tensor:
        if name in self._values:
            return self._values[name]
        if name not in self._graph.constants:
            raise Lost
        data = self._graph.constants[name]
        return Tensor(name, data.shape, data.dtype, None, data)

    def _is_constant(self, node: RawNode, operands: Sequence[Tensor | None]) -> bool:
        """Whether a node's result is a quantised constant in another shape, or order of dimensions; notes it."""
        x = operands[0] if operands else None
        if x is None or x.quant is None or x.data is None:
            return False
        moved = moved_constant(node, x, self._graph.types[node.outputs[0]].shape)
        self._values |= {} if moved is None else {node.outputs[0]: moved}
        return moved is not None

    # Real values that nothing holds

    def _is_function(self, node: RawNode, operands: Sequence[Tensor | None]) -> bool:
        """Whether a node's result is a function of one tensor of integers, value by value; notes it."""
        name = node.outputs[0]
        is_plain = node.op in BY_VALUE and not any(name in self._reals for name in node.inputs)
        if is_plain and not self._has_constants(node, operands) and self._quantisers.ends(name):
            return False
        found = self._reals.function_of(node, operands)
        shape, dtype = self._graph.types[name]
        if found is None or shape != found.base.shape or (dtype != FLOAT32 and name in self._graph.outputs):
            return False
        is_for_all = len(found.reals.middle) == 1
        if is_for_all or not self._is_expression(node, operands):
            if not all(map(self._takes_function, self._wiring.readers(name))) and dtype != FLOAT32:
                return False
            self._real(name)
        self._reals.add_function(name, found)
        return True

    def _is_expression(self, node: RawNode, operands: Sequence[Tensor | None]) -> bool:
        """Whether a node's result follows from several tensors, or from real ones, element by element; notes it."""
        name = node.outputs[0]
        if node.op not in OF_TENSORS or len(node.outputs) > 1:
            return False
        shape, _ = self._graph.types[name]
        if all(x is None or x.data is not None for x in operands):
            found = constant_of(node, operands, shape)
            self._values |= {} if found is None else {name: found}
            return found is not None
        is_plain = all(x is None or x.dtype == INT8 or x.data is not None for x in operands)
        if is_plain and self._has_integers(node, operands) and self._quantisers.ends(name):
            return False
        if not self._reals.add_expression(node, operands, shape):
            return False
        self._real(name)
        return True

    def _has_integers(self, node: RawNode, operands: Sequence[Tensor | None]) -> bool:
        """Whether there is an operator on integers for it, of tensors of these that QuantizeLinear ends."""
        if node.op == "Where":
            return operands[0] is not None and operands[0].data is not None
        if node.op == "Sum":
            return len(operands) == 2 and not self._has_constants(node, operands)
        return node.op in ("Max", "Min") or (node.op in BY_VALUE and not self._has_constants(node, operands))

    def _has_constants(self, node: RawNode, operands: Sequence[Tensor | None]) -> bool:
        """Whether an operator on several values has one that is constant and that nothing quantises."""
        return node.op in PAIRS and any(x is not None and x.dtype == FLOAT32 and x.data is not None for x in operands)

    def _held(self, names: Sequence[str]) -> list[Call]:
        """What makes float32 of those values that nothing holds so far."""
        return [
            self._reals.held(self._wiring.writers[name], self._values[name]) for name in names if name in self._reals
        ]

    def _takes_function(self, reader: RawNode) -> bool:
        """Whether a node reads real values that nothing holds."""
        takes_reals = reader.op in OF_VALUES or reader.op in OF_REALS or reader.op == QUANTIZE
        return takes_reals or self._quantisers.behind(reader) is not None

    def _taken_function(self, node: RawNode, operands: list[Tensor | None]) -> tuple[float, ...]:
        """What the integers stand for that take the place of a function's results as the first operand; else none."""
        first = operands[0] if operands else None
        function = None if node.op not in OF_REALS or first is None else self._reals.taken(first, node)
        if function is None:
            return ()
        operands[0] = function.base
        return tuple(function.reals.middle[0].tolist())

    def _moved_function(self, node: RawNode, operands: Sequence[Tensor | None]) -> list[Call]:
        """What moves the integers that real values are a function of; none where a node does more than that."""
        first = operands[0] if operands else None
        of_channels = node.op in CHOOSING_IN_A_CHANNEL
        known = self._reals.function if of_channels else self._reals.curve
        function = None if first is None or not follows(node) else known(first.name)
        if first is None or function is None:
            return []
        steps = []
        if node.op in CHOOSING and not function.rises:
            ordered = in_order(function, node, f"{first.name}~order of {node.outputs[0]}")
            if ordered is None:
                return []
            function, step = ordered
            steps.append(step)
        outputs = []
        for name in node.outputs:
            moved = Tensor(f"{name}~codes", self._real(name).shape, INT8, function.base.quant)
            self._kinds[moved.name] = self._kinds.get(function.base.name, INT8)
            self._reals.add_function(name, dataclasses.replace(function, base=moved))
            outputs.append(moved)
        call = Call(node, (function.base, *operands[1:]), tuple(outputs))
        return [*steps, call, *self._held([name for name in node.outputs if name in self._graph.outputs])]

    def _quantised_parts(
        self, node: RawNode, inputs: Sequence[Tensor | None], y: Tensor
    ) -> tuple[tuple[Tensor | None, ...], list[Call]]:
        """QuantizeLinear before a join of real values, where it stands behind it; and the parts then."""
        found, calls = [], []
        for index, x in enumerate(inputs):
            if x is not None and x.dtype == FLOAT32 and x.data is None:
                part = Tensor(f"{y.name}~part {index}", x.shape, INT8, y.quant)
                calls.append(self._made(x, dataclasses.replace(node, op=QUANTIZE), part))
                x = part
            found.append(x)
        return tuple(found), calls

    def _sums_channels_last(self, node: RawNode) -> bool:
        """Whether a reduction is of an image with channels last there; a note says where that is not known."""
        layout = self._layout(node)
        if layout is Layout.UNKNOWN:
            self._notes.append(
                f"ONNX Runtime may have {shortened(node.inputs[0])!r} with channels last, and sum in another order: a "
                "value among many can differ by one step"
            )
        return layout is Layout.CHANNELS_LAST

    def _note_sums_of_parts(self, node: RawNode) -> None:
        """Conv and Add are one there: what is added comes first, so that the order counts where a sum has parts."""
        name = node.outputs[0]
        readers = self._wiring.readers(name) if node.op == "Conv" else ()
        if (
            len(readers) != 1
            or readers[0].op != "Add"
            or not self._graph.constants.keys().isdisjoint(readers[0].inputs)
        ):
            return
        if math.prod(self._graph.types[node.inputs[1]].shape[1:]) > _LONGEST_PART:
            self._notes.append(
                f"ONNX Runtime begins the sums of {shortened(name)!r} with what Add adds to them: a value among many "
                "can differ in its last place, or by one step"
            )

    def _layout(self, node: RawNode) -> Layout:
        """Of the image that an operator reads, there."""
        return layout_of_sums(node, self._graph, self._wiring, self._quantisers.is_on_uint8)

    # Quantised values

    def _dequantised(self, node: RawNode) -> Tensor:
        """The integers behind the result of DequantizeLinear."""
        name = node.inputs[0]
        x = self._operand(name)
        dtype = self._graph.types[name].dtype
        if dtype not in (INT8, UINT8) and not (dtype == INT32 and x.data is not None):
            raise Refused(f"its input {shortened(name)!r} is {dtype}, supported are int8 and uint8", QUANTISE)
        quant = quant_of(node, self._graph.constants, dtype, len(x.shape))
        is_axis = 0 <= quant.axis < len(x.shape) and x.shape[quant.axis] == quant.scale.size
        if quant.scale.size > 1 and not is_axis:
            raise Refused(f"its {quant.scale.size} scales do not run along dimension {quant.axis} of {x.shape}")
        if x.data is None:
            return dataclasses.replace(x, quant=quant)
        data = read_only((x.data ^ np.uint8(128)).view(np.int8)) if x.dtype == UINT8 else x.data
        self._kinds[node.outputs[0]] = dtype
        return Tensor(node.outputs[0], data.shape, data.dtype, quant, data)

    def _quantise(self, x: Tensor, node: RawNode) -> list[Call]:
        """What QuantizeLinear has to do: nothing, where its input stands for integers of that scale."""
        name = node.outputs[0]
        y = self._integers(name, self._quantisers.quant_of(node), node)
        key = (x.name, float(y.quant.scale[0]), int(y.quant.zero_point[0])) if y.quant is not None else (x.name, 0.0, 0)
        if x.quant is not None and y.quant is not None and same_scales(x.quant, y.quant):
            self._values[name] = x
            return []
        if x.data is not None and x.quant is not None:
            self._values[name] = requantised_constant(x, y)
            return []
        if key in self._quantised:
            self._values[name] = self._quantised[key]
            return []
        self._quantised[key] = self._values[name] = y
        return [self._made(x, node, y)]

    def _made(self, x: Tensor, quantiser: RawNode, y: Tensor) -> Call:
        """What makes integers of real values, or of others."""
        return self._reals.quantised(x, quantiser, y) if x.name in self._reals else Call(quantiser, (x,), (y,))

    def _integers(self, name: str, quant: Quant, node: RawNode) -> Tensor:
        """The tensor for the result `name` of QuantizeLinear."""
        shape, dtype = self._graph.types[name]
        if dtype not in (INT8, UINT8):
            raise Refused(f"it makes {dtype}, supported are int8 and uint8", QUANTISE)
        if quant.scale.size > 1:
            raise Refused(f"it has {quant.scale.size} scales, supported is one for the whole tensor")
        is_outer = name in self._graph.outputs
        tensor = Tensor(f"{name}~int8" if is_outer and dtype == UINT8 else name, shape, INT8, quant)
        self._kinds[tensor.name] = self._quantisers.kind_of(node)
        return tensor

    def _claim(self, quantiser: RawNode, tensor: Tensor) -> None:
        """A quantiser's work, and that of its like, is done by who writes the tensor."""
        for same in self._wiring.readers(quantiser.inputs[0]):
            self._values[same.outputs[0]] = tensor
            self._done.update(same.outputs)

    def _result(self, name: str, node: RawNode) -> tuple[Tensor, tuple[float, float]]:
        """The tensor for a result of a node, and the bounds of Relu and Clip behind it."""
        absorbed: list[str] = []
        bounds, last = UNBOUNDED, name
        while (quantiser := self._quantisers.of(last)) is None:
            reader = self._wiring.only_reader(last)
            limits = None if reader is None else bounds_of(reader, self._graph.constants)
            if limits is None and (moved := self._moved_result(last, node, bounds)) is not None:
                self._done.update(absorbed)
                return moved, bounds
            if reader is None or limits is None:
                return self._real(name), UNBOUNDED
            bounds = (min(max(bounds[0], limits[0]), limits[1]), min(max(bounds[1], limits[0]), limits[1]))
            last = reader.outputs[0]
            absorbed.append(last)
        quant = self._quantisers.quant_of(quantiser)
        tensor = self._integers(quantiser.outputs[0], quant, quantiser)
        self._claim(quantiser, tensor)
        self._done.update(absorbed)
        if node.op in NEVER_FUSED:
            return tensor, bounds
        if absorbed and not is_implied(bounds, quant):
            self._in_float[name] = _CUT
        elif len({reader.inputs[1:] for reader in self._wiring.readers(last)}) > 1:
            self._in_float[name] = "several QuantizeLinear with constants of their own read it"
        return tensor, bounds

    def _real(self, name: str) -> Tensor:
        """The tensor for a result that nothing quantises, or that is no real value."""
        shape, dtype = self._graph.types[name]
        self._values[name] = Tensor(name, shape, index_type(dtype))
        return self._values[name]

    def _moved_result(self, name: str, node: RawNode, bounds: tuple[float, float]) -> Tensor | None:
        """The tensor for a result of a node that is moved or compared before the QuantizeLinear that it has alone."""
        reader = self._wiring.only_reader(name)
        quantiser = None if reader is None else self._quantisers.behind(reader)
        if reader is None or quantiser is None:
            return None
        quant = self._quantisers.quant_of(quantiser)
        if quant.scale.size > 1 or not self._quantisers.is_integer(quantiser.outputs[0]):
            return None
        is_fused = reader.op in PASSED_BY and is_implied(bounds, quant)
        if not is_fused and node.op in FUSED:
            is_cut = reader.op in PASSED_BY
            self._in_float[name] = _CUT if is_cut else f"{reader.op} stands between it and QuantizeLinear"
        tensor = Tensor(f"{name}~int8", self._graph.types[name].shape, INT8, quant)
        self._kinds[tensor.name] = self._quantisers.kind_of(quantiser) if is_fused else FLOAT32
        self._values[name] = tensor
        return tensor

    def _follower(self, name: str, x: Tensor) -> Tensor:
        """The tensor for a result that is some of the values of `x`."""
        shape, dtype = self._graph.types[name]
        quantiser = self._quantisers.of(name)
        kept, is_claimed = name if dtype == INT8 else f"{name}~int8", False
        if quantiser is not None and x.quant is not None:
            target = self._graph.types[quantiser.outputs[0]].dtype
            is_claimed = target in (INT8, UINT8) and same_scales(x.quant, self._quantisers.quant_of(quantiser))
            is_outer = quantiser.outputs[0] in self._graph.outputs and target == UINT8
            if is_claimed:
                kept = quantiser.outputs[0] + ("~int8" if is_outer else "")
        tensor = Tensor(kept, shape, INT8, x.quant)
        self._kinds[kept] = self._quantisers.kind_of_moved(name, self._kinds.get(x.name, INT8))
        self._values[name] = tensor
        if is_claimed and quantiser is not None:
            self._kinds[kept] = self._quantisers.kind_of(quantiser)
            self._claim(quantiser, tensor)
        return tensor

    def _quantised_early(self, node: RawNode, x: Tensor) -> list[Call]:
        """QuantizeLinear before operators that move or compare real values, where it stands behind them.

        It keeps their order, so that the results are the same.
        """
        if x.dtype != FLOAT32 or x.data is not None:
            return []
        quantiser = self._quantisers.behind(node)
        if quantiser is None:
            return []
        name = quantiser.outputs[0]
        quant = self._quantisers.quant_of(quantiser)
        if quant.scale.size > 1 or not self._quantisers.is_integer(name):
            return []
        y = Tensor(f"{x.name}~int8 as {name}", x.shape, INT8, quant)
        self._kinds[y.name] = UINT8
        return [self._made(x, quantiser, y)]
