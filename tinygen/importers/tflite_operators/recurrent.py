"""What keeps a state from one invocation to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_call import Call, Converter, clamp, refuse_in_litert, scale_and_zero_point
from tinygen.ir import State, Tensor, read_only
from tinygen.ops.common import INT8, INT16, full_range
from tinygen.ops.lstm import GATES, Gate, UnidirectionalSequenceLstm
from tinygen.ops.svdf import Svdf
from tinygen.rescaling import Requant, Rounding


def _state(tensor: Tensor, role: str, written: str, value: int) -> tuple[Tensor, State]:
    """The tensor of a state's next value, and the state, which a reset fills with a value."""
    if tensor.data is not None:
        raise Refused(f"the {role} is a constant, expected is a variable")
    following = Tensor(written, tensor.shape, tensor.dtype, tensor.quant)
    return following, State(tensor.name, written, read_only(np.full(tensor.shape, value, tensor.dtype)))


def _symmetric_scale(tensor: Tensor, role: str) -> float:
    scale, zero_point = scale_and_zero_point(tensor, role)
    if zero_point:
        raise Refused(f"the zero point of the {role} is {zero_point}, supported is 0")
    return scale


_SVDF_INPUTS = 5
_BIAS_TOLERANCE = 1e-5
"""How far the runtime lets the bias's scale be from the product that it stands for."""


def _svdf(call: Call) -> Converted:
    if len(call.inputs) != _SVDF_INPUTS:
        raise Refused(f"it has {len(call.inputs)} inputs, expected are {_SVDF_INPUTS}")
    x, y = call.input(0, "input"), call.output
    activation = call.option("fused_activation_function")
    refuse_in_litert(call, activation != "RELU", f"its fused activation is {activation}, LiteRT has RELU only")
    weights_feature, weights_time = call.input(1, "feature filter"), call.input(2, "time filter")
    state = call.input(4, "state")
    refuse_in_litert(call, state.dtype != INT16, f"its state is {state.dtype}, on which LiteRT crashes")
    if call.inputs[3] is None:
        raise Refused("it has no bias, on which the runtime crashes", "give it a bias of zeros")
    bias = call.inputs[3]
    x_scale, x_zero = scale_and_zero_point(x, "input")
    y_scale, y_zero = scale_and_zero_point(y, "output")
    # A state's zero point would be added after saturating, where the runtime lets the sum wrap.
    feature_scale, time_scale, state_scale = (
        _symmetric_scale(tensor, role)
        for tensor, role in ((weights_feature, "feature filter"), (weights_time, "time filter"), (state, "state"))
    )
    if y.dtype == INT8 and clamp(call, y) != full_range(INT8):
        raise Refused(
            f"the output's zero point {y_zero} leaves a fused {activation} something to cut off, which the runtime "
            "does not do",
            "use an activation of its own after it",
        )
    bias_scale = float(bias.quant.scale[0]) if bias.quant is not None else 0.0
    if abs(bias_scale - state_scale * time_scale) >= _BIAS_TOLERANCE:
        raise Refused(
            f"the bias has the scale {bias_scale:g}, expected is the product {state_scale * time_scale:g} of "
            "the state's and the time filter's"
        )
    op = Svdf(
        rank=int(call.option("rank")),
        zero_point=x_zero,
        output_zero_point=y_zero,
        feature_requant=Requant.from_scales(x_scale * feature_scale / state_scale),
        requant=Requant.from_scales(state_scale * time_scale / y_scale),
    )
    following, kept = _state(state, "state", f"{y.name}/next_state", 0)
    return Converted(op, (x, state, weights_feature, weights_time, bias), (y, following), (kept,))


_LSTM_INPUTS = 24
_LSTM_VARIANTS = {
    "peephole connections": range(9, 12),
    "a projection": range(16, 18),
    "layer normalisation": range(20, 24),
}
_SUM_SCALE = 2.0**-12
"""Of what a gate's sigmoid or tanh takes: Q3.12."""
_GATE_SCALE = 2.0**-15
"""Of what comes out of it: Q0.15."""
_CELL_SCALES = range(-30, 3)
"""Powers of two for which the products of int16 values, and what tanh takes, stay within int32."""


