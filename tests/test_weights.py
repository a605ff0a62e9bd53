"""Constant weights: how they are stored, and how wide their sums are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from building import Built, build_bytes
from tflite_builder import build_case

from tinygen.check import MalformedGraph, check
from tinygen.ir import Graph, Tensor, packed, read_only, unpacked
from tinygen.ops import conv_2d, fully_connected, transpose_conv
from tinygen.ops.case import Case
from tinygen.rescaling import Requant, Rounding


def case(module: object, name: str) -> Case:
    (found,) = (each for each in module.cases() if each.name == name)  # type: ignore[attr-defined]
    return found


def build(module: object, name: str, folder: Path) -> Built:
    return build_bytes(build_case(case(module, name)), folder)


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 3, 3), (4, 5)])
def test_packing_halves_and_comes_back(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-8, 7, shape, np.int8, endpoint=True)
    data = packed(values)
    assert data.dtype == np.uint8
    assert data.shape == ((values.size + 1) // 2,)
    assert np.array_equal(unpacked(data, shape), values)


def test_the_first_value_is_in_the_low_half() -> None:
    assert packed(np.array([1, -2, -8], np.int8)).tolist() == [0xE1, 0x08]


def test_int4_filters_stay_packed_in_flash(tmp_path: Path) -> None:
    built = build(conv_2d, "int4", tmp_path)
    weights = case(conv_2d, "int4").inputs[1]
    assert weights is not None and weights.data is not None
    size = (weights.data.size + 1) // 2
    assert f"uint8_t layer_00_weights[{size}]" in built.source.with_name("kws_constants.inc").read_text()
    # Filter, two biases, multipliers and addends, all of int32.
    assert built.manifest.const_bytes == size + 5 * (4 + 4 + 4 + 4)


def test_a_packed_tensor_is_a_constant_of_half_bytes() -> None:
    def graph(data: np.ndarray | None) -> Graph:
        tensor = Tensor("w", (2,), np.dtype(np.int8), data=data, packed=True)
        return Graph("net", {"w": tensor}, (), () if data is not None else ("w",), ())

    check(graph(read_only(np.array([-8, 7], np.int8))))
    for data in (None, read_only(np.array([-9, 7], np.int8))):
        with pytest.raises(MalformedGraph, match="'w' is packed"):
            check(graph(data))


@pytest.mark.parametrize(
    ("module", "name", "c_type"),
    [
        (conv_2d, "int16", "int32_t"),
        (conv_2d, "int16_sums_int64", "int64_t"),
        (conv_2d, "int16_bias_beyond_int32", "int64_t"),
        (fully_connected, "int16", "int32_t"),
        (fully_connected, "int16_sums_int64", "int64_t"),
        (transpose_conv, "int16", "int32_t"),
        (transpose_conv, "int16_sums_int64", "int64_t"),
    ],
)
def test_sums_are_as_wide_as_they_must_be(module: object, name: str, c_type: str, tmp_path: Path) -> None:
    sums = re.findall(r"(int\d+_t) acc\d* = layer_00_bias", build(module, name, tmp_path).source.read_text())
    assert set(sums) == {c_type}


def test_biases_are_stored_in_32_bits_where_they_fit(tmp_path: Path) -> None:
    stored = {}
    for name in ("int16_sums_int64", "int16_bias_beyond_int32"):
        text = build(conv_2d, name, tmp_path / name).source.with_name("kws_constants.inc").read_text()
        stored[name] = re.findall(r"(int\d+_t) layer_00_bias", text)
    assert stored == {"int16_sums_int64": ["int32_t"], "int16_bias_beyond_int32": ["int64_t"]}


@pytest.mark.parametrize("scale", [2.0**-30, 3e-5, 0.7, 1.0, 100.0, 2.0**13])
def test_the_largest_accumulator_of_int64_gives_an_int32(scale: float) -> None:
    requant = Requant.from_scales(scale, Rounding.INT64)
    (largest,) = requant.largest_accumulator()
    assert 0 < largest < 2**47
    assert abs(int(requant.apply(np.array([-largest, largest]))[0])) <= 2**31
    assert int(requant.apply(np.array([largest]))[0]) < 2**31
    if largest < 2**47 - 1:  # the bound is tight
        assert int(requant.apply(np.array([largest * 1.001 + 2], np.int64))[0]) >= 2**31


def test_the_shape_of_a_transposed_convolution_may_be_an_input_that_nothing_reads(tmp_path: Path) -> None:
    built = build(transpose_conv, "shape_at_run_time", tmp_path)
    assert [(port.dtype, port.shape) for port in built.manifest.inputs] == [("int32", (4,)), ("int8", (1, 3, 3, 2))]
    (node,) = built.model.graph.nodes
    assert built.model.graph.inputs[0] not in node.inputs
