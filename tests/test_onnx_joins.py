"""What makes one tensor of two or more: choices, joins and quotients, also with constants and bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import build_read, differences, host, varied
from onnx_nets import Net
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.errors import UnsupportedModel

IMAGE = (1, 4, 7, 6)
Dtype = type[np.generic]


class Images(Net):
    """An image `a`, and others in another scale: convolutions of the input."""

    def __init__(self, dtype: Dtype) -> None:
        super().__init__(IMAGE, 5)
        self.dtype, self.offset = dtype, 0 if dtype is np.int8 else 128
        self.x = self.quantised("x", 0.02, 3 + self.offset, dtype)
        self.a = self._image(0.05, -9)

    def another(self) -> str:
        """Made where it is asked for: what nothing reads changes what ONNX Runtime fuses."""
        return self._image(0.037, 14)

    def _image(self, scale: float, zero_point: int) -> str:
        y = self.add("Conv", self.x, self.weights(4, 4, 1, 1))
        return self.quantised(y, scale, self.offset + zero_point, self.dtype)


def mask(net: Net, *shape: int) -> str:
    return net.constant(net.rng.random(shape) < 0.5, np.bool_)


def bounded(net: Net, y: str) -> str:
    return net.add("Clip", y, net.constant(-0.31), net.constant(1.2))


JOINS: dict[str, Callable[[Images], str]] = {
    "choice": lambda net: net.add("Where", mask(net, *IMAGE), net.a, net.another()),
    "choice_by_channel": lambda net: net.add("Where", mask(net, 4, 1, 1), net.a, net.another()),
    "choice_of_a_constant": lambda net: net.add("Where", mask(net, 7, 6), net.constant(-0.7), net.a),
    "choice_of_constants": lambda net: net.add("Where", mask(net, 1, 1, 6), net.a, net.random(4, 7, 1)),
    "choice_that_grows": lambda net: net.add("Where", mask(net, 2, 1, 1, 1), net.a, net.another()),
    "bounded_choice": lambda net: bounded(net, net.add("Where", mask(net, 6), net.a, net.another())),
    "joined_constant": lambda net: net.add("Concat", net.a, net.random(1, 4, 2, 6), net.another(), axis=2),
    "bounded_join": lambda net: bounded(net, net.add("Concat", net.a, net.another(), net.a, axis=-1)),
    "extremum": lambda net: net.add("Max", net.a, net.another()),
    "extremum_of_many": lambda net: net.add("Min", net.a, net.random(4, 1, 1), net.another(), net.constant(0.9)),
    "bounded_extremum": lambda net: bounded(net, net.add("Max", net.a, net.weights(4, 1, 1, scale=0.04))),
    "quotient": lambda net: net.add("Div", net.a, net.another()),
    "bounded_quotient": lambda net: bounded(net, net.add("Div", net.a, net.weights(4, 1, 1, scale=0.04))),
    "bounded_softmax": lambda net: bounded(net, net.add("Softmax", net.a, axis=-1)),
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("name", JOINS)
def test_joins_equal_onnx_runtime(name: str, dtype: Dtype, tmp_path: Path) -> None:
    net = Images(dtype)
    y = net.quantised(JOINS[name](net), 0.043, 3 if dtype is np.int8 else 120, dtype)
    model = assert_equal(net.model(net.add("Flatten", y)), 30)
    if dtype is np.uint8:
        built = build_read(model, tmp_path / "out")
        assert not differences(built, varied(built, 3), host(built))


def test_bounded_quotients_by_zero_are_refused() -> None:
    """What Relu makes of what is no number is not the same everywhere."""
    net = Images(np.int8)
    y = net.add("Relu", net.add("Div", net.a, net.another()))
    with pytest.raises(UnsupportedModel, match="its divisor can be zero"):
        pipeline.decode(net.model(net.quantised(y, 0.043, 3)), "net.onnx")


def test_choices_at_run_time_equal_onnx_runtime() -> None:
    net = Images(np.int8)
    y = net.add("Where", net.add("Greater", net.a, net.another()), net.a, net.another())
    assert_equal(net.model(net.quantised(y, 0.043, 3)), 8)
