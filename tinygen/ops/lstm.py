"""UNIDIRECTIONAL_SEQUENCE_LSTM: a long short-term memory over the steps of a sequence."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.fixedpoint import logistic_int16, tanh_int16
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, INT32, INT64, Clamp, Finish, full_range
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant

GATES = ("input", "forget", "cell", "output")
"""In the order in which an LSTM lists their weights."""

_BIAS_TYPES: Mapping[np.dtype[Any], np.dtype[Any]] = {INT8: INT32, INT16: INT64}


@dataclass(frozen=True)
class Gate:
    """How a gate's two sums become Q3.12, each saturated to int16 by itself before they are added."""

    from_input: Requant
    from_hidden: Requant


@dataclass(frozen=True)
class UnidirectionalSequenceLstm(Op):
    """h' = o * tanh(c') with c' = f * c + i * g, step by step; f, i, o = sigmoid and g = tanh of Wx + b + Rh.

    Inputs: x int8 or int16 (batch, steps, depth), or (steps, batch, depth) if `time_major`; the hidden state h of x's
    dtype and the cell state c int16, each (batch, units); then for each of `GATES` its weights W int8 (units, depth),
    for each its recurrent weights R int8 (units, units), and for each its bias (units), int32 or, for int16, int64.
    Outputs: y, every step's h', as x with `units` in place of `depth`; the next hidden state; the next cell state.

    Gates are Q0.15; the cell state counts in 2**`cell_scale_log2`. Every product is rescaled and saturated to int16
    (the hidden state to its dtype) before it is used.
    """

    name: ClassVar[str] = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    time_major: bool
    zero_point: int
    hidden_zero_point: int
    gates: tuple[Gate, Gate, Gate, Gate]
    kept: Requant
    """f * c to the cell state's scale."""
    added: Requant
    """i * g to the cell state's scale."""
    hidden: Requant
    """o * tanh(c') to the hidden state's scale."""
    cell_scale_log2: int
    cell_clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes and accumulator bounds."""
        broken = list(self._tensor_problems(inputs))
        yield from broken
        if broken:
            return
        for index, (name, gate) in enumerate(zip(GATES, self.gates, strict=True)):
            weights, recurrent, bias = _gate_tensors(inputs, index)
            for sum_, operand, zero_point, offset, requant in (
                ("input", weights, self.zero_point, bias, gate.from_input),
                ("hidden state", recurrent, self.hidden_zero_point, np.zeros_like(bias), gate.from_hidden),
            ):
                bound = int(common.accumulator_bound(operand, offset, zero_point, 0, inputs[0].dtype).max())
                limit = int(requant.largest_accumulator()[0])
                if bound > limit:
                    yield f"the {name} gate's sum over the {sum_} can reach {bound}, its scale leaves {limit}"
        for role, requant in (("input gate", self.added), ("output gate", self.hidden)):
            if int(requant.largest_accumulator()[0]) < _LARGEST_PRODUCT:
                yield f"what the {role} lets through overflows int32 in the scale of the state that it goes to"

    def _tensor_problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        x, hidden, cell = inputs[:3]
        broken = [*common.expect_dtype(x, "input", INT8, INT16), *common.expect_rank(x, "input", 3)]
        yield from broken
        if broken:
            return
        batch, _, depth = self.sizes(x)
        if hidden.dtype != x.dtype or len(hidden.shape) != 2 or hidden.shape[0] != batch:
            yield f"the hidden state is {hidden.dtype} {hidden.shape}, expected is {x.dtype} ({batch}, units)"
            return
        units = hidden.shape[1]
        yield from _expect(cell, "cell state", TensorType((batch, units), INT16))
        for index, name in enumerate(GATES):
            weights, recurrent, bias = (inputs[3 + 4 * kind + index] for kind in range(3))
            yield from _expect_constant(weights, f"{name} gate's weights", TensorType((units, depth), INT8))
            yield from _expect_constant(recurrent, f"{name} gate's recurrent weights", TensorType((units, units), INT8))
            yield from _expect_constant(bias, f"{name} gate's bias", TensorType((units,), _BIAS_TYPES[x.dtype]))

    def sizes(self, x: Tensor) -> tuple[int, int, int]:
        """Batch, steps and depth."""
        first, second, depth = x.shape
        return (second, first, depth) if self.time_major else (first, second, depth)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The sequence of hidden states, and both states' types."""
        x, hidden, cell = inputs[:3]
        return TensorType((*x.shape[:2], hidden.shape[1]), x.dtype), hidden.type, cell.type

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Step by step, in exact integers."""
        x, hidden, cell = inputs[:3]
        sequence = x if self.time_major else x.transpose(1, 0, 2)
        c = cell.astype(np.int64)
        h = hidden
        steps = []
        for step in sequence:
            i, f, g, o = (self._gate(index, step, h, inputs) for index in range(4))
            c = np.clip(_int16(self.kept.apply(f * c)) + _int16(self.added.apply(i * g)), *self.cell_clamp)
            product = self.hidden.apply(tanh_int16(self._tanh_units(c)) * o)
            h = np.clip(product + self.hidden_zero_point, *full_range(x.dtype)).astype(x.dtype)
            steps.append(h)
        y = np.stack(steps)
        return y if self.time_major else y.transpose(1, 0, 2), h, c.astype(np.int16)

    def _gate(self, index: int, x: Array, h: Array, inputs: Sequence[Array]) -> Array:
        gate = self.gates[index]
        weights, recurrent, bias = (inputs[3 + 4 * kind + index] for kind in range(3))
        from_input = common.trailing_matmul(x.astype(np.int32) - self.zero_point, weights) + bias
        from_hidden = common.trailing_matmul(h.astype(np.int32) - self.hidden_zero_point, recurrent)
        total = _int16(_int16(gate.from_input.apply(from_input)) + _int16(gate.from_hidden.apply(from_hidden)))
        return (tanh_int16 if GATES[index] == "cell" else logistic_int16)(3 * total)

    def _tanh_units(self, c: Array) -> Array:
        """The cell state in the units of `tanh_int16`, thirds of Q3.12; a finer one is rounded."""
        shift = self.cell_scale_log2 + 12
        return 3 * c << shift if shift >= 0 else (3 * c + (1 << (-shift - 1))) >> -shift

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Each step uses every weight once."""
        batch, steps, depth = self.sizes(inputs[0])
        units = inputs[1].shape[1]
        return batch * steps * len(GATES) * units * (depth + units)

    def describe(self) -> str:
        """What the cell state is limited to, and the order of dimensions."""
        words = ["time first"] if self.time_major else []
        if self.cell_clamp != full_range(INT16):
            words.append(f"cell state up to {self.cell_clamp[1] * 2.0**self.cell_scale_log2:g}")
        return ", ".join(words)


