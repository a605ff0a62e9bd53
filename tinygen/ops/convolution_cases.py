"""Test cases of what multiplies by weights: single-operator models, drawn from a seed in their name."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.window import Axis, same_padding

Pair = tuple[int, int]
Quad = tuple[int, int, int, int]

X_SCALE = {"int8": 0.05, "int16": 2e-4}
"""Scales of inputs that make the sums of a few dozen products fill the output's range."""


def filter_and_bias(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    axis: int,
    *,
    dtype: str,
    filter_dtype: str = "int8",
    per_channel: bool = True,
    bias_dtype: str = "",
    bias_limit: int = 0,
    lowest: bool = False,
    first_scale: float | None = None,
) -> tuple[CaseTensor, CaseTensor]:
    """A random filter with its output channels along `axis`, and a bias, for an input of `dtype`.

    `lowest`: among the weights are two neighbours of -128, which converters do not write. `first_scale`: of the first
    channel's weights, where it is to be far from the others.
    """
    channels = shape[axis]
    scales = tuple(float(value) for value in rng.uniform(0.002, 0.03, channels if per_channel else 1))
    if first_scale is not None:
        scales = (first_scale, *scales[1:])
    largest = 7 if filter_dtype == "int4" else 127
    values = rng.integers(-largest, largest, shape, np.int8, endpoint=True)
    if filter_dtype == "int4":
        values.reshape(-1)[-1] = -8
    if lowest:
        values.reshape(-1)[:2] = -128
    weights = CaseTensor(shape, filter_dtype, scales, axis=axis, data=values)
    bias_dtype = bias_dtype or {"int8": "int32", "int16": "int64"}[dtype]
    limit = bias_limit or (4000 if dtype == "int8" else 400_000)
    biases = rng.integers(-limit, limit, channels, np.dtype(bias_dtype), endpoint=True)
    return weights, CaseTensor((channels,), bias_dtype, tuple(X_SCALE[dtype] * value for value in scales), data=biases)


def convolution_case(
    name: str,
    *,
    x: Quad,
    filters: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: str = "SAME",
    activation: str = "NONE",
    groups: int = 1,
    depthwise: bool = False,
    dtype: str = "int8",
    filter_dtype: str = "int8",
    per_channel: bool = True,
    bias: bool = True,
    bias_dtype: str = "",
    bias_limit: int = 0,
    zero_point: int = -7,
    output_scale: float = 0.5,
    output_zero_point: int = 3,
    lowest: bool = False,
    first_scale: float | None = None,
) -> Case:
    """A CONV_2D, or a DEPTHWISE_CONV_2D with `filters` output channels. Zero points are those of int8 tensors."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    channels = x[3]
    weights, biases = filter_and_bias(
        rng,
        (1, *kernel, filters) if depthwise else (filters, *kernel, channels // groups),
        3 if depthwise else 0,
        dtype=dtype,
        filter_dtype=filter_dtype,
        per_channel=per_channel,
        bias_dtype=bias_dtype,
        bias_limit=bias_limit,
        lowest=lowest,
        first_scale=first_scale,
    )
    size = tuple(
        _axis(length, taps, step, spread, padding).output_size(length)
        for length, taps, step, spread in zip(x[1:3], kernel, stride, dilation, strict=True)
    )
    options: dict[str, object] = {
        **declared_bias(dtype, bias_dtype),
        "padding": padding,
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1],
        "fused_activation_function": activation,
    }
    if depthwise:
        options["depth_multiplier"] = filters // channels
    return Case(
        name,
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        (input_tensor(x, dtype, zero_point), weights, biases if bias else None),
        (output_tensor((x[0], *size, filters), dtype, output_scale, output_zero_point),),
        options,
    )


def transposed_case(
    name: str,
    *,
    x: Quad,
    filters: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    padding: str = "SAME",
    size: Pair | None = None,
    shape_at_run_time: bool = False,
    activation: str = "NONE",
    dtype: str = "int8",
    per_channel: bool = True,
    bias: bool = True,
    bias_dtype: str = "",
    bias_limit: int = 0,
    zero_point: int = -7,
    output_scale: float = 0.3,
    output_zero_point: int = 3,
) -> Case:
    """A TRANSPOSE_CONV; `size` is that of the output where it is not the usual one."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    weights, biases = filter_and_bias(
        rng,
        (filters, *kernel, x[3]),
        0,
        dtype=dtype,
        per_channel=per_channel,
        bias_dtype=bias_dtype,
        bias_limit=bias_limit,
    )
    usual = (
        length * step if padding == "SAME" else (length - 1) * step + taps
        for length, step, taps in zip(x[1:3], stride, kernel, strict=True)
    )
    shape = (x[0], *(size or usual), filters)
    shape_data = None if shape_at_run_time else np.array(shape, np.int32)
    return Case(
        name,
        "TRANSPOSE_CONV",
        (
            CaseTensor((4,), "int32", data=shape_data),
            weights,
            input_tensor(x, dtype, zero_point),
            biases if bias else None,
        ),
        (output_tensor(shape, dtype, output_scale, output_zero_point),),
        {
            "padding": padding,
            "stride_h": stride[0],
            "stride_w": stride[1],
            "fused_activation_function": activation,
        },
    )


