"""Random networks like MobileNet and ResNet, of images and of sequences, as float ONNX models for quantize_static."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx_nets import Net

_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "HardSwish", "Swish", "PRelu", "none")


@dataclass
class RandomNet:
    """A network that grows; `x` is the name of what was made last, `sizes` its rows and columns, or columns."""

    rng: np.random.Generator
    net: Net = field(init=False)
    x: str = "x"
    channels: int = field(init=False)
    sizes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.channels = int(self.rng.integers(1, 5))
        self.sizes = self.rng.integers(8, 17, int(self.rng.choice([1, 2, 2]))).tolist()
        self.net = Net([1, self.channels, *self.sizes], int(self.rng.integers(1 << 30)))

    def grow(self) -> None:
        """One more layer, or block of layers."""
        kind = self.rng.choice(["conv", "depthwise", "residual", "pool", "excitation", "branches", "move"])
        getattr(self, kind)()

    def conv(self, filters: int | None = None, groups: int | None = None) -> None:
        """With any window that fits."""
        rank = len(self.sizes)
        kernel = [min(int(taps), size) for taps, size in zip(self.rng.integers(1, 4, rank), self.sizes, strict=True)]
        strides = self.rng.choice([1, 1, 2], rank).tolist()
        dilations = [
            2 if self.rng.random() < 0.2 and 2 * taps - 1 <= size else 1
            for taps, size in zip(kernel, self.sizes, strict=True)
        ]
        at: dict[str, Any] = {"auto_pad": str(self.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))}
        if at["auto_pad"].startswith("SAME"):
            dilations = [1] * rank  # ONNX Runtime has no others
            sizes = [-(-size // stride) for size, stride in zip(self.sizes, strides, strict=True)]
        else:
            extents = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
            pads = [0] * 2 * rank
            if at["auto_pad"] == "NOTSET":
                pads = at["pads"] = [int(self.rng.integers(0, extent)) for extent in extents * 2]
            sizes = [
                (size + pads[place] + pads[place + rank] - extents[place]) // strides[place] + 1
                for place, size in enumerate(self.sizes)
            ]
        filters = filters or int(self.rng.choice([4, 6, 8, 12]))
        fitting = [count for count in (1, 1, 2, 3) if self.channels % count == 0 and filters % count == 0]
        groups = groups or int(self.rng.choice(fitting))
        weights = [self.net.random(filters, self.channels // groups, *kernel)]
        weights += [self.net.random(filters)] if self.rng.random() < 0.8 else []
        self.x = self.net.add(
            "Conv", self.x, *weights, group=groups, kernel_shape=kernel, strides=strides, dilations=dilations, **at
        )
        self.channels, self.sizes = filters, sizes
        self._activate()

    def pointwise(self, filters: int) -> None:
        """A Conv of one pixel."""
        weights = self.net.random(filters, self.channels, *[1] * len(self.sizes))
        self.x = self.net.add("Conv", self.x, weights, self.net.random(filters))
        self.channels = filters

    def _activate(self) -> None:
        op = self.rng.choice(_ACTIVATIONS)
        if op == "Clip":
            self.x = self.net.add("Clip", self.x, self.net.constant(0), self.net.constant(6))
        elif op == "Swish":
            self.x = self.net.add("Mul", self.x, self.net.add("Sigmoid", self.x))
        elif op == "PRelu":
            slopes = self.net.constant(self.rng.random((self.channels, *[1] * len(self.sizes))))
            self.x = self.net.add("PRelu", self.x, slopes)
        elif op != "none":
            self.x = self.net.add(op, self.x)

    def depthwise(self) -> None:
        """Separable: channels apart, then pixels apart."""
        self.conv(self.channels * int(self.rng.choice([1, 1, 2])), self.channels)
        self.pointwise(8)

    def residual(self) -> None:
        """A block with a shortcut."""
        rank, shortcut = len(self.sizes), self.x
        weights = self.net.random(self.channels, self.channels, *[3] * rank)
        y = self.net.add("Conv", self.x, weights, self.net.random(self.channels), pads=[1] * 2 * rank)
        operands = [shortcut, y] if self.rng.random() < 0.5 else [y, shortcut]
        self.x = self.net.add("Relu", self.net.add("Add", *operands))

    def pool(self) -> None:
        """Of any kind, with borders."""
        if min(self.sizes) < 4:
            return
        rank = len(self.sizes)
        kernel, strides = self.rng.integers(2, 4, rank).tolist(), self.rng.integers(1, 3, rank).tolist()
        pads = self.rng.integers(0, 2, 2 * rank).tolist()
        op = str(self.rng.choice(["MaxPool", "AveragePool"]))
        border = {"count_include_pad": int(self.rng.integers(2))} if op == "AveragePool" else {}
        self.x = self.net.add(op, self.x, kernel_shape=kernel, strides=strides, pads=pads, **border)
        self.sizes = [
            (size + pads[place] + pads[place + rank] - kernel[place]) // strides[place] + 1
            for place, size in enumerate(self.sizes)
        ]

    def excitation(self) -> None:
        """Channels times what a small network makes of their means."""
        whole, channels = self.x, self.channels
        self.x = self.net.add("GlobalAveragePool", self.x)
        self.pointwise(4)
        self.x = self.net.add("Relu", self.x)
        self.pointwise(channels)
        self.x = self.net.add("Mul", whole, self.net.add(str(self.rng.choice(["Sigmoid", "HardSigmoid"])), self.x))

    def branches(self) -> None:
        """Two, joined."""
        before, channels = self.x, self.channels
        self.pointwise(3)
        first, self.x, self.channels = self.x, before, channels
        self.pointwise(5)
        self.x, self.channels = self.net.add("Concat", first, self.x, axis=1), 8

    def move(self) -> None:
        """Rows for columns, from the last to the first."""
        self.x = self.net.add("Transpose", self.x, perm=[0, 1, *range(1 + len(self.sizes), 1, -1)])
        self.sizes = self.sizes[::-1]

    def finish(self) -> None:
        """A classifier."""
        if self.rng.random() < 0.5:
            self.x = self.net.add("GlobalAveragePool", self.x)
            self.sizes = [1] * len(self.sizes)
        self.x, values = self.net.add("Flatten", self.x), self.channels * int(np.prod(self.sizes))
        if self.rng.random() < 0.5:
            self.x = self.net.add("Gemm", self.x, self.net.random(7, values), self.net.random(7), transB=1)
        else:
            self.x = self.net.add("Add", self.net.add("MatMul", self.x, self.net.random(values, 7)), self.net.random(7))
        if self.rng.random() < 0.5:
            self.x = self.net.add("Softmax", self.x, axis=1)


def random_net(seed: int) -> RandomNet:
    """A network of a Conv, and up to four layers or blocks behind it."""
    made = RandomNet(np.random.default_rng(seed))
    made.conv()
    for _ in range(int(made.rng.integers(1, 5))):
        made.grow()
    made.finish()
    return made
