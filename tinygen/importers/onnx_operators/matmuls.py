"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.onnx_call import (
    Call,
    Converter,
    clamp,
    constant,
    expect_no_bounds,
    is_real_row,
    scale_and_zero_point,
    transposed,
)
from tinygen.importers.onnx_integer_products import SCALED
from tinygen.importers.onnx_operators.float_sums import float_product
from tinygen.importers.onnx_operators.weights import bias, expect_finite, filter_values, finish, kept, requant
from tinygen.ir import Tensor
from tinygen.ops.batch_matmul import BatchMatmul
from tinygen.ops.common import FLOAT32
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.real_product import RealProduct


def _turned(x: Tensor) -> tuple[Tensor, list[Converted]]:
    """A matrix with rows and columns exchanged, and what exchanges them."""
    turned = Tensor(f"{x.name}~turned", x.shape[::-1], x.dtype, x.quant)
    return turned, [transposed(x, (1, 0), turned)]


def _product(
    call: Call, x: Tensor, weights: Tensor, y: Tensor, axis: int, with_bias: int | None = 2, alpha: float = 1.0
) -> Converted:
    """Rows of x by the constant `weights`, whose output channels are dimension `axis`."""
    if not x.shape:
        raise Refused("its input is a scalar, expected are rows")
    values, scales, weight_zero = filter_values(weights, "weights", axis)
    rows = values if axis == 0 else values.T
    rescaling, biases = finish(call, x, scales, len(rows), alpha=alpha, with_bias=with_bias)
    op = FullyConnected(
        zero_point=scale_and_zero_point(x, "input")[1],
        weight_zero_point=weight_zero,
        output_zero_point=scale_and_zero_point(y, "output")[1],
        requant=rescaling,
        clamp=clamp(call),
        keep_num_dims=True,
    )
    return Converted(op, (x, kept(weights, "rows" if axis == 0 else "columns", rows, 0, scales), biases), (y,))


def _in_float(call: Call, weights: Tensor, axis: int) -> Sequence[Converted] | None:
    """Rows of the first side by `weights`, where ONNX Runtime computes them in float32; None where it does not."""
    given = call.optional(2)
    is_real = call.output.dtype == FLOAT32 and given is not None and given.dtype == FLOAT32
    if not call.in_float and not is_real:
        return None
    values, scales, weight_zero = filter_values(weights, "weights", axis)
    return float_product(call, values if axis == 0 else values.T, scales, weight_zero, is_turned=axis == 0)


def _of_integers(call: Call, x: Tensor, weights: Tensor, axis: int) -> Converted:
    """Rows of x by `weights`, whose result stays float32: sums of integers there, too."""
    values, scales, weight_zero = filter_values(weights, "weights", axis)
    rows = values if axis == 0 else values.T
    x_scale, zero_point = scale_and_zero_point(x, "input")
    gains = np.resize(x_scale * scales, len(rows))
    expect_finite(gains.tolist())
    kept_rows = kept(weights, "rows" if axis == 0 else "columns", rows, 0, scales)
    each = constant(f"{call.output.name}~scales", gains)
    return Converted(RealProduct(zero_point, weight_zero), (x, kept_rows, each, bias(call, 2, x, scales, len(rows))))


def _sides(call: Call) -> tuple[Tensor, Tensor]:
    return call.input(0, "first input"), call.input(1, "second input")


def _matmul(call: Call) -> Sequence[Converted]:
    a, b = _sides(call)
    if b.data is not None and len(b.shape) == 2:
        # With an int32 bias, of more than two dimensions, it is QGemm there, which gives float32.
        given = call.optional(2)
        is_summed = given is None or (given.dtype == FLOAT32 and not is_real_row(given))
        found = _in_float(call, b, 1) if is_summed else None
        if found is None and call.output.dtype == FLOAT32 and call.op == "MatMul" and given is None:
            return [_of_integers(call, a, b, 1)]
        return found or [_product(call, a, b, call.output, 1)]
    if a.data is not None and len(a.shape) == 2 and len(b.shape) == 2 and call.optional(2) is None:
        return _constant_first(call, a, b, 0, turn=True)
    if min(len(a.shape), len(b.shape)) < 2 or call.op != "MatMul" or call.optional(2) is not None:
        raise Refused(
            f"it multiplies {a.shape} and {b.shape}, supported are matrices, and a bias where the second is constant",
            "reshape its operands to matrices",
        )
    return [_of_computed(call, a, b)]


def _of_computed(call: Call, a: Tensor, b: Tensor) -> Converted:
    """Matrices of both sides, which need not be constant, by ONNX Runtime's QLinearMatMul."""
    (_, a_zero), (b_scale, b_zero) = scale_and_zero_point(a, "first input"), scale_and_zero_point(b, "second input")
    _, y_zero = scale_and_zero_point(call.output, "output")
    expect_no_bounds(call)
    rescaling = requant(call, a, np.array([b_scale]))
    return Converted(BatchMatmul(False, False, a_zero, b_zero, y_zero, rescaling), (a, b))


def _constant_first(
    call: Call, a: Tensor, b: Tensor, axis: int, *, turn: bool, alpha: float = 1.0
) -> Sequence[Converted]:
    """a b = (b' a')': the rows of the constant a are the output channels."""
    columns, before = _turned(b) if turn else (b, [])
    y = call.output
    result = Tensor(f"{y.name}~turned", y.shape[::-1], y.dtype, y.quant)
    return [*before, _product(call, columns, a, result, axis, None, alpha), transposed(result, (1, 0), y)]


def _gemm(call: Call) -> Sequence[Converted]:
    """alpha a' b' + c, of which a' and b' may be turned."""
    a, b = _sides(call)
    alpha, beta = float(call.attribute("alpha", 1.0)), float(call.attribute("beta", 1.0))
    turned_a, turned_b = bool(call.attribute("transA", 0)), bool(call.attribute("transB", 0))
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise Refused(f"it multiplies {a.shape} and {b.shape}, expected are matrices")
    has_bias = call.optional(2) is not None
    if has_bias and beta != 1.0:
        raise Refused(f"its beta is {beta:g}, expected is 1", "multiply the bias by it before quantising")
    if not alpha > 0 or (has_bias and alpha != 1.0 and not call.node.in_integers):
        raise Refused(f"its alpha is {alpha:g}, expected is 1", "multiply the weights' scale by it")
    if b.data is not None:
        is_plain, axis = not turned_a and alpha == 1.0, 0 if turned_b else 1
        found = _in_float(call, b, axis) if is_plain else None
        if found is not None:
            return found
        if is_plain and call.output.dtype == FLOAT32:
            return [_of_integers(call, a, b, axis)]
        rows, before = _turned(a) if turned_a else (a, [])
        return [*before, _product(call, rows, b, call.output, axis, alpha=alpha)]
    if a.data is not None and not has_bias:
        return _constant_first(call, a, b, 1 if turned_a else 0, turn=not turned_b, alpha=alpha)
    raise Refused(
        "neither side is constant" if a.data is None else "its first side is constant, and it has a bias",
        "supported is a constant second side, or a constant first side without a bias",
    )


CONVERTERS: Mapping[str, Converter] = {"Gemm": _gemm, "MatMul": _matmul, SCALED["MatMulInteger"]: _matmul}
