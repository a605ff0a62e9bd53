"""Test cases of the convolutions: single-operator models with random weights, drawn from a seed in their name."""

from __future__ import annotations

import zlib

import numpy as np

from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.window import Axis, same_padding

Pair = tuple[int, int]


def convolution_case(
    name: str,
    *,
    x: tuple[int, int, int, int],
    filters: int,
    kernel: Pair,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: str = "SAME",
    activation: str = "NONE",
    groups: int = 1,
    depthwise: bool = False,
    per_channel: bool = True,
    bias: bool = True,
    zero_point: int = -7,
    output_scale: float = 0.5,
    output_zero_point: int = 3,
) -> Case:
    """A CONV_2D, or a DEPTHWISE_CONV_2D with `filters` output channels."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    channels = x[3]
    scale = 0.05
    weight_shape = (1, *kernel, filters) if depthwise else (filters, *kernel, channels // groups)
    weight_axis = 3 if depthwise else 0
    count = filters if per_channel else 1
    weight_scales = tuple(float(value) for value in rng.uniform(0.002, 0.03, count))
    bias_scales = tuple(scale * value for value in weight_scales)
    weights = CaseTensor(
        weight_shape,
        scale=weight_scales,
        axis=weight_axis,
        data=rng.integers(-127, 127, weight_shape, np.int8, endpoint=True),
    )
    biases = CaseTensor(
        (filters,), "int32", bias_scales, data=rng.integers(-4000, 4000, filters, np.int32, endpoint=True)
    )
    size = tuple(
        _axis(length, taps, step, spread, padding).output_size(length)
        for length, taps, step, spread in zip(x[1:3], kernel, stride, dilation, strict=True)
    )
    options: dict[str, object] = {
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
        (CaseTensor(x, scale=scale, zero_point=zero_point), weights, biases if bias else None),
        (CaseTensor((x[0], *size, filters), scale=output_scale, zero_point=output_zero_point),),
        options,
    )


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
    )


def _axis(length: int, taps: int, stride: int, dilation: int, padding: str) -> Axis:
    before, after = same_padding(length, taps, stride, dilation) if padding == "SAME" else (0, 0)
    return Axis(taps, stride, dilation, before, after)
