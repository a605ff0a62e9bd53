"""What passes and the importer take out of a model: it computes the same, with less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from building import Built, assert_exact, build_bytes, differences, host, tflm, varied
from tflite_builder import OperatorSpec, build_model

from tinygen.errors import UnsupportedModel
from tinygen.ops.case import CaseTensor
from tinygen.samples import Sample

SAMPLES = 6
VALID = {"padding": "VALID", "stride_h": 1, "stride_w": 1}


def layers(built: Built) -> list[str]:
    return [layer.op for layer in built.manifest.layers]


def integers(*values: object) -> CaseTensor:
    data = np.array(values, np.int32)
    return CaseTensor(data.shape, "int32", data=data)


def scalar(value: int) -> CaseTensor:
    return CaseTensor((), "int32", data=np.array(value, np.int32))


# --- dilation --------------------------------------------------------------------------------------------------------

Pair = tuple[int, int]


def dilated_model(
    *,
    size: Pair,
    block: Pair,
    pads: Sequence[Pair] = ((0, 0), (0, 0)),
    crops: Sequence[Pair] = ((0, 0), (0, 0)),
    kernel: Pair = (3, 3),
    op: str = "CONV_2D",
    batch: int = 1,
    zero_point: int = 0,
    join_block: Pair | None = None,
    options: dict[str, object] | None = None,
    outputs: Sequence[int] = (8,),
) -> bytes:
    """The three operators that converters make of a dilated convolution, 3 channels to 4, or 3 to 6 depthwise."""
    rng = np.random.default_rng(3)
    depthwise = op == "DEPTHWISE_CONV_2D"
    filters = 6 if depthwise else 4
    options = {**VALID, **(options or {}), **({"depth_multiplier": 2} if depthwise else {})}
    weights = rng.integers(-127, 128, (1, *kernel, filters) if depthwise else (filters, *kernel, 3)).astype(np.int8)
    scales = tuple(float(scale) for scale in rng.uniform(0.002, 0.01, filters))
    phase = [(dim + sum(pad)) // step for dim, pad, step in zip(size, pads, block, strict=True)]
    strides = (int(str(options["stride_h"])), int(str(options["stride_w"])))
    fits = options["padding"] == "SAME"
    made = [
        dim if fits else (dim - taps) // stride + 1 for dim, taps, stride in zip(phase, kernel, strides, strict=True)
    ]
    whole = [dim * step - sum(crop) for dim, step, crop in zip(made, join_block or block, crops, strict=True)]
    count = batch * block[0] * block[1]
    tensors = [
        CaseTensor((batch, *size, 3), scale=0.05, zero_point=zero_point),
        integers(*block),
        integers(*pads),
        CaseTensor((count, *phase, 3), scale=0.05, zero_point=zero_point),
        CaseTensor(weights.shape, scale=scales, axis=3 if depthwise else 0, data=weights),
        CaseTensor((filters,), "int32", data=rng.integers(-3000, 3000, filters).astype(np.int32)),
        CaseTensor((count, *made, filters), scale=0.4, zero_point=-9),
        integers(*crops),
        CaseTensor((batch, *whole, filters), scale=0.4, zero_point=-9),
        integers(*(join_block or block)),
    ]
    operators: list[OperatorSpec] = [
        ("SPACE_TO_BATCH_ND", [0, 1, 2], [3], {}),
        (op, [3, 4, 5], [6], options),
        ("BATCH_TO_SPACE_ND", [6, 9, 7], [8], {}),
    ]
    return build_model(tensors, operators, [0], outputs)


DILATIONS: dict[str, dict[str, object]] = {
    "by two": {"size": (8, 10), "block": (2, 2)},
    "by three": {"size": (9, 12), "block": (3, 3), "kernel": (2, 3)},
    "uneven": {"size": (8, 9), "block": (2, 3), "kernel": (3, 1)},
    "rows only": {"size": (8, 7), "block": (2, 1)},
    "odd size, cropped behind": {
        "size": (9, 7),
        "block": (2, 2),
        "pads": ((2, 3), (2, 3)),
        "crops": ((0, 1), (0, 1)),
    },
    "odd size, by three": {
        "size": (7, 11),
        "block": (3, 3),
        "pads": ((3, 5), (3, 4)),
        "crops": ((0, 2), (0, 1)),
    },
    "cropped before": {"size": (7, 6), "block": (2, 2), "pads": ((3, 2), (2, 2)), "crops": ((1, 0), (2, 1))},
    "batch": {"size": (8, 6), "block": (2, 2), "batch": 2},
    "zero point, no padding": {"size": (8, 10), "block": (2, 2), "zero_point": -17},
    # What is padded is cropped again: its value does not matter.
    "zero point, odd size": {
        "size": (9, 7),
        "block": (2, 2),
        "pads": ((0, 1), (0, 1)),
        "crops": ((0, 1), (0, 1)),
        "zero_point": -128,
    },
}


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("name", DILATIONS)
def test_a_convolution_of_phases_becomes_a_dilated_one(name: str, op: str, tmp_path: Path) -> None:
    built = build_bytes(dilated_model(op=op, **DILATIONS[name]), tmp_path)  # type: ignore[arg-type]
    assert layers(built) == [op]
    assert_exact(built, varied(built, SAMPLES))


KEPT: dict[str, dict[str, object]] = {
    "stride": {"size": (12, 12), "block": (2, 2), "options": {"stride_h": 2, "stride_w": 1}},
    "padding of every phase": {"size": (12, 12), "block": (2, 2), "options": {"padding": "SAME"}},
    "other blocks": {"size": (12, 12), "block": (2, 2), "join_block": (4, 1)},
    "more cropped than padded": {"size": (8, 10), "block": (2, 2), "crops": ((1, 0), (0, 0))},
    "phases are an output": {"size": (8, 10), "block": (2, 2), "outputs": (3, 8)},
    "phases of the result are an output": {"size": (8, 10), "block": (2, 2), "outputs": (6, 8)},
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_no_dilated_convolution_is_left_alone(name: str, tmp_path: Path) -> None:
    built = build_bytes(dilated_model(**KEPT[name]), tmp_path)  # type: ignore[arg-type]
    assert layers(built) == ["SPACE_TO_BATCH_ND", "CONV_2D", "BATCH_TO_SPACE_ND"]
    assert_exact(built, varied(built, SAMPLES))


# --- shapes ----------------------------------------------------------------------------------------------------------

X = CaseTensor((2, 3, 4, 5), scale=0.1, zero_point=3)


def test_a_shape_that_is_sliced_and_packed_leaves_no_code(tmp_path: Path) -> None:
    # Flattening, as Keras writes it.
    tensors = [
        X,
        CaseTensor((4,), "int32"),
        integers(0),
        integers(1),
        CaseTensor((), "int32"),
        scalar(60),
        CaseTensor((2,), "int32"),
        CaseTensor((2, 60), scale=0.1, zero_point=3),
    ]
    operators: list[OperatorSpec] = [
        ("SHAPE", [0], [1], {}),
        ("STRIDED_SLICE", [1, 2, 3, 3], [4], {"shrink_axis_mask": 1}),
        ("PACK", [4, 5], [6], {"values_count": 2, "axis": 0}),
        ("RESHAPE", [0, 6], [7], {}),
    ]
    built = build_bytes(build_model(tensors, operators, [0], [7]), tmp_path)
    assert layers(built) == []
    assert_exact(built, varied(built, SAMPLES))


def test_a_shape_that_is_padded_leaves_no_code(tmp_path: Path) -> None:
    tensors = [
        X,
        CaseTensor((4,), "int32"),
        integers(0),
        integers(1),
        CaseTensor((1,), "int32"),
        integers((0, 1)),
        integers(60),
        CaseTensor((2,), "int32"),
        CaseTensor((2, 60), scale=0.1, zero_point=3),
        CaseTensor((2, 60), scale=0.2, zero_point=-5),
    ]
    operators: list[OperatorSpec] = [
        ("SHAPE", [0], [1], {}),
        ("SLICE", [1, 2, 3], [4], {}),
        ("PADV2", [4, 5, 6], [7], {}),
        ("RESHAPE", [0, 7], [8], {}),
        ("QUANTIZE", [8], [9], {}),
    ]
    built = build_bytes(build_model(tensors, operators, [0], [9]), tmp_path)
    assert layers(built) == ["QUANTIZE"]
    assert_exact(built, varied(built, SAMPLES))


def test_a_shape_may_be_gathered(tmp_path: Path) -> None:
    tensors = [
        CaseTensor((7, 3), scale=0.1),
        CaseTensor((2,), "int32"),
        integers(1, 0),
        CaseTensor((2,), "int32"),
        CaseTensor((3, 7), scale=0.1),
    ]
    operators: list[OperatorSpec] = [
        ("SHAPE", [0], [1], {}),
        ("GATHER", [1, 2], [3], {}),
        ("RESHAPE", [0, 3], [4], {}),
    ]
    built = build_bytes(build_model(tensors, operators, [0], [4]), tmp_path)
    assert layers(built) == []
    # The runtime does not gather int32.
    assert differences(built, varied(built, SAMPLES), host(built)) == []


def test_a_shape_gives_the_borders_of_a_slice(tmp_path: Path) -> None:
    tensors = [
        CaseTensor((7, 3), scale=0.1),
        CaseTensor((2, 2), scale=0.1),
        CaseTensor((2,), "int32"),
        integers(0, 0),
        CaseTensor((2, 2), scale=0.1),
    ]
    operators: list[OperatorSpec] = [
        ("SHAPE", [1], [2], {}),
        ("SLICE", [0, 3, 2], [4], {}),
    ]
    built = build_bytes(build_model(tensors, operators, [0, 1], [4]), tmp_path)
    assert layers(built) == ["SLICE"]
    assert_exact(built, varied(built, SAMPLES))


# --- gather ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["input", "constant"])
@pytest.mark.parametrize("batched", [False, True])
def test_indices_at_run_time(table: str, batched: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(-128, 128, (2, 4, 3)).astype(np.int8)
    x = CaseTensor(values.shape, scale=0.1, data=values if table == "constant" else None)
    indices = CaseTensor((2, 5), "int32")
    y = CaseTensor((2, 5, 3) if batched else (2, 2, 5, 3), scale=0.1)
    data = build_model(
        [x, indices, y],
        [("GATHER", [0, 1], [2], {"axis": 1, "batch_dims": int(batched)})],
        [1] if table == "constant" else [0, 1],
        [2],
    )
    built = build_bytes(data, tmp_path)
    assert layers(built) == ["GATHER"]
    inside = [_gather_sample(rng.integers(0, 4, (2, 5)), values, table) for _ in range(SAMPLES)]
    assert differences(built, inside, host(built), tflm(built)) == []
    # The runtime gives up where an index is outside; here it counts as the nearest inside.
    anything = rng.integers(-(2**31), 2**31, (2, 5))
    assert differences(built, [_gather_sample(anything, values, table)], host(built)) == []


def _gather_sample(indices: np.ndarray, values: np.ndarray, table: str) -> Sample:
    wanted = indices.astype(np.int32)
    return Sample("indices", (wanted,) if table == "constant" else (values, wanted))


# --- functions in float32 --------------------------------------------------------------------------------------------


def curve_model(functions: Sequence[str], scale: float, zero_point: int, y_scale: float, y_zero: int = 0) -> bytes:
    """What converters make of functions that they cannot quantise."""
    shape = (1, 7, 37)
    count = len(functions) + 1
    tensors = [
        CaseTensor(shape, scale=scale, zero_point=zero_point),
        *(CaseTensor(shape, "float32") for _ in range(count)),
        CaseTensor(shape, scale=y_scale, zero_point=y_zero),
    ]
    names = ["DEQUANTIZE", *functions, "QUANTIZE"]
    operators: list[OperatorSpec] = [(name, [index], [index + 1], {}) for index, name in enumerate(names)]
    return build_model(tensors, operators, [0], [count + 1])


CURVES: dict[str, tuple[Sequence[str], float, int, float, int]] = {
    "NEG": (["NEG"], 0.05, 3, 0.047, -9),
    "SQUARE": (["SQUARE"], 0.05, 3, 0.1, -128),
    "ABS": (["ABS"], 0.05, 3, 0.03, -128),
    "CEIL": (["CEIL"], 0.05, 3, 0.06, 5),
    "FLOOR": (["FLOOR"], 0.05, 3, 0.06, 5),
    "ROUND, ties": (["ROUND"], 0.125, 3, 0.11, 5),
    "SIN": (["SIN"], 0.05, 3, 1 / 128, 0),
    "COS": (["COS"], 0.05, 3, 1 / 128, 0),
    "ELU": (["ELU"], 0.05, 3, 0.04, -90),
    "EXP": (["EXP"], 0.05, 100, 0.02, -128),
    "EXP, saturated": (["EXP"], 0.05, -128, 0.02, -128),
    "LOG": (["LOG"], 0.05, -128, 0.03, 0),
    "SQRT": (["SQRT"], 0.05, -128, 0.03, -128),
    "RSQRT": (["RSQRT"], 0.05, -128, 0.03, -128),
    "several": (["EXP", "NEG", "FLOOR"], 0.05, 3, 5.0, 127),
}


@pytest.mark.parametrize("name", CURVES)
def test_functions_in_float32_become_a_table(name: str, tmp_path: Path) -> None:
    functions, scale, zero_point, y_scale, y_zero = CURVES[name]
    built = build_bytes(curve_model(functions, scale, zero_point, y_scale, y_zero), tmp_path)
    assert layers(built) == ["QUANTIZE"]
    # At zero, LOG and RSQRT are infinite, and what the runtime makes of that is undefined.
    smallest = -127 if {"LOG", "RSQRT"} & set(functions) else -128
    assert_exact(built, varied(built, SAMPLES), lowest_input=smallest)


def test_what_else_reads_a_chain_keeps_it(tmp_path: Path) -> None:
    tensors = [
        CaseTensor((1, 40), scale=0.05, zero_point=3),
        CaseTensor((1, 40), "float32"),
        CaseTensor((1, 40), "float32"),
        CaseTensor((1, 40), scale=0.047, zero_point=-9),
    ]
    operators: list[OperatorSpec] = [("DEQUANTIZE", [0], [1], {}), ("NEG", [1], [2], {}), ("QUANTIZE", [2], [3], {})]
    built = build_bytes(build_model(tensors, operators, [0], [1, 3]), tmp_path)
    assert layers(built) == ["DEQUANTIZE", "QUANTIZE"]
    assert_exact(built, varied(built, SAMPLES))


@pytest.mark.parametrize(
    ("operators", "outputs"),
    [
        ([("DEQUANTIZE", [0], [1], {}), ("NEG", [1], [2], {})], [2]),
        ([("NEG", [1], [2], {}), ("QUANTIZE", [2], [3], {})], [3]),
    ],
)
def test_functions_in_float32_at_the_edge_are_refused(
    operators: list[OperatorSpec], outputs: list[int], tmp_path: Path
) -> None:
    tensors = [CaseTensor((4,), scale=0.05), *(CaseTensor((4,), "float32"),) * 2, CaseTensor((4,), scale=0.05)]
    with pytest.raises(UnsupportedModel, match="NEG: it computes in float32, which is supported only between"):
        build_bytes(build_model(tensors, operators, [operators[0][1][0]], outputs), tmp_path)