_LARGEST_PRODUCT = 32767 * 32767
"""Of two gates, or of a gate and a tanh: both are at least -32767."""


def _int16(x: Array) -> Array:
    return np.clip(x, *full_range(INT16))


def _expect(tensor: Tensor, role: str, wanted: TensorType) -> Iterator[str]:
    if tensor.type != wanted:
        yield f"the {role} is {tensor.dtype} {tensor.shape}, expected is {wanted.dtype} {wanted.shape}"


def _expect_constant(tensor: Tensor, role: str, wanted: TensorType) -> Iterator[str]:
    yield from _expect(tensor, role, wanted)
    yield from common.expect_constant(tensor, role)


def _gate_tensors(inputs: Sequence[Tensor], index: int) -> tuple[Array, Array, Array]:
    """Weights, recurrent weights and bias of a gate."""
    weights, recurrent, bias = (inputs[3 + 4 * kind + index].data for kind in range(3))
    assert weights is not None and recurrent is not None and bias is not None
    return weights, recurrent, bias


@dataclass(frozen=True)
class GateText:
    """What the template prints of a gate."""

    name: str
    activation: str
    from_input: Finish
    from_hidden: Finish


def _prepare(site: Site) -> Body:
    op: UnidirectionalSequenceLstm = site.op
    x, hidden = site.inputs[:2]
    batch, steps, depth = op.sizes(x)
    units = hidden.shape[1]
    gates: list[GateText] = []
    constants: dict[str, Array] = {}
    helpers: frozenset[str] = frozenset({"logistic_int16", "tanh_int16"})
    for index, (name, gate) in enumerate(zip(GATES, op.gates, strict=True)):
        weights, recurrent, bias = _gate_tensors(site.inputs, index)
        from_input, _, input_helpers = common.finish(gate.from_input, 0, full_range(INT16), INT16)
        from_hidden, _, hidden_helpers = common.finish(gate.from_hidden, 0, full_range(INT16), INT16)
        helpers |= input_helpers | hidden_helpers
        gates.append(GateText(name, "tanh" if name == "cell" else "logistic", from_input, from_hidden))
        constants[f"{name}_weights"] = weights
        constants[f"{name}_recurrent"] = recurrent
        constants[f"{name}_bias"] = _folded(bias, weights, op.zero_point)
        if op.hidden_zero_point:
            constants[f"{name}_hidden_bias"] = _folded(np.zeros_like(bias), recurrent, op.hidden_zero_point)
    kept, _, kept_helpers = common.finish(op.kept, 0, full_range(INT16), INT16)
    added, _, added_helpers = common.finish(op.added, 0, full_range(INT16), INT16)
    final, _, final_helpers = common.finish(op.hidden, op.hidden_zero_point, full_range(x.dtype), x.dtype)
    shift = op.cell_scale_log2 + 12
    return Body(
        values={
            "batch": batch,
            "steps": steps,
            "depth": depth,
            "units": units,
            # Distances between the steps of one sequence, and between sequences, in vectors.
            "step_stride": batch if op.time_major else 1,
            "batch_stride": 1 if op.time_major else steps,
            "gates": gates,
            "has_hidden_bias": bool(op.hidden_zero_point),
            "kept": kept,
            "added": added,
            "finish": final,
            "cell_low": op.cell_clamp[0],
            "cell_high": op.cell_clamp[1],
            "cell_format": _format(op.cell_scale_log2),
            "tanh_factor": 3 << max(shift, 0),
            "tanh_shift": max(-shift, 0),
            "tanh_rounding": (1 << -shift) >> 1 if shift < 0 else 0,
        },
        constants=constants,
        helpers=helpers | kept_helpers | added_helpers | final_helpers,
    )


