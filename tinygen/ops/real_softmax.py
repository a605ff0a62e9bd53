"""SOFTMAX that no QuantizeLinear follows, as ONNX Runtime's library MLAS computes it on x86-64, to float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, exponential
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.real_scales import RealInput
from tinygen.ops.work import Rates

_LANES = 16
"""Of a vector register, in which partial sums are kept."""


class _Softmax(Op):
    """y = exp(x - max) * (1 / sum), of real values x, in float32; rows are summed by the lanes of a vector."""

    name = "SOFTMAX"
    input_dtype: ClassVar[np.dtype[np.generic]]

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype and rank."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", self.input_dtype)
        if not x.shape:
            yield "the input is a scalar"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The input's shape, in float32."""
        return (TensorType(inputs[0].shape, FLOAT32),)


def _of_rows(reals: FloatArray) -> FloatArray:
    """(..., n): in float32, step by step."""
    terms = exponential(reals - reals.max(axis=-1, keepdims=True))
    lanes = np.zeros((*reals.shape[:-1], _LANES), np.float32)
    for start in range(0, reals.shape[-1], _LANES):
        part = terms[..., start : start + _LANES]
        lanes[..., : part.shape[-1]] += part
    halves = lanes[..., : _LANES // 2] + lanes[..., _LANES // 2 :]
    while halves.shape[-1] > 1:
        halves = halves[..., 0::2] + halves[..., 1::2]
    return np.asarray(terms * (np.float32(1) / halves))


@dataclass(frozen=True)
class RealSoftmax(_Softmax, RealInput):
    """Of what int8 values stand for."""

    input_dtype = INT8
    scale: float
    zero_point: int
    curve: tuple[float, ...] = ()

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In float32."""
        return (_of_rows(self.reals()[inputs[0].astype(np.int64) + 128]),)


@dataclass(frozen=True)
class SoftmaxOfReals(_Softmax):
    """Of float32."""

    input_dtype = FLOAT32

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In float32."""
        return (_of_rows(inputs[0]),)


def _prepare(site: Site) -> Body:
    op: RealSoftmax | SoftmaxOfReals = site.op
    (x,) = site.inputs
    values = {"rows": x.elements // x.shape[-1], "depth": x.shape[-1], "lanes": _LANES, "source": "reals"}
    constants: dict[str, Array] = {}
    if isinstance(op, RealSoftmax) and (site.objective == "speed" or op.curve):
        values["source"] = "table"
        constants["reals"] = op.reals()
    elif isinstance(op, RealSoftmax):
        values |= {"source": "codes", "scale": float_literal(op.scale), "zero_point": op.zero_point}
    return Body(values, constants, helpers=frozenset({"fused", "exponential"}))


KERNELS = tuple(
    Kernel("real_softmax.direct", op, _prepare, work=Rates(476, output=98, in_float=True))
    for op in (RealSoftmax, SoftmaxOfReals)
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("ten_classes", (1, 10), 0.1),
        _case("one_class", (2, 1), 0.1),
        _case("rows", (3, 7), 0.05),
        _case("sixteen", (2, 16), 0.09),
        _case("steep", (2, 12), 1.1),
        _case("flat", (1, 10), 1e-5),
        _case("long", (1, 600), 0.02),
        _case("uint8", (3, 12), 0.1, dtype="uint8"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random softmax."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 40)))
    return _case(f"random_{rng.integers(1 << 30)}", shape, float(np.exp(rng.uniform(np.log(1e-3), np.log(2.0)))))


def _case(name: str, shape: Shape, scale: float, dtype: str = "int8") -> Case:
    return Case(name, "Softmax", (CaseTensor(shape, dtype, scale, 4),), (CaseTensor(shape, "float32"),), suffix=ONNX)
