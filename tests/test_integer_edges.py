"""Cores without an FPU: float32 inputs and outputs are quantised and dequantised by their bits, exactly."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from building import assert_exact, build_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import NAMED
from tflite_builder import build_case

from tinygen import float32
from tinygen.emit import render
from tinygen.fixedpoint import IntArray, quantize_f32
from tinygen.host import compile_shared
from tinygen.ir import Tensor
from tinygen.kernel import Kernel, Site
from tinygen.ops.common import FLOAT32, INT8, UINT8
from tinygen.ops.quantize import KERNELS, Dequantize, Quantize
from tinygen.proofs.float_edges import IntegerProduct, IntegerQuotient
from tinygen.samples import Sample

BOARD = "qemu-mps2-an385-m0"
COUNT = 4096
"""Elements of each layer."""
KERNEL = {kernel.name: kernel for kernel in KERNELS}
SPECIAL = np.array(
    [0.0, 1e-45, 1.17549421e-38, 1.17549435e-38, 1e-20, 2147483648.0, 3e38, np.inf, np.nan], dtype=np.float32
)
QUANTS = [(0.037, -4), (0.25, 0), (1 / 255, -128), (1.0, 127), (0.0999999, 3), (2.0**-40, -77), (1.5e20, 100)]
Floats = npt.NDArray[np.float32]
SCALES = st.one_of(
    st.floats(2.0**-124, 2.0**100, width=32),
    st.integers(-120, 100).map(lambda exponent: 2.0**exponent),
    st.integers(-120, 100).map(lambda exponent: float(np.nextafter(np.float32(2.0**exponent), np.float32(0)))),
)


def by_rule(op: Quantize) -> Callable[[Floats], IntArray]:
    """The quotients of positive values, rounded."""
    rule = float32.quantize if op.to_even else quantize_f32
    return lambda values: rule(values, np.float32(op.scale), 0, 0, 1000)


def around_steps(scale: float) -> Floats:
    """What is quantised to 0.5, 1.5, ... steps, or lies next to it, on both sides and of both signs; and extremes."""
    with np.errstate(over="ignore"):
        middle = (np.float32(scale) * (np.arange(300) + np.float32(0.5))).astype(np.float32)
        places = np.concatenate([middle.view(np.int32) + off for off in (-2, -1, 0, 1, 2)])
    values = np.concatenate([places.view(np.float32), SPECIAL])
    return np.concatenate([values, -values])


def site(op: Quantize | Dequantize, x: np.dtype[np.generic], y: np.dtype[np.generic]) -> Site:
    """On a core without an FPU."""
    return Site(op, [Tensor("x", (COUNT,), x)], [Tensor("y", (COUNT,), y)], "balanced")


def in_c(kernel: Kernel, sites: Sequence[Site], folder: Path) -> Callable[[int, npt.NDArray[np.generic]], npt.NDArray]:
    """What layers print, compiled together: the number of a layer and its input to its output."""
    texts = ["#include <stdint.h>", render("helpers/clamp.c.j2", prefix="c")]
    types = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t"}
    for number, each in enumerate(sites):
        assert kernel.accepts(each)
        x, y = types[str(each.inputs[0].dtype)], types[str(each.outputs[0].dtype)]
        body = kernel.prepare(each)
        names = {"id": f"l{number}", "prefix": "c", "x_type": x, "y_type": y}
        signature = f"void run{number}(const {x} *x, {y} *y)"
        texts.append(render(kernel.template, **names, signature=signature, **body.values))
    library = ctypes.CDLL(str(compile_shared({"edges.c": "\n".join(texts)}, folder)))

    def run(number: int, values: npt.NDArray[np.generic]) -> npt.NDArray:
        x, y = np.resize(values, COUNT), np.zeros(COUNT, sites[number].outputs[0].dtype)
        getattr(library, f"run{number}")(*(array.ctypes.data_as(ctypes.c_void_p) for array in (x, y)))
        return y

    return run


def test_quantising_is_the_float32_division(tmp_path: Path) -> None:
    """At every step, next to it, and for what is no moderate number."""
    ops = [Quantize(float(np.float32(scale)), zero, INT8, even) for scale, zero in QUANTS for even in (False, True)]
    run = in_c(KERNEL["quantize.integer"], [site(op, FLOAT32, INT8) for op in ops], tmp_path)
    for number, op in enumerate(ops):
        values = np.resize(around_steps(op.scale), COUNT)
        (expected,) = op.reference(values)
        assert np.array_equal(run(number, values), expected), op
        assert len(np.unique(expected)) == 256


def test_dequantising_is_the_float32_product(tmp_path: Path) -> None:
    for dtype, move in ((INT8, 0), (UINT8, 128)):
        ops = [Dequantize(float(np.float32(scale)), zero + move) for scale, zero in QUANTS]
        run = in_c(KERNEL["dequantize.integer"], [site(op, dtype, FLOAT32) for op in ops], tmp_path / str(dtype))
        codes = np.resize(np.arange(256) - 128 + move, COUNT).astype(dtype)
        for number, op in enumerate(ops):
            (expected,) = op.reference(codes)
            assert np.array_equal(run(number, codes).view(np.uint32), expected.view(np.uint32)), op


@settings(max_examples=25)
@given(scale=SCALES, to_even=st.booleans(), limit=st.integers(128, 256))
def test_quotients_of_all_scales(scale: float, to_even: bool, limit: int) -> None:
    rule = by_rule(Quantize(scale, 0, INT8, to_even))
    found = IntegerQuotient.of(scale, limit, rule, to_even)
    assert found is not None
    values = np.abs(around_steps(scale))
    bits = values.view(np.uint32).astype(np.int64)
    inside = (bits >= found.least) & (bits < found.most)
    assert np.array_equal(found.apply(bits[inside]), rule(values[inside]))
    assert not rule(values[bits < found.least]).any()
    finite = values[(bits >= found.most) & np.isfinite(values)]
    assert (rule(finite) >= limit).all()


@settings(max_examples=25)
@given(scale=SCALES, zero_point=st.integers(-128, 127))
def test_products_of_all_scales(scale: float, zero_point: int) -> None:
    found = IntegerProduct.of(scale, -128 - zero_point, 127 - zero_point)
    assert found is not None
    codes = np.arange(256) - 128 - zero_point
    expected = codes.astype(np.float32) * np.float32(scale)
    assert np.array_equal(found.apply(codes), expected.view(np.uint32))


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 3e38])
def test_what_is_not_normal_is_left_to_floats(scale: float) -> None:
    assert IntegerQuotient.of(scale, 255, by_rule(Quantize(scale, 0, INT8)), False) is None
    assert IntegerProduct.of(scale, -128, 127) is None or scale == 1e-38


@pytest.mark.parametrize("name", ["quantize-quantize", "quantize-dequantize_uint8"])
def test_no_float_is_left_in_the_c(name: str, tmp_path: Path) -> None:
    """Nor do the bytes change: the original runtime agrees."""
    built = build_bytes(build_case(NAMED[name]), tmp_path, board=BOARD)
    (layer,) = built.manifest.layers
    assert layer.kernel.endswith(".integer")
    assert "compared" in layer.proof
    (x,) = built.manifest.inputs
    rng = np.random.default_rng(0)
    wide = rng.normal(0, 9, x.shape) if x.dtype == FLOAT32 else rng.integers(0, 256, x.shape)
    assert_exact(built, [Sample("wide", (wide.astype(x.dtype),))])
