"""Cores without an FPU: channels without a line are rescaled as float32 products are, in integers."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from building import build_read, differences, host, varied
from case_files import case_file
from operator_cases import NAMED

from tinygen import pipeline
from tinygen.check import check
from tinygen.emit import render
from tinygen.float32 import fused_multiply_add
from tinygen.host import compile_shared
from tinygen.ops.tie_product import TieProduct, tie_product
from tinygen.ops.weighted import Weighted
from tinygen.rescaling import FloatRequant

BOARD = "qemu-riscv32-virt"
"""Without an FPU, and without kernels of its own for such layers, as a Cortex-M0 has them."""
CASE = "conv_2d-many_filters"
TIES = 2.0**-7
"""A factor that no line stands for."""
NO_TIES = 0.0123456789
TINY = 1.23e-6
MOST = 1 << 24
"""Sums that float32 has exactly."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def in_c(sums: Ints, product: TieProduct, folder: Path) -> Ints:
    """What the C helper gives next to ties, for each sum, multiplier and shift; elsewhere, ties go up."""
    loop = """
void run(const int32_t *sums, const int32_t *multipliers, const int32_t *shifts, int32_t *results, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t half = INT32_C(1) << (shifts[i] - 1);
        const int32_t high = half + (int32_t)(((int64_t)sums[i] * multipliers[i]) >> 32);
        results[i] = (((uint32_t)high + 1U) & ((uint32_t)half * 2U - 1U)) < 2U
            ? c_float_product(sums[i], multipliers[i], shifts[i])
            : high >> shifts[i];
    }
}
"""
    text = "#include <stdint.h>\n" + render("helpers/float_product.c.j2", prefix="c") + loop
    library = ctypes.CDLL(str(compile_shared({"product.c": text}, folder)))
    arrays = [each.astype(np.int32) for each in (product.scale * sums, product.multiplier, product.shift, sums)]
    library.run(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays), len(sums))
    return arrays[3].astype(np.int64)


@pytest.mark.parametrize(("least", "greatest"), [(2.0**-22, 1.0), (2.0**-32, 2.0**-6)])
def test_the_integers_are_the_float32_product(least: float, greatest: float, tmp_path: Path) -> None:
    """At random, at ties, and next to them: factors one place off, above and below, of both signs."""
    rng = np.random.default_rng(5)
    count = 200_000
    sums = rng.integers(1, MOST, count, endpoint=True)
    near = ((rng.integers(0, 300, count) + 0.5) / sums).astype(np.float32)
    off = [(near.view(np.int32) + places).view(np.float32) for places in (-1, 0, 1)]
    wide = np.exp(rng.uniform(np.log(least), np.log(greatest), count)).astype(np.float32)
    powers = np.float32(2) ** rng.integers(-30, -3, count).astype(np.float32)
    all_sums = np.concatenate([sums, -sums, sums, -sums, rng.integers(0, 70_000, count)])
    factors = np.concatenate([off[0], off[1], off[2], wide, powers])
    results = all_sums.astype(np.float32) * factors
    kept = (factors >= least) & (factors < greatest) & (np.abs(results) < 300)
    product = tie_product(FloatRequant(tuple(factors[kept].tolist())), np.abs(all_sums[kept]))
    assert product is not None and product.scale == (1 if greatest < 1 else 64)
    assert np.array_equal(in_c(all_sums[kept], product, tmp_path), np.rint(results[kept]).astype(np.int64))


def fused_in_c(operands: Floats, folder: Path) -> Floats:
    """What the C helper makes of rows of a, b, and c."""
    loop = """
void run(const float *operands, float *results, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        results[i] = c_fused_normal(operands[3 * i], operands[3 * i + 1], operands[3 * i + 2]);
    }
}
"""
    text = "#include <stdint.h>\n" + render("helpers/fused_normal.c.j2", prefix="c") + loop
    library = ctypes.CDLL(str(compile_shared({"fused.c": text}, folder)))
    given, results = np.ascontiguousarray(operands), np.zeros(len(operands), np.float32)
    library.run(*(array.ctypes.data_as(ctypes.c_void_p) for array in (given, results)), len(operands))
    return results


def test_the_integers_are_the_fused_product_and_sum(tmp_path: Path) -> None:
    """Of sums that nearly or wholly vanish, of those that are ties, and of zeros."""
    rng = np.random.default_rng(6)
    count = 200_000
    signs = rng.choice([-1.0, 1.0], (3, count, 3))
    wide = signs[0] * np.exp2(rng.uniform(-30, 30, (count, 3)))
    alike = signs[1] * rng.uniform(0.5, 2, (count, 3))
    ties = signs[2] * rng.integers(0, 1 << 12, (count, 3)) * np.exp2(rng.integers(-14, 14, (count, 3)))
    vanishing = alike.astype(np.float32)
    vanishing[:, 2] = -(vanishing[:, 0] * vanishing[:, 1])
    operands = np.concatenate([each.astype(np.float32) for each in (wide, alike, ties, vanishing)])
    assert np.array_equal(fused_in_c(operands, tmp_path), fused_multiply_add(*operands.T))


@pytest.mark.parametrize("other", [TIES, NO_TIES, TINY])
def test_layers_with_ties_equal_the_reference(other: float, tmp_path: Path) -> None:
    """All channels without a line, some of them with one, and some with another shift: no float is left in the C."""
    file, data = case_file(NAMED[CASE])
    model = pipeline.decode(data, file)
    (node,) = model.graph.nodes
    assert isinstance(node.op, Weighted)
    channels = model.graph.tensors[node.outputs[0]].shape[-1]
    factors = np.where(np.arange(channels) % 3, np.float32(other), TIES).tolist()
    op = dataclasses.replace(node.op, requant=FloatRequant(tuple(factors)))
    graph = check(dataclasses.replace(model.graph, nodes=(dataclasses.replace(node, op=op),)))
    built = build_read(dataclasses.replace(model, graph=graph), tmp_path, board=BOARD)
    (layer,) = built.manifest.layers
    assert "float32 product" in layer.proof
    text = built.source.read_text()
    assert "float_product(" in text
    assert ("_shift[channel]" in text) == (other == TINY)
    assert "float " not in text
    assert differences(built, varied(built, 30), host(built)) == []
