"""CONV_2D and FULLY_CONNECTED whose result stays float32, as ONNX Runtime computes them: in float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, full_range
from tinygen.ops.float_conv import FloatConv, conv_case, sum_values
from tinygen.ops.float_sums import SumOrder, Way, operand_problems, scale_problems
from tinygen.ops.window import Window
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class RealConv(Op):
    """y[n,i,j,o] = sum (x - zero_point) * scale * w[o,ky,kx,c] * scales[o] + bias[o].

    Every step is in float32. The sum is over channels, then rows, then columns of taps, added up as `order` says; taps
    outside the image are zeros. x int8 (n, h, w, c), weights int8 (o, kh, kw, c / groups), their scales (o,) and the
    bias (o,) float32, all constants; y float32 (n, oh, ow, o).
    """

    name: ClassVar[str] = "CONV_2D"
    scale: float
    zero_point: int
    weight_zero_point: int
    window: Window
    order: SumOrder

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 sums"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and shapes."""
        x, weights, scales, bias = inputs
        broken = list(operand_problems(x, weights, scales, bias)) or list(self.window.problems(x.shape))
        yield from broken
        if not broken:
            assert scales.data is not None
            yield from scale_problems(self.scale, *scales.data.tolist())

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, o)."""
        x, weights = inputs[:2]
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), weights.shape[0]), FLOAT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """All sums in the order of the runtime."""
        x, weights, scales, bias = inputs
        unit_steps = FloatConv(
            scale=self.scale,
            zero_point=self.zero_point,
            weight_zero_point=self.weight_zero_point,
            output_scale=1.0,
            output_zero_point=0,
            clamp=full_range(x.dtype),
            window=self.window,
            order=self.order,
        )
        sums = unit_steps.sums(x, weights, scales, bias)
        return (sums.reshape(x.shape[0], *self.window.output_size(*x.shape[1:3]), len(weights)),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a full window over its group's channels."""
        return outputs[0].elements * self.window.taps * inputs[1].shape[3]

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def _prepare(site: Site) -> Body:
    op: RealConv = site.op
    _, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    values, helpers = sum_values(site)
    of_chain = {"fused"} if op.order.way is Way.CHAIN else set()
    constants = {"weights": weights.data, "scales": scales.data, "bias": bias.data}
    return Body({**values, "output_scale": None}, constants, helpers | of_chain)


KERNELS = (Kernel("real_conv.direct", RealConv, _prepare, work=Rates(300, output=60, mac=17, in_float=True)),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models: each order of sums."""
    return (
        _real(conv_case("chain", (1, 6, 7, 8), (5, 6, 3, 3), padding=1)),
        _real(conv_case("blocks_of_128", (1, 30, 7, 6), (3, 30, 3, 3))),
        _real(conv_case("groups", (2, 6, 9, 8), (9, 2, 3, 2), groups=3, padding=1, stride=2, dilation=2)),
        _real(conv_case("depthwise", (1, 7, 6, 5), (7, 1, 3, 3), groups=7, padding=1, bias=False)),
        _real(conv_case("columns", (1, 3, 19), (4, 3, 5), stride=2, per_channel=False)),
        _real(conv_case("pointwise", (2, 9, 5, 4), (6, 9, 1, 1))),
        _product_case("product", (5, 40), 7),
        _product_case("product_of_one_row", (1, 43), 9),
        _product_case("product_turned", (1, 43), 11, turned=True),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random matrix product."""
    rows, terms, filters = (int(size) for size in rng.integers(1, 40, 3))
    name = f"random_{rng.integers(1 << 30)}"
    return _product_case(name, (rows, terms), filters, turned=bool(rng.random() < 0.5))


def _real(case: Case) -> Case:
    """Without QuantizeLinear."""
    (y,) = case.outputs
    return dataclasses.replace(case, outputs=(CaseTensor(y.shape, "float32"),))


def _product_case(name: str, x: tuple[int, int], filters: int, *, turned: bool = False) -> Case:
    shape = (filters, x[1]) if turned else (x[1], filters)
    values = np.random.default_rng(4).integers(-127, 128, shape).astype(np.int8)
    each = tuple(np.linspace(0.002, 0.004, filters, dtype=np.float32).tolist())
    operands = (
        CaseTensor(x, "int8", 0.05, 7),
        CaseTensor(shape, "int8", each, 0, 0 if turned else 1, values),
        CaseTensor((filters,), "float32", data=np.linspace(-3, 2, filters, dtype=np.float32)),
    )
    y = CaseTensor((x[0], filters), "float32")
    return Case(name, "Gemm", operands, (y,), {"transB": int(turned)}, suffix=ONNX)
