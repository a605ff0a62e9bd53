"""What operators share that compute in float32 on what int8 values stand for: the real values, and their limits."""

from __future__ import annotations

from collections.abc import Iterator

from tinygen.float32 import FloatArray, dequantize
from tinygen.ir import Op
from tinygen.ops.curve import CODES

LARGEST_QUOTIENT = 2.0**30
"""Of real values and the output's scale, so that it is rounded to an int32."""


class RealInput(Op):
    """An operator whose input has one scale."""

    scale: float
    zero_point: int

    def reals(self) -> FloatArray:
        """(256,): what the input's values stand for, from -128 on."""
        return dequantize(CODES, self.scale, self.zero_point)


class RealScales(RealInput):
    """The same with results of int8, no larger than the input's values."""

    output_scale: float

    def scale_problems(self) -> Iterator[str]:
        """Scales for which quotients would not fit."""
        if not 256 * self.scale < LARGEST_QUOTIENT * self.output_scale:
            yield f"the scales {self.scale:g} and {self.output_scale:g} are too far apart"