def _format(scale_log2: int) -> str:
    """What an int16 that counts in 2**scale_log2 is called."""
    return f"Q{15 + scale_log2}.{-scale_log2}" if -15 <= scale_log2 <= 0 else f"in units of 2^{scale_log2}"


def _folded(bias: Array, weights: Array, zero_point: int) -> Array:
    """The bias with what the zero point adds to every sum."""
    offset: Array = zero_point * weights.sum(axis=1, dtype=np.int64)
    return (bias - offset).astype(bias.dtype)


KERNELS = (
    Kernel(
        "lstm.direct",
        UnidirectionalSequenceLstm,
        _prepare,
        work=Rates(1476, output=200, mac=4),
        parameters=("x", "hidden", "cell"),
        in_place={1: 1, 2: 2},
    ),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    shared = tuple(
        _case(f"{name}{suffix}", dtype=dtype, **arguments)  # type: ignore[arg-type]
        for dtype, suffix in (("int8", ""), ("int16", "_int16"))
        for name, arguments in {
            "plain": {},
            "time_major": {"time_major": True},
            "batch": {"batch": 3},
            "batch_time_major": {"batch": 3, "time_major": True},
            "one_step": {"steps": 1},
            "one_of_everything": {"steps": 1, "depth": 1, "units": 1},
            "one_unit": {"units": 1},
            "one_feature": {"depth": 1},
            "clip": {"cell_clip": 0.5},
            # Below one step of the cell state: it stays 0.
            "clip_to_nothing": {"cell_clip": 1e-5},
            "clip_beyond_int16": {"cell_clip": 1e6},
            # The cell state saturates, in Q0.15 and finer.
            "fine_cell": {"cell_scale_log2": -15},
            "finer_cell": {"cell_scale_log2": -20},
            "coarse_cell": {"cell_scale_log2": -8},
            "coarser_cell": {"cell_scale_log2": 2},
            # Gates that are wide open or shut, sums that saturate before and after they are added.
            "saturated_gates": {"weight_scale": 0.5},
            "left_shifts": {"depth": 2, "units": 2, "scale": 4.0, "weight_scale": 0.9},
            "nearly_closed_scales": {"weight_scale": 1e-6},
            "vanishing_scales": {"weight_scale": 1e-16},
            # One step of the sums is one of Q3.12.
            "unit_scales": {
                "scale": 2.0**-6 if dtype == "int8" else 2.0**2,
                "weight_scale": 2.0**-6,
                "weight_spread": 0.0,
                "hidden_scale": 2.0**-6 if dtype == "int8" else 2.0**2,
            },
            "fine_hidden": {"hidden_scale": 0.0005 if dtype == "int8" else 2e-6},
            "coarse_hidden": {"hidden_scale": 0.9},
        }.items()
    )
    return (
        *shared,
        _case("no_zero_points", zero_point=0, hidden_zero_point=0),
        _case("low_zero_points", zero_point=-128, hidden_zero_point=-128),
        _case("high_zero_points", zero_point=127, hidden_zero_point=127),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random layer."""
    scales = np.exp(rng.uniform(np.log(0.1), np.log(10.0), 2))
    return _case(
        f"random_{rng.integers(1 << 30)}",
        dtype=str(rng.choice(["int8", "int16"])),
        batch=int(rng.integers(1, 4)),
        steps=int(rng.integers(1, 5)),
        depth=int(rng.integers(1, 20)),
        units=int(rng.integers(1, 12)),
        time_major=bool(rng.random() < 0.5),
        cell_clip=float(rng.choice([0.0, 1.0, 10.0])),
        zero_point=int(rng.integers(-128, 128)),
        hidden_zero_point=int(rng.integers(-128, 128)),
        weight_scale=float(0.009 * scales[0]),
        hidden_scale=float(0.0078 * scales[1]),
        cell_scale_log2=int(rng.integers(-16, -8)),
    )


def _case(
    name: str,
    *,
    dtype: str = "int8",
    batch: int = 1,
    steps: int = 3,
    depth: int = 7,
    units: int = 5,
    time_major: bool = False,
    cell_clip: float = 0.0,
    zero_point: int = -7,
    hidden_zero_point: int = 3,
    scale: float = 0.04,
    weight_scale: float = 0.009,
    weight_spread: float = 0.3,
    hidden_scale: float = 0.0078,
    cell_scale_log2: int = -12,
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    is_int8 = dtype == "int8"
    if not is_int8:
        scale, hidden_scale = scale / 256, hidden_scale / 256
        zero_point = hidden_zero_point = 0

    def weights(columns: int) -> list[CaseTensor]:
        return [
            CaseTensor(
                (units, columns),
                scale=weight_scale * float(factor),
                data=rng.integers(-127, 127, (units, columns), np.int8, endpoint=True),
            )
            for factor in rng.uniform(1 - weight_spread, 1 + weight_spread, len(GATES))
        ]

    from_input, from_hidden = weights(depth), weights(units)
    bias_type = "int32" if is_int8 else "int64"
    largest = 4000 if is_int8 else 1000000
    biases = [
        CaseTensor((units,), bias_type, scale * float(w.scale), data=rng.integers(-largest, largest, units, bias_type))  # type: ignore[arg-type]
        for w in from_input
    ]
    order = (steps, batch) if time_major else (batch, steps)
    hidden = {"dtype": dtype, "scale": hidden_scale, "zero_point": hidden_zero_point}
    return Case(
        name,
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        (
            CaseTensor((*order, depth), dtype, scale, zero_point),
            *from_input,
            *from_hidden,
            *(None, None, None),
            *biases,
            *(None, None),
            CaseTensor((batch, units), **hidden, is_variable=True),  # type: ignore[arg-type]
            CaseTensor((batch, units), "int16", 2.0**cell_scale_log2, is_variable=True),
            *(None, None, None, None),
        ),
        (CaseTensor((*order, units), **hidden),),  # type: ignore[arg-type]
        {"fused_activation_function": "TANH", "time_major": time_major, "cell_clip": cell_clip},
    )
