"""FULLY_CONNECTED: a matrix product over the last dimension."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import Requant
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, Clamp


@dataclass(frozen=True)
class FullyConnected(Op):
    """y[r,o] = clamp(requant(sum (x[r,i] - zero_point) * (w[o,i] - weight_zero_point) + b[o]) + output_zero_point).

    x int8 of any shape, read as rows of i elements; weights int8 (o, i); bias int32 (o).
    """

    name: ClassVar[str] = "FULLY_CONNECTED"
    zero_point: int
    weight_zero_point: int
    output_zero_point: int
    requant: Requant
    clamp: Clamp
    keep_num_dims: bool = False

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, row length and accumulator bounds."""
        x, weights, bias = inputs
        broken = common.filter_problems(x, weights, bias, rank=2)
        yield from broken
        if broken or weights.data is None or bias.data is None:
            return
        filters, depth = weights.shape
        broken = list(common.channel_problems(bias, self.requant, filters))
        if broken:
            yield from broken
        elif depth == 0 or x.elements % depth or (self.keep_num_dims and x.shape[-1] != depth):
            yield f"the input {x.shape} does not divide into rows of {depth}"
        else:
            yield from common.accumulator_problems(
                weights.data, bias.data, self.zero_point, self.weight_zero_point, self.requant
            )

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(rows, o) int8, or the input's shape with its last dimension replaced."""
        x, weights, _ = inputs
        filters, depth = weights.shape
        shape: Shape = (*x.shape[:-1], filters) if self.keep_num_dims else (x.elements // depth, filters)
        return (TensorType(shape, INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One exact matrix product."""
        x, weights, bias = inputs
        rows = x.reshape(-1, weights.shape[1]).astype(np.int32) - self.zero_point
        acc = common.trailing_matmul(rows, weights.astype(np.int32) - self.weight_zero_point) + bias
        y = np.clip(self.requant.apply(acc) + self.output_zero_point, *self.clamp)
        shape = (*x.shape[:-1], weights.shape[0]) if self.keep_num_dims else y.shape
        return (y.astype(np.int8).reshape(shape),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a row's dot product."""
        return outputs[0].elements * inputs[1].shape[1]


def _prepare(site: Site) -> Body:
    op: FullyConnected = site.op
    x, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    filters, depth = weights.shape
    final, constants, helpers = common.finish(op.requant, op.output_zero_point, op.clamp)
    weight_sums = (weights.data.astype(np.int64) - op.weight_zero_point).sum(axis=1)
    return Body(
        values={
            "rows": x.elements // depth,
            "depth": depth,
            "filters_count": filters,
            "weight_zero_point": op.weight_zero_point,
            "finish": final,
            **common.blocks(filters, depth, site.objective),
        },
        constants={
            "weights": weights.data,
            "bias": (bias.data - op.zero_point * weight_sums).astype(np.int32),
            **constants,
        },
        helpers=helpers,
    )


KERNELS = (Kernel("fully_connected.direct", FullyConnected, _prepare),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("plain", (1, 13), 9),
        _case("one_by_one", (1, 1), 1),
        _case("rows", (5, 8), 6),
        _case("image", (1, 3, 4, 5), 7, depth=60),
        _case("keep_num_dims", (1, 3, 4), 7, keep_num_dims=True),
        _case("no_bias", (1, 12), 8, bias=False),
        _case("relu", (1, 12), 8, activation="RELU"),
        _case("relu6", (1, 12), 8, activation="RELU6", output_scale=0.02),
        _case("weight_zero_point", (2, 11), 6, weight_zero_point=5),
        _case("per_channel", (2, 11), 6, per_channel=True),
        _case("gain_above_one", (1, 4), 4, output_scale=1e-4),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random layer."""
    return _case(
        f"random_{rng.integers(1 << 30)}",
        (int(rng.integers(1, 4)), int(rng.integers(1, 70))),
        int(rng.integers(1, 20)),
        activation=str(rng.choice(["NONE", "RELU", "RELU6"])),
        bias=bool(rng.random() < 0.8),
        zero_point=int(rng.integers(-128, 128)),
        output_scale=float(np.exp(rng.uniform(np.log(1e-3), np.log(5.0)))),
    )


def _case(
    name: str,
    x: Shape,
    filters: int,
    *,
    depth: int = 0,
    activation: str = "NONE",
    bias: bool = True,
    keep_num_dims: bool = False,
    zero_point: int = -5,
    weight_zero_point: int = 0,
    per_channel: bool = False,
    output_scale: float = 0.6,
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    depth = depth or x[-1]
    weight_scale = tuple(float(v) for v in rng.uniform(0.002, 0.03, filters)) if per_channel else 0.013
    weights = CaseTensor(
        (filters, depth),
        scale=weight_scale,
        zero_point=weight_zero_point,
        data=rng.integers(-127, 127, (filters, depth), np.int8, endpoint=True),
    )
    bias_scale = tuple(0.04 * v for v in weight_scale) if isinstance(weight_scale, tuple) else 0.04 * weight_scale
    biases = CaseTensor(
        (filters,), "int32", bias_scale, data=rng.integers(-4000, 4000, filters, np.int32, endpoint=True)
    )
    rows = int(np.prod(x)) // depth
    return Case(
        name,
        "FULLY_CONNECTED",
        (CaseTensor(x, scale=0.04, zero_point=zero_point), weights, biases if bias else None),
        (CaseTensor((*x[:-1], filters) if keep_num_dims else (rows, filters), scale=output_scale, zero_point=-9),),
        {"fused_activation_function": activation, "keep_num_dims": keep_num_dims},
    )