def declared_bias(dtype: str, bias_dtype: str) -> dict[str, str]:
    """The option that declares an int32 bias beside an int16 input, as converters write it and LiteRT reads it."""
    return {"quantized_bias_type": "INT32"} if (dtype, bias_dtype) == ("int16", "int32") else {}


def input_tensor(shape: tuple[int, ...], dtype: str, zero_point: int) -> CaseTensor:
    """An input; int16 ones have the zero point 0."""
    return CaseTensor(shape, dtype, X_SCALE[dtype], zero_point if dtype == "int8" else 0)


def output_tensor(shape: tuple[int, ...], dtype: str, scale: float, zero_point: int) -> CaseTensor:
    """An output of the scale that int8 would have; int16 has 256 times the steps."""
    return CaseTensor(shape, dtype, scale, zero_point) if dtype == "int8" else CaseTensor(shape, dtype, scale / 256)


def random_convolution(rng: np.random.Generator, *, depthwise: bool) -> Case:
    """A random geometry with random quantisation."""
    kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    dilation = (1, 1) if rng.random() < 0.6 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    padding = str(rng.choice(["SAME", "VALID"]))
    smallest = [
        (taps - 1) * spread + 1 if padding == "VALID" else 1 for taps, spread in zip(kernel, dilation, strict=True)
    ]
    height, width = (int(rng.integers(low, low + 10)) for low in smallest)
    groups = int(rng.choice([1, 1, 2, 3])) if not depthwise else 1
    channels = groups * int(rng.integers(1, 10))
    multiplier = int(rng.integers(1, 5))
    return convolution_case(
        f"random_{rng.integers(1 << 30)}",
        x=(1, height, width, channels),
        filters=channels * multiplier if depthwise else groups * int(rng.integers(1, 10)),
        kernel=kernel,
        # TensorFlow Lite allows dilation with stride; its converter never writes both.
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))) if dilation == (1, 1) else (1, 1),
        dilation=dilation,
        padding=padding,
        activation=str(rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])),
        groups=groups,
        depthwise=depthwise,
        per_channel=bool(rng.random() < 0.8),
        bias=bool(rng.random() < 0.8),
        zero_point=int(rng.integers(-128, 128)),
        output_scale=float(np.exp(rng.uniform(np.log(1e-3), np.log(5.0)))),
        output_zero_point=int(rng.integers(-128, 128)),
        **random_dtypes(rng, packed=True),
    )


def random_transposed(rng: np.random.Generator) -> Case:
    """A random geometry with random quantisation."""
    return transposed_case(
        f"random_{rng.integers(1 << 30)}",
        x=(int(rng.integers(1, 3)), int(rng.integers(1, 7)), int(rng.integers(1, 7)), int(rng.integers(1, 10))),
        filters=int(rng.integers(1, 10)),
        kernel=(int(rng.integers(1, 6)), int(rng.integers(1, 6))),
        stride=(int(rng.integers(1, 5)), int(rng.integers(1, 5))),
        padding=str(rng.choice(["SAME", "VALID"])),
        activation=str(rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])),
        per_channel=bool(rng.random() < 0.8),
        bias=bool(rng.random() < 0.8),
        zero_point=int(rng.integers(-128, 128)),
        output_scale=float(np.exp(rng.uniform(np.log(1e-3), np.log(5.0)))),
        output_zero_point=int(rng.integers(-128, 128)),
        **random_dtypes(rng, packed=False),
    )


def random_dtypes(rng: np.random.Generator, *, packed: bool) -> dict[str, Any]:
    """Arguments of a case: int8 mostly; int16; or, if they can be packed, int4 filters."""
    if rng.random() < 0.3:
        return {"dtype": "int16"}
    return {"filter_dtype": "int4"} if packed and rng.random() < 0.3 else {}


def _axis(length: int, taps: int, stride: int, dilation: int, padding: str) -> Axis:
    before, after = same_padding(length, taps, stride, dilation) if padding == "SAME" else (0, 0)
    return Axis(taps, stride, dilation, before, after)
