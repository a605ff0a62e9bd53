"""Small random networks in which many channels are constant, and many are not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tflite_builder import OperatorSpec, build_model

from tinygen.ops.case import CaseTensor


class Value(NamedTuple):
    """An activation: its tensor, and what it is."""

    id: int
    shape: tuple[int, ...]
    zero_point: int


_SCALE = 0.05


@dataclass
class Net:
    """A model under construction, from its input on."""

    rng: np.random.Generator
    dtype: str
    filter_dtype: str
    tensors: list[CaseTensor] = field(default_factory=list)
    operators: list[OperatorSpec] = field(default_factory=list)

    def constant(self, data: np.ndarray) -> int:
        self.tensors.append(CaseTensor(data.shape, str(data.dtype), data=data))
        return len(self.tensors) - 1

    def value(self, shape: tuple[int, ...], zero_point: int | None = None, scale: float = _SCALE) -> Value:
        chosen = int(self.rng.choice([-128, -9, 3])) if zero_point is None else zero_point
        chosen = 0 if self.dtype == "int16" else chosen
        self.tensors.append(CaseTensor(shape, self.dtype, scale=scale, zero_point=chosen))
        return Value(len(self.tensors) - 1, shape, chosen)

    def append(self, op: str, inputs: list[int], y: Value, **options: object) -> Value:
        self.operators.append((op, inputs, [y.id], options))
        return y

    # --- layers with weights ----------------------------------------------------------------------------------------

    def weights(self, shape: tuple[int, ...], axis: int) -> list[int]:
        """A filter with zeros for some input channels, and a bias that saturates some outputs."""
        rng, outputs = self.rng, shape[axis]
        largest = 7 if self.filter_dtype == "int4" else 127
        values = rng.integers(-largest, largest + 1, shape).astype(np.int8)
        if axis == 0:
            values[..., rng.random(shape[-1]) < 0.3] = 0
        silent = rng.random(outputs) < 0.2
        np.moveaxis(values, axis, 0)[silent] = 0
        bias = rng.integers(-3000, 3000, outputs)
        bias = np.where(rng.random(outputs) < 0.4, rng.choice([-1, 1, -1], outputs) * 10**6, bias)
        scales = tuple(float(scale) for scale in rng.uniform(0.002, 0.03, outputs))
        wide = "int64" if self.dtype == "int16" else "int32"
        self.tensors.append(CaseTensor(shape, self.filter_dtype, scale=scales, axis=axis, data=values))
        filters = len(self.tensors) - 1
        data = bias.astype(wide)
        self.tensors.append(CaseTensor(data.shape, wide, scale=tuple(_SCALE * scale for scale in scales), data=data))
        return [filters, filters + 1]

    def convolution(self, x: Value) -> Value:
        rng = self.rng
        op = str(rng.choice(["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "grouped"]))
        channels = x.shape[3]
        padding = str(rng.choice(["SAME", "VALID"]))
        taps = [int(rng.integers(1, min(3, size) + 1)) for size in x.shape[1:3]]
        if op == "DEPTHWISE_CONV_2D":
            multiplier = int(rng.integers(1, 3))
            filters = channels * multiplier
            constants = self.weights((1, *taps, filters), 3)
        else:
            groups = 2 if op == "grouped" and channels % 2 == 0 and self.filter_dtype == "int8" else 1
            filters = groups * int(rng.integers(2, 7))
            constants = self.weights((filters, *taps, channels // groups), 0)
        size = (
            x.shape[1:3] if padding == "SAME" else [dim - tap + 1 for dim, tap in zip(x.shape[1:3], taps, strict=True)]
        )
        y = self.value((1, *size, filters), scale=0.4)
        options = {
            "padding": padding,
            "stride_h": 1,
            "stride_w": 1,
            "dilation_h_factor": 1,
            "dilation_w_factor": 1,
            "fused_activation_function": str(rng.choice(["NONE", "RELU", "RELU6"])),
        }
        if op == "DEPTHWISE_CONV_2D":
            options["depth_multiplier"] = multiplier
        return self.append(op.replace("grouped", "CONV_2D"), [x.id, *constants], y, **options)

    def dense(self, x: Value) -> Value:
        depth, filters = int(np.prod(x.shape)), int(self.rng.integers(2, 7))
        y = self.value((1, filters), scale=0.4)
        options = {"fused_activation_function": "NONE", "keep_num_dims": False}
        return self.append("FULLY_CONNECTED", [x.id, *self.weights((filters, depth), 0)], y, **options)

    # --- layers without -----------------------------------------------------------------------------------------------

    def pool(self, x: Value) -> Value:
        op = str(self.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
        y = self.value(x.shape, x.zero_point, self.tensors[x.id].scale)
        options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "filter_height": 2, "filter_width": 2}
        return self.append(op, [x.id], y, **options)

    def pad(self, x: Value) -> Value:
        amounts = np.array([[0, 0], *self.rng.integers(0, 2, (3, 2))], np.int32)
        y = self.value(
            tuple(int(dim + sum(pair)) for dim, pair in zip(x.shape, amounts, strict=True)),
            x.zero_point,
            self.tensors[x.id].scale,
        )
        return self.append("PAD", [x.id, self.constant(amounts)], y)

    def together(self, x: Value) -> Value:
        """Two convolutions of a value meet."""
        a = self.convolution(x)
        kernel = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
        filters = a.shape[3] if self.rng.random() < 0.7 else int(self.rng.integers(2, 5))
        size = a.shape[1:3]
        if size != x.shape[1:3]:
            return a
        b = self.append(
            "CONV_2D",
            [x.id, *self.weights((filters, 1, 1, x.shape[3]), 0)],
            self.value((1, *size, filters), a.zero_point, 0.4),
            **kernel,
            fused_activation_function="RELU",
        )
        if filters != a.shape[3]:
            y = self.value((1, *size, a.shape[3] + filters), a.zero_point, 0.4)
            return self.append("CONCATENATION", [a.id, b.id], y, axis=3, fused_activation_function="NONE")
        op = str(self.rng.choice(["ADD", "MUL", "MAXIMUM", "SUB"]))
        y = self.value(a.shape, a.zero_point, 0.4)
        options = {"fused_activation_function": "NONE"} if op != "MAXIMUM" else {}
        return self.append(op, [a.id, b.id], y, **options)

    def part(self, x: Value) -> Value:
        channels = x.shape[3]
        if channels < 3:
            return x
        first = int(self.rng.integers(0, channels - 1))
        count = int(self.rng.integers(2, channels - first + 1))
        begin, size = np.array([0, 0, 0, first], np.int32), np.array([*x.shape[:3], count], np.int32)
        y = self.value((*x.shape[:3], count), x.zero_point, self.tensors[x.id].scale)
        return self.append("SLICE", [x.id, self.constant(begin), self.constant(size)], y)

    def swap(self, x: Value) -> Value:
        n, h, w, c = x.shape
        y = self.value((n, w, h, c), x.zero_point, self.tensors[x.id].scale)
        return self.append("TRANSPOSE", [x.id, self.constant(np.array([0, 2, 1, 3], np.int32))], y)

    def scaled(self, x: Value) -> Value:
        """A factor for each channel."""
        data = self.rng.integers(-128, 128, x.shape[3]).astype(self.dtype)
        self.tensors.append(CaseTensor(data.shape, self.dtype, scale=0.01, zero_point=0, data=data))
        factors = len(self.tensors) - 1
        y = self.value(x.shape)
        return self.append("MUL", [x.id, factors], y, fused_activation_function="NONE")

    def activated(self, x: Value) -> Value:
        return self.append("RELU", [x.id], self.value(x.shape))

    def mean(self, x: Value) -> Value:
        axes = self.constant(np.array([1, 2], np.int32))
        return self.append("MEAN", [x.id, axes], self.value((1, x.shape[3])), keep_dims=False)

    def flat(self, x: Value) -> Value:
        shape = (1, int(np.prod(x.shape)))
        y = self.value(shape, x.zero_point, self.tensors[x.id].scale)
        return self.append("RESHAPE", [x.id, self.constant(np.array(shape, np.int32))], y, new_shape=shape)


def random_net(seed: int) -> bytes:
    """A model of 4 to 9 layers, int8 or int16, from an image of up to 5x5 pixels to a vector or an image."""
    rng = np.random.default_rng([29, seed])
    dtype, filter_dtype = [("int8", "int8"), ("int8", "int4"), ("int16", "int8")][int(rng.choice([0, 0, 0, 1, 2]))]
    net = Net(rng, dtype, filter_dtype)
    first = x = net.value((1, *(int(size) for size in rng.integers(2, 6, 2)), int(rng.integers(1, 5))))
    between: list[Callable[[Value], Value]] = [
        net.pool, net.pad, net.together, net.part, net.swap, net.scaled, net.activated, net.convolution,
    ]  # fmt: skip
    for _ in range(int(rng.integers(2, 5))):
        x = net.convolution(x)
        x = between[int(rng.integers(len(between)))](x)
    last: list[Callable[[Value], Value]] = [
        net.convolution, lambda y: net.dense(net.flat(y)), lambda y: net.dense(net.mean(y)), net.dense,
    ]  # fmt: skip
    x = last[int(rng.integers(len(last)))](x)
    return build_model(net.tensors, net.operators, [first.id], [x.id])
