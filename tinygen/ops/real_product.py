"""FULLY_CONNECTED whose result stays float32, by ONNX Runtime's QGemm and MatMulIntegerToFloat: sums of integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT32
from tinygen.ops.weighted import Weights
from tinygen.ops.work import dot_product_work

_LARGEST_SUM = 2**31


@dataclass(frozen=True)
class RealProduct(Op):
    """y[..., o] = float(sum (x - zero_point) * (w[o] - weight_zero_point) + bias[o]) * scales[o].

    The sum is exact; it is rounded to float32, and so is the product. x int8 (..., k), weights int8 (o, k), scales
    float32 (o,), bias int32 (o,), all constants but x; y float32 (..., o).
    """

    name: ClassVar[str] = "FULLY_CONNECTED"
    zero_point: int
    weight_zero_point: int

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 of an exact sum"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and sums that leave int32."""
        x, weights, scales, bias = inputs
        yield from common.expect_dtype(x, "input", INT8)
        yield from common.expect_dtype(weights, "filter", INT8)
        yield from common.expect_rank(weights, "filter", 2)
        constants = [problem for each in (weights, scales, bias) for problem in common.expect_constant(each, "operand")]
        yield from constants
        if constants or len(weights.shape) != 2:
            return
        filters, depth = weights.shape
        if not x.shape or x.shape[-1] != depth:
            yield f"the input {x.shape} has no rows of {depth}"
        if scales.shape != (filters,) or bias.shape != (filters,) or (scales.dtype, bias.dtype) != (FLOAT32, INT32):
            yield f"scales {scales.shape} and bias {bias.shape} are not float32 and int32, one for each of {filters}"
            return
        assert weights.data is not None and bias.data is not None
        products = np.abs(weights.data.astype(np.int64) - self.weight_zero_point).sum(axis=1) * 255
        if np.any(products + np.abs(bias.data.astype(np.int64)) >= _LARGEST_SUM):
            yield "its sums leave int32"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(..., o)."""
        return (TensorType((*inputs[0].shape[:-1], inputs[1].shape[0]), FLOAT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The exact sums, rounded twice."""
        x, weights, scales, bias = inputs
        centred = weights.astype(np.int64) - self.weight_zero_point
        sums = common.trailing_matmul(x.astype(np.int64) - self.zero_point, centred) + bias
        return (sums.astype(np.float32) * scales,)

    def folded_bias(self, weights: Array, bias: Array) -> IntArray:
        """(o,) int32: what sums of x, not of x less its zero point, begin with."""
        centred = weights.astype(np.int64) - self.weight_zero_point
        return np.asarray((bias - self.zero_point * centred.sum(axis=1)).astype(np.int32))

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """A row of the weights for each result."""
        return outputs[0].elements * inputs[1].shape[1]


def _prepare(site: Site) -> Body:
    op: RealProduct = site.op
    x, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    filters, depth = weights.shape
    values = {
        "rows": x.elements // depth,
        "depth": depth,
        "filters_count": filters,
        "weights": Weights(False, op.weight_zero_point),
        **common.blocks(filters, depth, site.objective),
    }
    bias_data = op.folded_bias(weights.data, bias.data)
    return Body(values, {"weights": weights.data, "scales": scales.data, "bias": bias_data})


def _work(site: Site) -> Work:
    return dot_product_work(site, site.inputs[1].shape[1])


KERNELS = (Kernel("real_product.direct", RealProduct, _prepare, work=_work),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("plain", (1, 43), 9),
        _case("rows", (5, 8), 6, turned=False),
        _case("no_bias", (1, 12), 8, bias=False),
        _case("weight_zero_point", (2, 11), 6, weight_zero_point=5),
        _case("per_channel", (2, 33), 7, per_channel=True),
        _case("one_by_one", (1, 1), 1),
        _case("matmul", (2, 3, 12), 5, op="MatMul", bias=False, dtype="uint8"),
        _case("large_sums", (1, 1201), 3, lowest=True),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random matrix product."""
    rows, terms, filters = (int(size) for size in rng.integers(1, 40, 3))
    turned, per_channel, bias = (bool(rng.random() < 0.5) for _ in range(3))
    name, seed = f"random_{rng.integers(1 << 30)}", int(rng.integers(1 << 30))
    return _case(name, (rows, terms), filters, turned=turned, per_channel=per_channel, bias=bias, seed=seed)


def _case(
    name: str,
    x: tuple[int, ...],
    filters: int,
    *,
    op: str = "Gemm",
    turned: bool = True,
    bias: bool = True,
    per_channel: bool = False,
    weight_zero_point: int = 0,
    lowest: bool = False,
    dtype: str = "int8",
    seed: int = 4,
) -> Case:
    rng = np.random.default_rng(seed)
    turned &= op == "Gemm"
    shape = (filters, x[-1]) if turned else (x[-1], filters)
    values = np.full(shape, -128, np.int8) if lowest else rng.integers(-127, 128, shape).astype(np.int8)
    scales = np.linspace(0.002, 0.004, filters if per_channel else 1, dtype=np.float32)

    def given(reals: np.ndarray) -> float | tuple[float, ...]:
        return tuple(reals.tolist()) if per_channel else float(reals[0])

    weights = CaseTensor(shape, "int8", given(scales), weight_zero_point, 0 if turned else 1, values)
    operands = [CaseTensor(x, dtype, 0.05, 7), weights]
    if bias:
        data = rng.integers(-(10**6), 10**6, filters).astype(np.int32)
        operands.append(CaseTensor((filters,), "int32", given(np.float32(0.05) * scales), data=data))
    options = {"transB": int(turned)} if op == "Gemm" else {}
    return Case(name, op, tuple(operands), (CaseTensor((*x[:-1], filters), "float32"),), options, suffix=ONNX)
