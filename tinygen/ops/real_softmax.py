"""SOFTMAX and LOG_SOFTMAX to float32, as ONNX Runtime's library MLAS computes them on x86-64."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, exponential
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.natural_logarithm import natural_logarithm
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.real_scales import RealInput
from tinygen.ops.work import Rates

_LANES = 16
"""Of a vector register, in which partial sums are kept."""


class _OfRows(Op):
    """A function of the rows of real values, to float32."""

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

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In float32."""
        (x,) = inputs
        return (self.of_rows(self.reals()[x.astype(np.int64) + 128] if isinstance(self, RealInput) else x),)

    @abstractmethod
    def of_rows(self, reals: FloatArray) -> FloatArray:
        """Of (..., n), step by step."""


class _Softmax(_OfRows):
    """y = exp(x - max) * (1 / sum), of real values x, in float32; rows are summed by the lanes of a vector."""

    name = "SOFTMAX"

    def of_rows(self, reals: FloatArray) -> FloatArray:
        """(..., n)."""
        terms = _exponentials(reals)
        return np.asarray(terms * (np.float32(1) / _sums(terms)))


class _LogSoftmax(_OfRows):
    """y = x - max - log(sum of exp(x - max)), of real values x, in float32; rows are summed as SOFTMAX's."""

    name = "LOG_SOFTMAX"

    def of_rows(self, reals: FloatArray) -> FloatArray:
        """(..., n)."""
        logarithms = natural_logarithm(_sums(_exponentials(reals)))
        return np.asarray(reals - reals.max(axis=-1, keepdims=True) - logarithms)


def _exponentials(reals: FloatArray) -> FloatArray:
    return exponential(reals - reals.max(axis=-1, keepdims=True))


def _sums(terms: FloatArray) -> FloatArray:
    """(..., n) to (..., 1)."""
    lanes = np.zeros((*terms.shape[:-1], _LANES), np.float32)
    for start in range(0, terms.shape[-1], _LANES):
        part = terms[..., start : start + _LANES]
        lanes[..., : part.shape[-1]] += part
    halves = lanes[..., : _LANES // 2] + lanes[..., _LANES // 2 :]
    while halves.shape[-1] > 1:
        halves = halves[..., 0::2] + halves[..., 1::2]
    return np.asarray(halves)


@dataclass(frozen=True)
class RealSoftmax(_Softmax, RealInput):
    """Of what int8 values stand for."""

    input_dtype = INT8
    scale: float
    zero_point: int
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class SoftmaxOfReals(_Softmax):
    """Of float32."""

    input_dtype = FLOAT32


@dataclass(frozen=True)
class RealLogSoftmax(_LogSoftmax, RealInput):
    """Of what int8 values stand for."""

    input_dtype = INT8
    scale: float
    zero_point: int
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class LogSoftmaxOfReals(_LogSoftmax):
    """Of float32."""

    input_dtype = FLOAT32


def _prepare(site: Site) -> Body:
    op: _OfRows = site.op
    (x,) = site.inputs
    values = {"rows": x.elements // x.shape[-1], "depth": x.shape[-1], "lanes": _LANES, "source": "reals"}
    constants: dict[str, Array] = {}
    if isinstance(op, RealInput) and (site.objective == "speed" or op.curve):
        values["source"] = "table"
        constants["reals"] = op.reals()
    elif isinstance(op, RealInput):
        values |= {"source": "codes", "scale": float_literal(op.scale), "zero_point": op.zero_point}
    logarithm = {"natural_logarithm"} if isinstance(op, _LogSoftmax) else set()
    return Body(values, constants, helpers=frozenset({"exponential"} | logarithm))


_SOFTMAX = Rates(476, output=98, in_float=True)
_LOG_SOFTMAX = Rates(732, output=181, in_float=True)
"""Of rows of ten values, each row with a logarithm in double."""

KERNELS = (
    Kernel("real_softmax.direct", RealSoftmax, _prepare, work=_SOFTMAX),
    Kernel("real_softmax.direct", SoftmaxOfReals, _prepare, work=_SOFTMAX),
    Kernel("real_log_softmax.direct", RealLogSoftmax, _prepare, work=_LOG_SOFTMAX),
    Kernel("real_log_softmax.direct", LogSoftmaxOfReals, _prepare, work=_LOG_SOFTMAX),
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
        _case("log_ten_classes", (40, 10), 0.1, op="LogSoftmax"),
        _case("log_one_class", (2, 1), 0.1, op="LogSoftmax"),
        _case("log_channels", (1, 4, 2, 3), 0.05, op="LogSoftmax", axis=1),
        _case("log_steep", (20, 12), 1.1, op="LogSoftmax"),
        _case("log_long", (3, 600), 0.02, op="LogSoftmax"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random softmax."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 40)))
    scale = float(np.exp(rng.uniform(np.log(1e-3), np.log(2.0))))
    return _case(f"random_{rng.integers(1 << 30)}", shape, scale, op=str(rng.choice(["Softmax", "LogSoftmax"])))


def _case(name: str, shape: Shape, scale: float, dtype: str = "int8", op: str = "Softmax", axis: int = -1) -> Case:
    x, y = CaseTensor(shape, dtype, scale, 4), CaseTensor(shape, "float32")
    return Case(name, op, (x,), (y,), {"axis": axis}, suffix=ONNX)
