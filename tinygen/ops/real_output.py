"""What operators on real values share whose results QuantizeLinear makes int8 of, or which stay float32."""

from __future__ import annotations

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray, quantize
from tinygen.ir import Array, Op
from tinygen.ops.common import FLOAT32, INT8, Clamp
from tinygen.ops.curve import FLOAT_TO_INT8


class RealOutput(Op):
    """y = clamp(rint(results / output_scale) + output_zero_point), or the results in float32."""

    output_scale: float | None
    """None: the results stay float32."""
    output_zero_point: int
    clamp: Clamp

    @property
    def rounding(self) -> str:
        """That of ``QuantizeLinear``, if there is one."""
        return "float32" if self.output_scale is None else FLOAT_TO_INT8

    @property
    def output_dtype(self) -> np.dtype[np.generic]:
        """Of the results."""
        return FLOAT32 if self.output_scale is None else INT8

    def finished(self, results: FloatArray) -> Array:
        """What the operator makes of its results."""
        if self.output_scale is None:
            return np.array(results, order="C")
        return quantize(results, self.output_scale, self.output_zero_point, *self.clamp).astype(np.int8)

    def output_values(self) -> dict[str, object]:
        """What a template needs."""
        return {
            "is_quantised": self.output_scale is not None,
            "scale": float_literal(self.output_scale or 1.0),
            "zero_point": self.output_zero_point,
            "low": self.clamp[0],
            "high": self.clamp[1],
        }

    @property
    def output_helpers(self) -> frozenset[str]:
        """Of C, that it calls."""
        return frozenset() if self.output_scale is None else frozenset({"clamp", "round_float"})
