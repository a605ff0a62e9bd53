"""What two operands of different scales share that are brought to one scale before they meet."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Site
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, operand_problems
from tinygen.ops.common import INT8, INT16, Clamp, differences
from tinygen.ops.traits import Elementwise
from tinygen.rescaling import Requant


@dataclass(frozen=True)
class CommonScale(Elementwise):
    """Base of operators on a_requant((a - a_zero_point) << left_shift) and b_requant((b - b_zero_point) << left_shift).

    Both inputs int8 or both int16, of shapes that broadcast. The common scale is at least twice that of either, so that
    neither result is more than half of what was rescaled.
    """

    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    left_shift: int
    a_requant: Requant
    b_requant: Requant
    requant: Requant
    clamp: Clamp

    def reach(self, widest: int) -> tuple[int, int]:
        """Least and largest result, before it is rescaled, of two operands of at most half of `widest`."""
        return -widest, widest

    @abstractmethod
    def combined(self, a: IntArray, b: IntArray) -> IntArray:
        """The result, before it is rescaled."""

    @property
    def gains(self) -> tuple[float, float] | None:
        """What a step of either operand changes the output by, nearly; None if that depends on the other operand."""
        return None

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, shapes, and the result's bound."""
        a, b = inputs
        broken = list(operand_problems(a, b, INT8, INT16))
        yield from broken
        if not broken:
            widest = max(map(abs, (*differences(a, self.a_zero_point), *differences(b, self.b_zero_point))))
            yield from common.rescaling_problems("the result", *self.reach(widest << self.left_shift), self.requant)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The results of all pairs of ends, and of two operands as near to each other as they can be."""
        (y,) = self.output_types(inputs)
        of_a, of_b = given
        a = [self.a_requant.apply((end - self.a_zero_point) << self.left_shift) for end in (of_a.low, of_a.high)]
        b = [self.b_requant.apply((end - self.b_zero_point) << self.left_shift) for end in (of_b.low, of_b.high)]
        near = np.clip(b[0], *a)
        pairs = [*itertools.product(a, b), (near, np.clip(near, *b))]
        results = [self.requant.apply(self.combined(*pair)) + self.output_zero_point for pair in pairs]
        return (Interval.around(results, y.shape[-1:]).clipped(*self.clamp),)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        a, b = inputs
        return (TensorType(broadcast_shape(a.shape, b.shape) or a.shape, a.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        a, b = (x.astype(np.int64) for x in inputs)
        scaled_a = self.a_requant.apply((a - self.a_zero_point) << self.left_shift)
        scaled_b = self.b_requant.apply((b - self.b_zero_point) << self.left_shift)
        y = self.requant.apply(self.combined(scaled_a, scaled_b)) + self.output_zero_point
        return (np.clip(y, *self.clamp).astype(inputs[0].dtype),)


def gains(op: CommonScale) -> tuple[float, float]:
    """By how much steps of the operands change the output of their sum, up to rounding."""
    (whole,), (a,), (b,) = (requant.factors for requant in (op.requant, op.a_requant, op.b_requant))
    return (1 << op.left_shift) * whole * a, (1 << op.left_shift) * whole * b


def prepare(site: Site) -> Body:
    """For templates that print with ``ops/common_scale.j2``."""
    op: CommonScale = site.op
    a, b = site.inputs
    final, _, helpers = common.finish(op.requant, op.output_zero_point, op.clamp, a.dtype)
    a_final, _, a_helpers = common.finish(op.a_requant, 0, op.clamp)
    b_final, _, b_helpers = common.finish(op.b_requant, 0, op.clamp)
    return Body(
        values={
            **broadcast_values(a.shape, b.shape),
            "factor": 1 << op.left_shift,
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "a_finish": a_final,
            "b_finish": b_final,
            "finish": final,
        },
        helpers=helpers | a_helpers | b_helpers,
    )
