"""Results near to a tie on cores without an FPU: what is sure is float32's, and the rest is summed as float32 is."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_float_conv import conv_net

from tinygen import pipeline
from tinygen.emit import render
from tinygen.fixedpoint import IntArray
from tinygen.float32 import fused_multiply_add
from tinygen.ir import Array
from tinygen.kernel import Site
from tinygen.ops.float_closely import closely
from tinygen.ops.float_conv import FloatConv
from tinygen.proofs.open_short_product import open_short_product
from tinygen.rescaling import OpenLine

Chain = Callable[[Array, Array, np.float32, np.float32], float]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1 << 30), span=st.integers(50, 100_000), widest=st.floats(1e-6, 0.1), rectified=st.booleans()
)
def test_what_a_short_product_calls_sure_is_sure(seed: int, span: int, widest: float, rectified: bool) -> None:
    """For all sums: both alternatives that the line leaves give its result, or the result is called open."""
    rng, channels = np.random.default_rng(seed), 4
    factors = np.exp(rng.uniform(np.log(1e-5), np.log(3), channels))
    offsets, errors = rng.normal(0, 60, channels), rng.uniform(0, widest, channels)
    line = OpenLine(tuple(factors.tolist()), tuple(offsets.tolist()), tuple(errors.tolist()))
    low, high = -rng.integers(1, span, channels), rng.integers(1, span, channels)
    zero_point = int(rng.integers(-128, 127))
    clamp = (zero_point if rectified else -128, 127)
    form = open_short_product(line, zero_point, clamp, tuple(low.tolist()), tuple(high.tolist()))
    assert form is not None
    sums = np.arange(low.min(), high.max() + 1)[:, np.newaxis]
    steps = sums * factors + offsets + 0.5 + zero_point
    least, greatest = (np.clip(np.floor(steps + by), *clamp) for by in (-errors, errors))
    results, is_open = form.apply(sums), form.is_open(sums)
    inside = (sums >= low) & (sums <= high)
    assert (is_open | (results == least) & (results == greatest))[inside].all()
    assert (results - greatest >= 0)[inside & is_open].all() and (results - least <= 1)[inside & is_open].all()
    # No more than the width of a power of two, and what 24 bits are short of.
    assert is_open[inside].mean() <= 4 * errors.max() + 0.002 + 64 * factors.max()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The sum of values and weights as the generated C has it, compiled for this machine."""
    folder = tmp_path_factory.mktemp("chain")
    source = "#include <stdint.h>\n" + render("helpers/fused_sum.c.j2", prefix="c") + CHAIN
    (folder / "chain.c").write_text(source)
    flags = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    command = ["gcc", *flags, "-shared", "-fPIC", "chain.c", "-o", "chain.so"]
    subprocess.run(command, cwd=folder, check=True)
    function = ctypes.CDLL(str(folder / "chain.so")).chain
    function.restype = ctypes.c_float

    def found(values: Array, weights: Array, scale: np.float32, weight_scale: np.float32) -> float:
        (mantissa, exponent), (other, more) = (np.frexp(float(each)) for each in (scale, weight_scale))
        operands = [np.ascontiguousarray(each, np.int32) for each in (values, weights)]
        pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in operands]
        significands = [ctypes.c_uint32(int(np.ldexp(each, 24))) for each in (mantissa, other)]
        unit = ctypes.c_float(float(np.ldexp(1.0, int(exponent) + int(more) - 48)))
        return float(function(*pointers, ctypes.c_int32(len(values)), *significands, unit))

    return found


CHAIN = """
float chain(const int32_t *values, const int32_t *weights, int32_t count, uint32_t scale, uint32_t other, float unit);

float chain(const int32_t *values, const int32_t *weights, int32_t count, uint32_t scale, uint32_t other, float unit)
{
    c_float_sum sum = { 0U, 0, 0U };
    for (int32_t i = 0; i < count; i++) {
        if (values[i] != 0 && weights[i] != 0) {
            const uint32_t value = (uint32_t)(values[i] < 0 ? -values[i] : values[i]);
            const uint32_t weight = (uint32_t)(weights[i] < 0 ? -weights[i] : weights[i]);
            c_add_product(&sum, value * scale, weight * other, (values[i] < 0) != (weights[i] < 0) ? 1U : 0U);
        }
    }
    return c_sum_value(&sum, unit);
}
"""


