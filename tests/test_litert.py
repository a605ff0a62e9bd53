"""The profile litert: reference, generated C and LiteRT's reference kernels give the same bytes, or we refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import build_bytes, build_file, differences, host, is_wide, litert, varied
from operator_cases import FAMILIES, NAMED, build
from shared import needs_shared_models, shared_models
from tflite_builder import OperatorSpec, build_case, build_object, pack

from tinygen import pipeline
from tinygen.errors import CannotCompare, UnsupportedModel
from tinygen.ops.case import TFLITE, Case, CaseTensor
from tinygen.options import LITERT, TFLM, Options
from tinygen.rescaling import RealRequant, integer_factor
from tinygen.runtimes import RUNTIMES

SAMPLES = 4
RANDOM_CASES = 3

REFUSED = {
    name
    for name, case in NAMED.items()
    if name.partition("-")[0] == "lstm"
    or case.op in ("ADD_N", "ELU", "SUM")
    or (case.op == "SVDF" and name != "svdf-relu")
} | {
    "activations-leaky_relu_int16_steep",
    "activations-leaky_relu_int16_zero",
    "activations-leaky_relu_int16_zero_points",
    "activations-relu6_int16_zero_point",
    "add-add_int16_zero_points",
    "add-sub_int16_zero_points",
    "conv_2d-int16_no_bias",
    "conv_2d-no_bias",
    "div-both_broadcast",
    "div-coarse_output",
    "div-fine_output",
    "div-negative_dividends",
    "div-of_a_scalar",
    "div-positive",
    "div-relu6",
    "div-scalar",
    "fully_connected-int4_weight_zero_point",
    "prelu-input_is_smaller",
    "quantize-dequantize_int16_zero_point",
    "quantize-int16_to_int16_up",
    "quantize-int8_to_int32",
    "quantize-int8_to_int32_zero_point",
    "reduce-mean_int16",
    "reduce-mean_int16_channels",
    "reduce-mean_int16_coarse_output",
    "reduce-mean_int16_same_scale",
    "reduce-mean_int16_zero_points",
    "rsqrt-int16",
    "rsqrt-int16_coarse_output",
    "rsqrt-int16_fine_output",
    "rsqrt-zero_point",
    "squared_difference-int16",
    "squared_difference-int16_per_channel",
    "transpose_conv-int16_bias_int16",
    "transpose_conv-larger",
    "transpose_conv-shape_at_run_time",
    "transpose_conv-smaller",
}
"""What LiteRT refuses, gets wrong, or computes by an algorithm that is not built."""


@pytest.mark.parametrize("name", [n for n, case in NAMED.items() if case.suffix == TFLITE and n not in REFUSED])
def test_everybody_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    case = NAMED[name]
    built = build(case, tmp_path, profile=LITERT)
    inputs = varied(built, SAMPLES)
    theirs = [sample for sample in inputs if is_wide(sample)] if case.no_flat_inputs else inputs
    assert differences(built, inputs, host(built)) == []
    assert differences(built, theirs, litert(built)) == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_litert_does_not_compute_alike_is_refused_in_words(name: str, tmp_path: Path) -> None:
    path = tmp_path / "case.tflite"
    path.write_bytes(build_case(NAMED[name]))
    with pytest.raises(UnsupportedModel, match=r"LiteRT.*build with --profile tflm"):
        pipeline.read(path, Options(LITERT))


@pytest.mark.parametrize("family", {n.partition("-")[0]: None for n, case in NAMED.items() if case.suffix == TFLITE})
def test_random_cases(family: str, tmp_path: Path) -> None:
    for index in range(RANDOM_CASES):
        case = FAMILIES[family].random_case(np.random.default_rng([7, index]))
        try:
            built = build(case, tmp_path / str(index), profile=LITERT)
        except UnsupportedModel as refused:
            assert "build with --profile tflm" in str(refused)
            continue
        inputs = [sample for sample in varied(built, SAMPLES) if is_wide(sample) or not case.no_flat_inputs]
        assert differences(built, inputs, host(built), litert(built)) == [], case


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("scale", [0.02, 0.05, 0.09])
def test_relu6_rescales(dtype: str, scale: float, tmp_path: Path) -> None:
    """What TensorFlow Lite Micro does not, so that the tests of both profiles have no such case."""
    fine = 1 if dtype == "int8" else 1 / 256
    tensors = [
        CaseTensor((1, 500), dtype, 0.07 * fine, 5 if dtype == "int8" else 0),
        CaseTensor((1, 500), dtype, scale * fine, -100 if dtype == "int8" else 0),
    ]
    case = Case("", "RELU6", (tensors[0],), (tensors[1],))
    built = build_bytes(build_case(case), tmp_path, profile=LITERT)
    assert differences(built, varied(built, SAMPLES), host(built), litert(built)) == []


@pytest.mark.parametrize("dtype", ["int8", "float32", "int32"])
@pytest.mark.parametrize(
    ("shape", "repeats"), [((2, 3), (1, 1)), ((1, 2, 3), (2, 1, 4)), ((5,), (3,)), ((1, 2, 1, 3, 2), (1, 2, 3, 1, 2))]
)
def test_tiles(shape: tuple[int, ...], repeats: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    """What TensorFlow Lite Micro lacks; of int8, converters ask for a version that LiteRT's reference kernels lack."""
    scale = 0.1 if dtype == "int8" else None
    x, y = (CaseTensor(dims, dtype, scale) for dims in (shape, tuple(np.multiply(shape, repeats))))
    times = CaseTensor((len(shape),), "int32", data=np.array(repeats, np.int32))
    case = Case("", "TILE", (x, times), (y,))
    built = build_bytes(build_case(case), tmp_path, profile=LITERT)
    assert differences(built, varied(built, SAMPLES), host(built), litert(built)) == []


