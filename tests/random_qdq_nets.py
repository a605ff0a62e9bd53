"""Random networks in QDQ form, as exporters of many origins write them: what is not convolution lies between those."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto
from onnx_nets import Net

_FUNCTIONS: tuple[Callable[[Net, str], str], ...] = (
    lambda net, x: net.add("HardSwish", x),
    lambda net, x: net.add("LeakyRelu", x, alpha=0.1),
    lambda net, x: net.add("Mul", x, net.add("Sigmoid", x)),
    lambda net, x: net.add("Gelu", x, approximate="tanh"),
    lambda net, x: net.add("Neg", net.add("Abs", net.add("Sub", x, net.constant(0.2)))),
    lambda net, x: net.add("Where", net.add("Less", x, net.constant(-0.3)), net.constant(-0.1), x),
    lambda net, x: net.add("Mul", x, net.add("Cast", net.add("Greater", x, net.constant(0)), to=TensorProto.FLOAT)),
)


class QdqNet:
    """A network of images that grows; `x` is the image that was made last, behind DequantizeLinear."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.channels, self.size = int(self.rng.integers(2, 7)), int(self.rng.integers(5, 9))
        self.net = Net([1, self.channels, self.size, self.size + 1], seed)
        self._dtype = self.rng.choice(np.array([np.int8, np.uint8]))
        self.x = self._quantised("x")

    def _quantised(self, x: str, scale: float | None = None) -> str:
        scale = scale or float(self.rng.choice([0.05, 0.0625, 0.1, self.rng.uniform(0.02, 0.15)]))
        offset = 0 if self._dtype is np.int8 else 128
        return self.net.quantised(x, scale, int(self.rng.integers(-30, 30)) + offset, self._dtype)

    def _function(self, x: str) -> str:
        return _FUNCTIONS[self.rng.integers(len(_FUNCTIONS))](self.net, x)

    def grow(self) -> None:
        """One more layer or block, and a convolution behind it."""
        names = ("function", "attention", "choice", "join", "norm", "pool", "quotient")
        self.x = self._quantised(getattr(self, str(self.rng.choice(names)))(self.x))
        self.convolution()

    def convolution(self) -> None:
        """Of three by three, without a border that would be lost."""
        filters = int(self.rng.integers(2, 7))
        scales = self.rng.uniform(0.002, 0.02, filters)
        weights = self.net.weights(filters, self.channels, 3, 3, scale=scales)
        self.x = self._quantised(self.net.add("Conv", self.x, weights, pads=[1, 1, 1, 1]))
        self.channels = filters

    def function(self, x: str) -> str:
        """One or two functions in a row, without anything between them."""
        return self._function(self._function(x) if self.rng.random() < 0.5 else x)

    def attention(self, x: str) -> str:
        """The image times what its means, or sums, say; directly behind a function, or not."""
        axes = self.rng.choice(4, int(self.rng.integers(1, 4)), replace=False)
        op = str(self.rng.choice(["ReduceMean", "ReduceMean", "ReduceSum"]))
        values = self._function(x) if self.rng.random() < 0.5 else x
        total = self.net.add(op, values, self.net.constant(axes, np.int64))
        return self.net.add("Mul", x, self._quantised(self.net.add("Sigmoid", self._quantised(total)), 1 / 256))

    def choice(self, x: str) -> str:
        """Of the image and another, or a constant, by a mask of channels, columns, or all."""
        shape = [(self.channels, 1, 1), (self.size + 1,), (1, self.channels, self.size, self.size + 1)]
        mask = self.net.constant(self.rng.random(shape[self.rng.integers(3)]) < 0.6, np.bool_)
        is_constant = self.rng.random() < 0.5
        other = self.net.constant(-0.4) if is_constant else self._quantised(self._function(x))
        return self.net.add("Where", mask, *((x, other) if self.rng.random() < 0.5 else (other, x)))

    def join(self, x: str) -> str:
        """With channels of a constant, bounded, so that ranges are cut."""
        more = self.net.random(1, 1, self.size, self.size + 1)
        self.channels += 1
        joined = self.net.add("Concat", x, more, axis=1)
        return self.net.add("Relu", joined) if self.rng.random() < 0.5 else joined

    def norm(self, x: str) -> str:
        """Of channels, which come last for it, or of columns."""
        is_last = self.rng.random() < 0.5
        y = x if is_last else self._quantised(self.net.add("Transpose", x, perm=[0, 2, 3, 1]))
        depth = self.size + 1 if is_last else self.channels
        y = self.net.add("LayerNormalization", y, self.net.random(depth), self.net.random(depth))
        return y if is_last else self.net.add("Transpose", self._quantised(y), perm=[0, 3, 1, 2])

    def pool(self, x: str) -> str:
        """Directly behind a function, as large as before."""
        return self.net.add("AveragePool", self._function(x), kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def quotient(self, x: str) -> str:
        """By a constant for each channel, or by the image, moved away from zero."""
        if self.rng.random() < 0.5:
            divisors = self.rng.uniform(0.3, 2, (self.channels, 1, 1))
            return self.net.add("Div", x, self._quantised(self.net.constant(divisors), 0.02))
        return self.net.add(
            "Div", x, self._quantised(self.net.add("Add", self.net.add("Abs", x), self.net.constant(1)))
        )


def random_qdq_net(seed: int) -> bytes:
    """A convolution, and up to three blocks behind it."""
    made = QdqNet(seed)
    made.convolution()
    for _ in range(int(made.rng.integers(1, 4))):
        made.grow()
    return made.net.model(made.net.add("Flatten", made.x), opset=20)
