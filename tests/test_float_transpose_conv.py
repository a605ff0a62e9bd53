"""ConvTranspose in float32: how far its sums can be from the exact ones, and what is refused since that is too far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tinygen.ir import Array, Tensor
from tinygen.ops.float_transpose_conv import DEEPEST, FloatTransposeConv, bounds
from tinygen.ops.window import Axis, Window

Rng = np.random.Generator


def tensor(name: str, values: Array) -> Tensor:
    return Tensor(name, values.shape, values.dtype, None, values)


def layer(rng: Rng, depth: int, filters: int = 5, scale: float = 1.0) -> tuple[FloatTransposeConv, list[Tensor]]:
    """Of 3 x 4 taps, two of which meet at most in a row, for an image of 4 x 4 pixels."""
    window = Window(Axis(3, 2), Axis(4, 2))
    op = FloatTransposeConv(0.0237, int(rng.integers(-128, 128)), 0, scale, 0, (-128, 127), window, (9, 10))
    x = rng.choice([-128, 127], (1, 4, 4, depth)).astype(np.int8)
    weights = rng.integers(-127, 128, (filters, 3, 4, depth)).astype(np.int8)
    scales = np.exp(rng.uniform(-8, -4, filters)).astype(np.float32)
    bias = rng.normal(0, 3, filters).astype(np.float32)
    return op, [tensor(name, values) for name, values in zip("xwsb", (x, weights, scales, bias), strict=True)]


def exact(op: FloatTransposeConv, operands: Sequence[Tensor]) -> Array:
    """The quotients before they are rounded to integers, in float64, which is exact in comparison."""
    x, weights, scales, bias = (np.asarray(operand.data).astype(np.float64) for operand in operands)
    total = np.zeros((1, *op.output_size, len(bias)))
    for ky, kx, view in op.window.tap_views(total, *x.shape[1:3]):
        view += (x - op.zero_point) @ weights[:, ky, kx].T
    return np.asarray(
        (total * np.float64(np.float32(op.scale)) * scales + bias) / np.float64(np.float32(op.output_scale))
    )


@pytest.mark.parametrize("seed", range(4))
def test_floats_are_off_by_no_more_than_the_bound(seed: int) -> None:
    op, operands = layer(np.random.default_rng(seed), 3**seed)
    limits, wanted = bounds(op, operands), exact(op, operands)
    sums = op.sums(*(np.asarray(operand.data) for operand in operands))
    difference = np.abs(sums / np.float32(op.output_scale) - wanted).max(axis=(0, 1, 2))
    assert (np.abs(wanted).max(axis=(0, 1, 2)) <= limits.steps).all()
    assert (difference <= limits.error).all() and (difference > limits.error / 1000).any()


def test_sums_whose_order_or_size_is_open_are_refused() -> None:
    rng = np.random.default_rng(1)
    assert not list(FloatTransposeConv.problems(*layer(rng, DEEPEST)))
    assert any("order" in problem for problem in FloatTransposeConv.problems(*layer(rng, DEEPEST + 1)))
    assert any("too fine" in problem for problem in FloatTransposeConv.problems(*layer(rng, 300, scale=1e-4)))