def in_float32(values: IntArray, weights: IntArray, scale: np.float32, weight_scale: np.float32) -> float:
    """The same by numpy."""
    total = np.zeros(1, np.float32)
    for value, weight in zip(values, weights, strict=True):
        factors = np.float32(value) * scale, np.float32(weight) * weight_scale
        total = fused_multiply_add(*(np.full(1, factor, np.float32) for factor in factors), total)
    return float(total[0])


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 1 << 30), count=st.integers(1, 60), cancels=st.booleans(), largest=st.sampled_from([1, 9, 255])
)
def test_sums_in_integers_are_those_of_float32(
    chain: Chain, seed: int, count: int, cancels: bool, largest: int
) -> None:
    """Of either sign, of all sizes, and where what was summed up is taken away again."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-largest, largest + 1, count)
    weights = rng.integers(-128, 128, count)
    if cancels:
        values, weights = np.append(values, values), np.append(weights, -weights.clip(-127))
    scales = np.exp2(rng.uniform(-25, 25, 2)).astype(np.float32)
    if seed % 3 == 0:
        scales = np.nextafter(np.exp2(np.round(np.log2(scales))), np.float32(np.inf) * rng.choice([-1, 1], 2))
        scales = scales.astype(np.float32)
    assert chain(values, weights, *scales) == in_float32(values, weights, *scales)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_large_sums_are_those_of_float32(chain: Chain, seed: int) -> None:
    """Beyond 64 bits of the exact sum."""
    rng = np.random.default_rng(seed)
    values = rng.integers(200, 256, 900) * np.where(np.arange(900) < 600, 1, -1)
    weights = rng.integers(100, 128, 900)
    scales = rng.uniform(1, 2, 2).astype(np.float32)
    assert chain(values, weights, *scales) == in_float32(values, weights, *scales)


@pytest.mark.parametrize("name", ["groups", "blocks_of_128", "chain"])
def test_float32_is_off_by_no_more_than_sizes_say(name: str) -> None:
    graph = pipeline.decode(conv_net(name), "net.onnx").graph
    node = next(node for node in graph.nodes if isinstance(node.op, FloatConv))
    op, operands = node.op, graph.input_tensors(node)
    assert isinstance(op, FloatConv)
    close = closely(Site(op, operands, graph.output_tensors(node), "balanced"), op.bounds(operands))
    assert close is not None
    x = np.random.default_rng(1).integers(-128, 128, operands[0].shape).astype(np.int8)
    _, weights, scales, bias = (np.asarray(operand.data) for operand in operands)
    patches, rows = op._patches(x, weights.shape[3]), op._rows(weights)
    products = np.repeat(patches, len(rows) // patches.shape[1], axis=1) * rows  # (pixels, o, terms)
    blocks = np.split(products, range(op.order.block, op.order.terms, op.order.block), axis=2)
    partial = [np.abs(np.cumsum(block, axis=2)) >> close.shift for block in blocks]
    totals = np.cumsum([block.sum(axis=2) for block in blocks], axis=0)
    sizes = sum(each.sum(axis=2) for each in partial)
    if len(blocks) > 1:
        sizes = sizes + (np.abs(totals) >> close.shift).sum(axis=0)
    steps = (totals[-1] * (op.scale * scales.astype(np.float64)) + bias) / op.output_scale
    margins = sizes * close.constants["rates"].astype(np.int64) >> close.rate_shift
    margins = margins + close.constants["near"] + (np.abs(np.rint(steps)).astype(np.int64) << close.quotient_shift)
    off = np.abs(op.sums(x, weights, scales, bias) / np.float32(op.output_scale) - steps)
    assert (off <= margins * 2.0**-32).all()
    assert (off > margins * 2.0**-32 / 300).any()
    assert np.median(margins) < np.median(close.constants["margins"])
