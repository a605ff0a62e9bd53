"""SVDF: a layer over time, with a memory of its last inputs' features."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import C_TYPES
from tinygen.fixedpoint import INT32_MAX, wrap_int32
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, INT32, full_range
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant


@dataclass(frozen=True)
class Svdf(Op):
    """Each filter makes one feature of an input, and remembers its last ones; each unit weighs `rank` such memories.

    Inputs: x int8 (batch, depth); the state, int8 or int16 (batch, filters * memory), each filter's features from
    the oldest to the newest; weights_feature int8 (filters, depth); weights_time (filters, memory) of the state's
    dtype; bias int32 (filters / rank). Outputs: y int8 (batch, filters / rank), and the next state.

    The oldest feature of each filter is dropped, and saturated(feature_requant(sum (x - zero_point) * weights_feature))
    appended; then y[unit] = saturated(requant(sum features * weights_time + bias) + output_zero_point). That sum is
    one of int32 which wraps, as the runtimes': long memories of int16 can reach beyond it.
    """

    name: ClassVar[str] = "SVDF"
    rank: int
    zero_point: int
    output_zero_point: int
    feature_requant: Requant
    requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes and accumulator bounds."""
        broken = list(self._tensor_problems(*inputs))
        yield from broken
        _, _, weights_feature, weights_time, bias = inputs
        if broken or weights_feature.data is None or weights_time.data is None or bias.data is None:
            return
        no_bias = np.zeros(weights_feature.shape[0], np.int32)
        yield from common.accumulator_problems(weights_feature.data, no_bias, self.zero_point, 0, self.feature_requant)
        bound = min(self._largest_sum(inputs), INT32_MAX)
        limit = int(self.requant.largest_accumulator()[0])
        if bound > limit or int(self.requant.apply(np.array([bound]))[0]) > INT32_MAX - full_range(INT8)[1]:
            yield f"the sum over time can reach {bound}, its scale and zero point leave {limit} of int32 or less"

    def _tensor_problems(
        self, x: Tensor, state: Tensor, weights_feature: Tensor, weights_time: Tensor, bias: Tensor
    ) -> Iterator[str]:
        broken = [
            *common.expect_dtype(x, "input", INT8),
            *common.expect_dtype(weights_feature, "feature filter", INT8),
            *common.expect_dtype(weights_time, "time filter", INT8, INT16),
            *common.expect_dtype(bias, "bias", INT32),
            *common.expect_rank(x, "input", 2),
            *common.expect_rank(weights_feature, "feature filter", 2),
            *common.expect_rank(weights_time, "time filter", 2),
            *common.expect_constant(weights_feature, "feature filter"),
            *common.expect_constant(weights_time, "time filter"),
            *common.expect_constant(bias, "bias"),
        ]
        yield from broken
        if broken:
            return
        filters, depth = weights_feature.shape
        batch = x.shape[0]
        if self.rank < 1 or filters % self.rank:
            yield f"{filters} filters do not make units of rank {self.rank}"
        elif x.shape[1] != depth:
            yield f"the input {x.shape} has rows of {x.shape[1]}, the feature filter takes {depth}"
        elif weights_time.shape[0] != filters:
            yield f"the time filter {weights_time.shape} does not have the feature filter's {filters} filters"
        elif bias.shape != (filters // self.rank,):
            yield f"the bias has shape {bias.shape}, the filters make {filters // self.rank} units"
        elif state.type != TensorType((batch, weights_time.elements), weights_time.dtype):
            yield (
                f"the state is {state.dtype} {state.shape}, "
                f"expected is {weights_time.dtype} {(batch, weights_time.elements)}"
            )

    def _largest_sum(self, inputs: Sequence[Tensor]) -> int:
        """The largest |sum over time| of any unit, with every feature saturated."""
        _, state, _, weights_time, bias = inputs
        assert weights_time.data is not None and bias.data is not None
        weights = weights_time.data.reshape(bias.elements, -1)
        return int(common.accumulator_bound(weights, bias.data, 0, 0, state.dtype).max())

    def wraps(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the sum over time can reach beyond int32."""
        return self._largest_sum(inputs) > INT32_MAX

    def notes(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """A sum that wraps is the runtime's, but hardly what was meant."""
        if self.wraps(inputs):
            yield "its sum over time can leave int32 for some inputs, and then wraps around, as in the runtime"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(batch, units) int8, and the state's type."""
        x, state, _, _, bias = inputs
        return TensorType((x.shape[0], bias.elements), INT8), state.type

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Two exact matrix products."""
        x, state, weights_feature, weights_time, bias = inputs
        batch, (filters, memory) = x.shape[0], weights_time.shape
        features = common.trailing_matmul(x.astype(np.int32) - self.zero_point, weights_feature)
        newest = np.clip(self.feature_requant.apply(features), *full_range(state.dtype))
        remembered = state.reshape(batch, filters, memory)[:, :, 1:]
        following = np.concatenate([remembered, newest[:, :, np.newaxis]], axis=2).astype(state.dtype)
        weighed = following.astype(np.int64) * weights_time
        acc = wrap_int32(weighed.reshape(batch, bias.size, self.rank * memory).sum(axis=2) + bias)
        y = np.clip(self.requant.apply(acc) + self.output_zero_point, *full_range(INT8))
        return y.astype(np.int8), following.reshape(state.shape)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every weight is used once for each row."""
        x, _, weights_feature, weights_time, _ = inputs
        return x.shape[0] * (weights_feature.elements + weights_time.elements)

    def describe(self) -> str:
        """Rank."""
        return f"rank {self.rank}"


def _prepare(site: Site) -> Body:
    op: Svdf = site.op
    x, state, weights_feature, weights_time, bias = site.inputs
    assert weights_feature.data is not None and weights_time.data is not None and bias.data is not None
    filters, memory = weights_time.shape
    feature_finish, _, feature_helpers = common.finish(op.feature_requant, 0, full_range(state.dtype), state.dtype)
    final, _, helpers = common.finish(op.requant, op.output_zero_point, full_range(INT8))
    constants = {"weights_feature": weights_feature.data, "weights_time": weights_time.data, "bias": bias.data}
    if op.zero_point:
        constants["feature_bias"] = (-op.zero_point * weights_feature.data.sum(axis=1, dtype=np.int64)).astype(np.int32)
    return Body(
        values={
            "batch": x.shape[0],
            "depth": x.shape[1],
            "filters": filters,
            "memory": memory,
            "rank": op.rank,
            "units": bias.elements,
            "state_type": C_TYPES[str(state.dtype)],
            "has_feature_bias": "feature_bias" in constants,
            "wraps": op.wraps(site.inputs),
            "feature_finish": feature_finish,
            "finish": final,
        },
        constants=constants,
        helpers=feature_helpers | helpers,
    )


KERNELS = (Kernel("svdf.direct", Svdf, _prepare, work=Rates(296, mac=9), parameters=("x", "state"), in_place={1: 1}),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("plain"),
        _case("int8_state", state_dtype="int8"),
        _case("rank_2", filters=10, rank=2),
        _case("rank_3_int8_state", filters=9, rank=3, state_dtype="int8"),
        _case("one_unit_of_all_filters", filters=5, rank=5),
        _case("one_of_everything", depth=1, filters=1, memory=1),
        _case("memory_of_one", memory=1),
        _case("memory_of_two", memory=2),
        _case("batch", batch=3, filters=6, rank=2),
        _case("batch_int8_state", batch=2, state_dtype="int8"),
        _case("no_input_zero_point", zero_point=0),
        _case("relu", activation="RELU", output_zero_point=-128),
        # Features that saturate in both directions, and such that are nearly all 0.
        _case("fine_state", state_scale=1e-6, output_scale=4e-5),
        _case("fine_state_int8", state_scale=1e-4, state_dtype="int8", output_scale=3e-4),
        _case("coarse_state", state_scale=3.0, output_scale=9.0),
        _case("fine_output", output_scale=1e-4),
        _case("coarse_output", output_scale=500.0),
        # Left shifts in both rescalings.
        _case("left_shifts", depth=3, state_scale=4e-4, state_dtype="int8", time_scale=3.0, output_scale=1e-4),
        # One step of a feature's sum is one of the state.
        _case("unit_scale", depth=3, scale=2.0**-5, feature_scale=2.0**-7, state_scale=2.0**-12, output_scale=0.07),
        # Full int16 weights on a saturated memory: the sum over time wraps, as in the runtime.
        _case(
            "wrapping_sum", memory=12, filters=6, rank=2, state_scale=1e-7, largest_time_weight=32767, output_scale=3e-4
        ),
        _case("long_memory", depth=3, filters=2, memory=130),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random layer."""
    rank = int(rng.integers(1, 4))
    scales = np.exp(rng.uniform(np.log(0.1), np.log(10.0), 3))
    return _case(
        f"random_{rng.integers(1 << 30)}",
        batch=int(rng.integers(1, 3)),
        depth=int(rng.integers(1, 40)),
        filters=rank * int(rng.integers(1, 9)),
        memory=int(rng.integers(1, 12)),
        rank=rank,
        state_dtype=str(rng.choice(["int8", "int16"])),
        zero_point=int(rng.integers(-128, 128)),
        output_zero_point=int(rng.integers(-128, 128)),
        scale=float(0.04 * scales[0]),
        feature_scale=float(0.011 * scales[1]),
        output_scale=float(0.3 * scales[2]),
    )


def _case(
    name: str,
    *,
    batch: int = 1,
    depth: int = 13,
    filters: int = 7,
    memory: int = 5,
    rank: int = 1,
    state_dtype: str = "int16",
    activation: str = "NONE",
    zero_point: int = -5,
    output_zero_point: int = 9,
    scale: float = 0.04,
    feature_scale: float = 0.011,
    state_scale: float | None = None,
    time_scale: float | None = None,
    output_scale: float = 0.3,
    largest_time_weight: int | None = None,
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    is_wide = state_dtype == "int16"
    largest = largest_time_weight or (4095 if is_wide else 127)
    state_scale = state_scale or (0.0011 if is_wide else 0.21)
    time_scale = time_scale or (0.00019 if is_wide else 0.0063)
    units = filters // rank
    bias_scale = float(np.float32(state_scale) * np.float32(time_scale))
    return Case(
        name,
        "SVDF",
        (
            CaseTensor((batch, depth), scale=scale, zero_point=zero_point),
            CaseTensor(
                (filters, depth),
                scale=feature_scale,
                data=rng.integers(-127, 127, (filters, depth), np.int8, endpoint=True),
            ),
            CaseTensor(
                (filters, memory),
                state_dtype,
                time_scale,
                data=rng.integers(-largest, largest, (filters, memory), state_dtype, endpoint=True),
            ),
            CaseTensor((units,), "int32", bias_scale, data=rng.integers(-4000, 4000, units, np.int32, endpoint=True)),
            CaseTensor((batch, filters * memory), state_dtype, state_scale, is_variable=True),
        ),
        (CaseTensor((batch, units), scale=output_scale, zero_point=output_zero_point),),
        {"rank": rank, "fused_activation_function": activation},
    )