def _lstm_tensors(call: Call) -> tuple[Tensor, ...]:
    """x, both states, and four each of weights, recurrent weights and biases."""
    if len(call.inputs) != _LSTM_INPUTS:
        raise Refused(f"it has {len(call.inputs)} inputs, expected are {_LSTM_INPUTS}")
    for variant, indices in _LSTM_VARIANTS.items():
        if any(call.inputs[index] is not None for index in indices):
            raise Refused(f"it has {variant}, which the runtime refuses", "use a plain LSTM layer")
    if call.inputs[1] is None or call.inputs[5] is None:
        raise Refused(
            "its input gate is coupled to the forget gate, which the runtime refuses", "use a plain LSTM layer"
        )
    roles = {
        0: "input",
        18: "hidden state",
        19: "cell state",
        **{1 + index: f"{gate} gate's weights" for index, gate in enumerate(GATES)},
        **{5 + index: f"{gate} gate's recurrent weights" for index, gate in enumerate(GATES)},
        **{12 + index: f"{gate} gate's bias" for index, gate in enumerate(GATES)},
    }
    return tuple(call.input(index, role) for index, role in roles.items())


def _cell_scale_log2(cell: Tensor) -> int:
    scale = _symmetric_scale(cell, "cell state")
    mantissa, exponent = math.frexp(scale)
    if mantissa != 0.5:
        raise Refused(f"the cell state has the scale {scale:g}, expected is a power of two")
    if exponent - 1 not in _CELL_SCALES:
        bounds = f"2**{_CELL_SCALES[0]} to 2**{_CELL_SCALES[-1]}"
        raise Refused(f"the cell state has the scale 2**{exponent - 1}, supported are {bounds}")
    return exponent - 1


def _unidirectional_sequence_lstm(call: Call) -> Converted:
    refuse_in_litert(call, True, "LiteRT computes it by another algorithm, which is not built")
    tensors = _lstm_tensors(call)
    x, hidden, cell = tensors[:3]
    y = call.output
    x_scale, x_zero = scale_and_zero_point(x, "input")
    hidden_scale, hidden_zero = scale_and_zero_point(hidden, "hidden state")
    if x.dtype == INT16 and (x_zero or hidden_zero):
        raise Refused(
            "the input or the hidden state is int16 with a zero point other than 0, which the runtime ignores"
        )
    if scale_and_zero_point(y, "output") != (hidden_scale, hidden_zero):
        raise Refused("hidden state and output have different scales or zero points, which the runtime ignores")
    if call.option("fused_activation_function") != "TANH":
        raise Refused(f"its activation is {call.option('fused_activation_function')}, supported is TANH")
    if call.option("diagonal_recurrent_tensors"):
        raise Refused("its recurrent weights are diagonal, which the runtime ignores", "use a plain LSTM layer")
    cell_clip = float(np.float32(call.option("cell_clip")))
    if not 0 <= cell_clip < math.inf:
        raise Refused(f"the cell state is clipped to {cell_clip:g}, which must not be negative")
    cell_scale_log2 = _cell_scale_log2(cell)
    cell_scale = 2.0**cell_scale_log2
    clip = int(min(cell_clip / cell_scale, full_range(INT16)[1]))
    rounding = Rounding.INT64 if x.dtype == INT16 else Rounding.DOUBLE

    def gate(index: int) -> Gate:
        weights, recurrent = tensors[3 + index], tensors[7 + index]
        weights_scale = _symmetric_scale(weights, f"{GATES[index]} gate's weights")
        recurrent_scale = _symmetric_scale(recurrent, f"{GATES[index]} gate's recurrent weights")
        return Gate(
            Requant.from_scales(x_scale * weights_scale / _SUM_SCALE, rounding),
            Requant.from_scales(hidden_scale * recurrent_scale / _SUM_SCALE, rounding),
        )

    op = UnidirectionalSequenceLstm(
        time_major=bool(call.option("time_major")),
        zero_point=x_zero,
        hidden_zero_point=hidden_zero,
        gates=(gate(0), gate(1), gate(2), gate(3)),
        kept=Requant.from_scales(_GATE_SCALE),
        added=Requant.from_scales(_GATE_SCALE * _GATE_SCALE / cell_scale),
        hidden=Requant.from_scales(_GATE_SCALE * _GATE_SCALE / hidden_scale),
        cell_scale_log2=cell_scale_log2,
        cell_clamp=(-clip, clip) if cell_clip > 0 else full_range(INT16),
    )
    next_hidden, kept_hidden = _state(hidden, "hidden state", f"{y.name}/next_hidden", hidden_zero)
    next_cell, kept_cell = _state(cell, "cell state", f"{y.name}/next_cell", 0)
    return Converted(op, tensors, (y, next_hidden, next_cell), (kept_hidden, kept_cell))


CONVERTERS: Mapping[str, Converter] = {
    "SVDF": _svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _unidirectional_sequence_lstm,
}
