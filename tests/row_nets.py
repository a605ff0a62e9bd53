"""Random chains of layers that can be computed row by row, some of them around a residual."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from random_nets import Net, Value
from tflite_builder import build_model

from tinygen.ops.window import same_padding

_SIZE = {"stride": (1, 1), "kernel": (3, 3), "dilation": (1, 1), "padding": "SAME"}


class RowNet(Net):
    """A model under construction whose layers have windows of all kinds."""

    def windowed(self, x: Value, op: str, filters: int, **size: object) -> Value:
        """A convolution or a pool; of a window that finds no place, `x` itself."""
        options = {**_SIZE, **size}
        stride, kernel, dilation = options["stride"], options["kernel"], options["dilation"]
        shape = []
        for length, taps, step, apart in zip(x.shape[1:3], kernel, stride, dilation, strict=True):
            around = sum(same_padding(length, taps, step, apart)) if options["padding"] == "SAME" else 0
            shape.append((length + around - (taps - 1) * apart - 1) // step + 1)
        if min(shape) < 1:
            return x
        values = {"padding": options["padding"], "stride_h": stride[0], "stride_w": stride[1]}
        values["fused_activation_function"] = str(self.rng.choice(["NONE", "RELU"]))
        if "POOL" in op:
            values.update(filter_height=kernel[0], filter_width=kernel[1])
            y = self.value((1, *shape, x.shape[3]), x.zero_point, self.tensors[x.id].scale)
            return self.append(op, [x.id], y, **values)
        values.update(dilation_h_factor=dilation[0], dilation_w_factor=dilation[1])
        if op == "CONV_2D":
            constants = self.weights((filters, *kernel, x.shape[3]), 0)
        else:
            filters = x.shape[3]
            values["depth_multiplier"] = 1
            constants = self.weights((1, *kernel, filters), 3)
        y = self.value((1, *shape, filters), scale=0.4)
        return self.append(op, [x.id, *constants], y, **values)

    def any_window(self, x: Value) -> Value:
        rng = self.rng
        op = str(rng.choice(["CONV_2D", "DEPTHWISE_CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"]))
        return self.windowed(
            x,
            op,
            int(rng.integers(1, 7)),
            kernel=tuple(int(taps) for taps in rng.integers(1, 5, 2)),
            stride=(1, 1) if rng.random() < 0.6 else tuple(int(step) for step in rng.integers(1, 4, 2)),
            dilation=(2, 1) if rng.random() < 0.2 and "POOL" not in op else (1, 1),
            padding=str(rng.choice(["SAME", "SAME", "VALID"])),
        )

    def pointwise(self, x: Value) -> Value:
        return self.windowed(x, "CONV_2D", int(self.rng.integers(1, 9)), kernel=(1, 1))

    def residual(self, x: Value) -> Value:
        """Layers of which the result is added to what they began with."""
        y = x
        for _ in range(int(self.rng.integers(1, 4))):
            y = self.windowed(y, "CONV_2D", x.shape[3], kernel=(int(self.rng.integers(1, 4)), 3))
        z = self.value(x.shape, scale=0.4)
        return self.append("ADD", [x.id, y.id], z, fused_activation_function="NONE")

    def halved(self, x: Value) -> Value:
        """A longer and a shorter way to half as many pixels, after which they are added."""
        x = self.windowed(x, "CONV_2D", 8)
        y = self.windowed(x, "CONV_2D", 8, stride=(2, 2))
        y = self.windowed(y, "CONV_2D", 8)
        x = self.windowed(x, "CONV_2D", 8, kernel=(1, 1), stride=(2, 2))
        z = self.value(x.shape, scale=0.4)
        return self.append("ADD", [x.id, y.id], z, fused_activation_function="NONE")


def shortcut(seed: int) -> bytes:
    """A model with two ways to half as many pixels: five layers, the last of which adds the two."""
    net = RowNet(np.random.default_rng([32, seed]), "int8", "int8")
    first = net.value((1, 14, 9, 3))
    return build_model(net.tensors, net.operators, [first.id], [net.halved(first).id])


def random_chains(seed: int, chains: int) -> bytes:
    """A model of independent int8 chains of 3 to 8 layers, each with its own input and output; the first is long."""
    net = RowNet(np.random.default_rng([31, seed]), "int8", "int8")
    firsts, lasts = [], []
    for chain in range(chains):
        height, width, channels = (int(net.rng.integers(*ends)) for ends in ((4, 17), (1, 9), (1, 7)))
        first = x = net.value((1, height, width, channels) if chain else (1, 300, 1, channels))
        layers: list[Callable[[Value], Value]] = [
            net.any_window, net.any_window, net.pointwise, net.activated, net.scaled, net.residual,
        ]  # fmt: skip
        for _ in range(int(net.rng.integers(3, 7))):
            x = layers[int(net.rng.integers(len(layers)))](x)
        x = net.pointwise(x)
        if net.rng.random() < 0.5:
            x = net.windowed(x, "AVERAGE_POOL_2D", 0, kernel=x.shape[1:3], stride=x.shape[1:3], padding="VALID")
        firsts.append(first.id)
        lasts.append(x.id)
    return build_model(net.tensors, net.operators, firsts, lasts)
