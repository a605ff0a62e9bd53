"""Functions of one int8 value that no QuantizeLinear follows: tables of float32 results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Elementwise


@dataclass(frozen=True)
class RealCurve(Elementwise):
    """y = reals[x + 128]: int8 to float32."""

    name: ClassVar[str] = "CURVE"
    function: str
    """Its name in the model's file."""
    reals: tuple[float, ...]
    """256 float32 values."""

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", INT8)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in float32."""
        return (TensorType(inputs[0].shape, FLOAT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """By the table."""
        return (np.array(self.reals, np.float32)[inputs[0].astype(np.int64) + 128],)

    def describe(self) -> str:
        """The function, and the result's type."""
        return f"{self.function} to float32"


def _prepare(site: Site) -> Body:
    op: RealCurve = site.op
    return Body({"elements": site.inputs[0].elements}, {"reals": np.array(op.reals, np.float32)})


KERNELS = (Kernel("real_curve.table", RealCurve, _prepare, overlaps=side_by_side),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("Tanh"),
        _case("Sigmoid", dtype="uint8", zero_point=131),
        _case("HardSwish", scale=0.07),
        _case("Relu"),
        _case("Sqrt", zero_point=-128),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random function."""
    op = str(rng.choice(["Abs", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"]))
    scale = float(np.exp(rng.uniform(np.log(0.002), np.log(0.5))))
    return _case(op, f"random_{rng.integers(1 << 30)}", scale=scale, zero_point=int(rng.integers(-128, 128)))


def _case(op: str, name: str = "", *, dtype: str = "int8", scale: float = 0.05, zero_point: int = -7) -> Case:
    shape = (1, 5, 11, 37)
    x = CaseTensor(shape, dtype, scale, zero_point)
    return Case(name or op.lower(), op, (x,), (CaseTensor(shape, "float32"),), suffix=ONNX)
