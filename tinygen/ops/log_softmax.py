"""LOG_SOFTMAX over the last dimension, int8 to int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.softmax import DIFFERENCE_INTEGER_BITS, SUM_HALF, SUM_INTEGER_BITS, RowExponentials
from tinygen.ops.work import Rates

_OUTPUT_INTEGER_BITS = 4
_OUTPUT_SHIFT = 31 - DIFFERENCE_INTEGER_BITS - _OUTPUT_INTEGER_BITS
_LOWEST = -(16 << 26)  # the least scaled difference, in Q5.26, that can leave more than the lowest output


@dataclass(frozen=True)
class LogSoftmax(RowExponentials):
    """y = clamp(round(16 (d - log(sum of exp(d)))) + 127), d = x - max, in gemmlowp's fixed point.

    The output's scale is 1/16 and its zero point 127. Differences that are scaled to -16 and less give the lowest
    output; the runtime, which also asks whether int32 could overflow, comes to the same.
    """

    name: ClassVar[str] = "LOG_SOFTMAX"

    @property
    def rounding(self) -> str:
        """Exponentials and a logarithm, as gemmlowp has them."""
        return "fixed-point exponentials"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    def outcomes(self) -> int:
        """How many differences 0, -1, … can give more than the lowest output."""
        return int(np.count_nonzero(self.scaled_differences() > _LOWEST))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        (x,) = inputs
        rows = x.reshape(-1, x.shape[-1]).astype(np.int64)
        difference = rows.max(axis=1, keepdims=True) - rows
        exponentials, scaled = np.zeros(256, np.int64), np.full(256, _LOWEST, np.int64)
        found = self.exponentials()
        exponentials[: len(found)] = found
        scaled[: self.outcomes()] = self.scaled_differences()[: self.outcomes()]
        terms = fixedpoint.rounding_divide_by_pot(exponentials[difference], SUM_INTEGER_BITS)
        log_sum = fixedpoint.log_x_for_x_greater_than_or_equal_to_1(terms.sum(axis=1, keepdims=True))
        y = fixedpoint.rounding_divide_by_pot(scaled[difference] - log_sum, _OUTPUT_SHIFT) + 127
        return (np.clip(y, -128, 127).astype(np.int8).reshape(x.shape),)


def _prepare(site: Site) -> Body:
    op: LogSoftmax = site.op
    (x,) = site.inputs
    table = op.exponentials()
    return Body(
        values={
            "rows": x.elements // x.shape[-1],
            "depth": x.shape[-1],
            "entries": len(table),
            "outcomes": op.outcomes(),
            "factor": 1 << op.left_shift,
            "multiplier": op.multiplier,
            "output_shift": _OUTPUT_SHIFT,
            "sum_integer_bits": SUM_INTEGER_BITS,
            "sum_half": SUM_HALF,
        },
        constants={"exp": table},
        helpers=frozenset({"high_mul", "divide_by_pot", "log"}),
    )


KERNELS = (Kernel("log_softmax.direct", LogSoftmax, _prepare, work=Rates(1140, output=75), overlaps=side_by_side),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("ten_classes", (40, 10), 0.1),
        _case("one_class", (1, 1), 0.1),
        _case("two_classes", (40, 2), 0.004),
        _case("image", (1, 2, 3, 4), 0.05),
        _case("steep", (40, 10), 12.0),
        _case("steepest", (40, 10), 40.0),
        _case("flat", (1, 10), 1e-5),
        _case("fine", (40, 10), 0.03),
        _case("long", (3, 600), 0.02),
        _case("very_long", (2, 4095), 0.05),
        _case("very_long_and_steep", (2, 4095), 3.0),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random log-softmax."""
    shape = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    return _case(f"random_{rng.integers(1 << 30)}", shape, float(np.exp(rng.uniform(np.log(1e-3), np.log(40.0)))))


def _case(name: str, shape: Shape, scale: float) -> Case:
    x = CaseTensor(shape, scale=scale, zero_point=4)
    return Case(name, "LOG_SOFTMAX", (x,), (CaseTensor(shape, scale=1 / 16, zero_point=127),))
