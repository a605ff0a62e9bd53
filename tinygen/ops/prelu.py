"""PRELU: a slope below zero for each element, or for each channel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.interval import Interval
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values
from tinygen.ops.case import Case
from tinygen.ops.common import INT8, INT16, differences, full_range
from tinygen.ops.operand_cases import operand_case, random_shapes
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.traits import Elementwise
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant


@dataclass(frozen=True)
class Prelu(Elementwise):
    """y = clamp(r + output_zero_point) with v = x - zero_point.

    r = requant(v) where v >= 0, negative_requant(v * (alpha - alpha_zero_point)) elsewhere. x and y are int8 or int16,
    alpha is int8 and broadcasts.
    """

    name: ClassVar[str] = "PRELU"
    zero_point: int
    alpha_zero_point: int
    output_zero_point: int
    requant: Requant
    negative_requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and shapes, and values that would leave int32 on the way."""
        x, alpha = inputs
        broken = [*common.expect_dtype(x, "input", INT8, INT16), *common.expect_dtype(alpha, "slope", INT8)]
        yield from broken
        if broadcast_shape(x.shape, alpha.shape) is None:
            yield f"the shapes {x.shape} and {alpha.shape} do not broadcast"
        if not broken:
            low, high = differences(x, self.zero_point)
            slopes = differences(alpha, self.alpha_zero_point)
            products = [value * slope for value, slope in itertools.product((low, 0), slopes)]
            yield from common.rescaling_problems("the difference to the zero point", 0, high, self.requant)
            yield from common.rescaling_problems("the product", min(products), max(products), self.negative_requant)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        x, alpha = inputs
        return (TensorType(broadcast_shape(x.shape, alpha.shape) or x.shape, x.dtype),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """Straight and sloped parts meet at the zero point: the results of the ends of both, for both ends' slopes."""
        x, slope = given
        (y,) = self.output_types(inputs)
        values = [x.low, x.high, *(np.clip(self.zero_point - step, x.low, x.high) for step in (0, 1))]
        results = [
            self.reference(value.astype(y.dtype), end.astype(np.int8))[0].astype(np.int64)
            for value, end in itertools.product(values, (slope.low, slope.high))
        ]
        return (Interval.around(results, y.shape[-1:]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        x, alpha = inputs
        value, slope = np.broadcast_arrays(
            x.astype(np.int64) - self.zero_point, alpha - np.int64(self.alpha_zero_point)
        )
        # Each rule only for the values that it is for: beyond them it may overflow.
        straight = self.requant.apply(np.maximum(value, 0))
        sloped = self.negative_requant.apply(np.minimum(value, 0) * slope)
        y = np.where(value >= 0, straight, sloped) + self.output_zero_point
        return (np.clip(y, *full_range(x.dtype)).astype(x.dtype).reshape(value.shape),)


def _prepare(site: Site) -> Body:
    op: Prelu = site.op
    a, b = site.inputs
    range_ = full_range(a.dtype)
    straight, _, helpers = common.finish(op.requant, op.output_zero_point, range_, a.dtype)
    sloped, _, sloped_helpers = common.finish(op.negative_requant, op.output_zero_point, range_, a.dtype)
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "zero_point": op.zero_point,
            "alpha_zero_point": op.alpha_zero_point,
            "straight": straight,
            "sloped": sloped,
        },
        helpers=helpers | sloped_helpers,
    )


KERNELS = (
    Kernel("prelu.direct", Prelu, _prepare, work=Rates(188, output=29), parameters=("a", "b"), overlaps=by_broadcast),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("per_channel", (1, 4, 3, 5), (5,)),
        _case("per_channel_of_image", (1, 4, 3, 5), (1, 1, 5)),
        _case("per_row", (1, 4, 3, 5), (4, 1, 1)),
        _case("each", (1, 4, 3, 5), (4, 3, 5)),
        _case("one", (1, 4, 3, 5), (1,)),
        _case("scalar", (1, 4, 3, 5), ()),
        _case("input_is_smaller", (1, 1, 1, 5), (4, 3, 5)),
        _case("five_dims", (1, 2, 3, 2, 5), (3, 1, 5)),
        _case("one_channel", (1, 5, 5, 1), (1, 1, 1)),
        _case("same_scale", (1, 40, 5), (5,), a_scale=0.05, output_scale=0.05, zero_points=(4, 0, 4)),
        _case("fine_output", (1, 40, 5), (5,), output_scale=0.0007),
        _case("coarse_output", (1, 40, 5), (5,), output_scale=3.0),
        _case("steep", (1, 40, 5), (5,), b_scale=2.0),
        _case("nearly_flat", (1, 40, 5), (5,), b_scale=1e-9),
        _case("extreme_zero_points", (1, 40, 5), (5,), zero_points=(127, -128, -128)),
        _case("lowest_zero_point", (1, 40, 5), (5,), zero_points=(-128, 127, 127)),
        _case("slope_at_run_time", (1, 4, 3, 5), (1, 1, 5), constant=False),
        _case("int16", (1, 40, 5), (5,), dtype="int16", zero_points=(0, 12, 0)),
        _case("int16_zero_points", (1, 40, 5), (5,), dtype="int16", zero_points=(32767, -128, -32768)),
        _case("int16_each", (1, 4, 3, 5), (4, 3, 5), dtype="int16", zero_points=(0, 0, 0), a_scale=0.0007),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random slope."""
    a_scale, b_scale, output_scale = (float(scale) for scale in np.exp(rng.uniform(np.log(0.005), np.log(0.5), 3)))
    dtype = str(rng.choice(["int8", "int16"]))
    ranges = [full_range(np.dtype(name)) for name in (dtype, "int8", dtype)]
    return _case(
        f"random_{rng.integers(1 << 30)}",
        *random_shapes(rng),
        a_scale=a_scale,
        b_scale=b_scale,
        output_scale=output_scale,
        zero_points=tuple(int(rng.integers(*values, endpoint=True)) for values in ranges),
        dtype=dtype,
    )


def _case(name: str, x: Shape, alpha: Shape, *, constant: bool = True, dtype: str = "int8", **arguments: Any) -> Case:
    """`arguments` as for two operands; the slope is int8 whatever the input is."""
    case = operand_case("PRELU", name, x, alpha, activation=None, constant=constant, dtype=dtype, **arguments)
    slope = operand_case("PRELU", name, x, alpha, activation=None, constant=constant, **arguments).inputs[1]
    return Case(name, case.op, (case.inputs[0], slope), case.outputs)