def open_sequence() -> bytes:
    """Two frames of three values behind a product of dimensions, as of a dense layer in each frame: all open."""
    two, one = (CaseTensor((n,), "int32", data=np.array(list(range(n)), np.int32)) for n in (2, 1))
    tensors = [
        CaseTensor((1, 2, 3), scale=0.1),
        CaseTensor((3,), "int32"),
        CaseTensor((2,), "int32"),
        two,
        CaseTensor((), "int32"),
        one,
        CaseTensor((), "int32", data=np.array(3, np.int32)),
        CaseTensor((2,), "int32"),
        CaseTensor((1, 3), scale=0.1),
        CaseTensor((1, 3), scale=0.1),
    ]
    operators: list[OperatorSpec] = [
        ("SHAPE", [0], [1], {"out_type": "INT32"}),
        ("GATHER", [1, 3], [2], {"axis": 0}),
        ("REDUCE_PROD", [2, 5], [4], {"keep_dims": False}),
        ("PACK", [4, 6], [7], {"values_count": 2, "axis": 0}),
        ("RESHAPE", [0, 7], [8], {}),
        ("RELU", [8], [9], {}),
    ]
    model = build_object(tensors, operators, [0], [9])
    for index in (8, 9):
        model.subgraphs[0].tensors[index].shapeSignature = [-1, -1]
    return pack(model)


def test_open_dimensions_are_what_the_inputs_make_of_them(tmp_path: Path) -> None:
    built = build_bytes(open_sequence(), tmp_path, profile=LITERT)
    assert built.manifest.outputs[0].shape == (2, 3)
    assert differences(built, varied(built, SAMPLES), host(built), litert(built)) == []
    with pytest.raises(CannotCompare, match="TensorFlow Lite Micro has no REDUCE_PROD"):
        RUNTIMES[TFLM].ask(built.out, built.manifest)


MLPERF = ("ad_autoencoder", "ic_resnet8", "kws_ds_cnn", "sww_streaming_wakeword", "vww_mobilenet_v1")


@needs_shared_models
@pytest.mark.parametrize("name", MLPERF)
def test_shared_models(name: str, tmp_path: Path) -> None:
    models = shared_models()
    assert models is not None
    built = build_file(models / "mlperf" / f"{name}.tflite", tmp_path / "out", profile=LITERT)
    assert "--profile litert" in built.source.read_text()
    assert built.manifest.profile == LITERT
    assert differences(built, varied(built, 20), host(built), litert(built)) == []


# --- float64 factors in integers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_an_integer_factor_gives_the_same_results_for_every_accumulator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor = float(np.exp(rng.uniform(np.log(1e-5), np.log(2.0))))
    if seed < 8:
        factor = (0.5, 0.25, 1.0, 1.5, 1 / 3, 0.1, 2.0**-12, 3 * 2.0**-9)[seed]  # many ties
    bound, reach = int(rng.integers(1, 300_000)), (255, 128, 32768)[seed % 3]
    found = integer_factor(RealRequant((factor,)), bound, reach)
    assert found is not None
    multiplier, shift = found
    acc = np.arange(-bound, bound + 1)
    integers = (acc * multiplier + (1 << (shift - 1)) - (acc < 0)) >> shift
    real = RealRequant((factor,)).apply(acc)
    assert np.array_equal(np.clip(integers, -reach, reach), np.clip(real, -reach, reach))


def test_no_integer_factor_fits_64_bits() -> None:
    assert integer_factor(RealRequant((0.123456789,)), 2**52, 32768) is None
