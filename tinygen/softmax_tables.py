"""The tables that the runtimes interpolate for int16 SOFTMAX, by their own rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.ir import Array, read_only

STEPS = 512
_ONE = 32768  # in Q0.15


@dataclass(frozen=True, eq=False)
class SoftmaxTables:
    """513 entries each (int16, Q0.15): exp(x) for x from -10 to 0, and 1 / (1 + x) for x from 0 to 1."""

    computed_in: str
    """The dtype that the runtime computes them in; some entries depend on it."""
    exp: npt.NDArray[np.int16]
    reciprocal: npt.NDArray[np.int16]


def _table(function: Callable[[Array], Array], first: float, last: float, dtype: str) -> npt.NDArray[np.int16]:
    """``gen_lut`` and ``LUTPopulate``: `function` at 513 points from `first` to `last`, in Q0.15.

    Each value is moved by half of the interpolation's error in the middle of its step.
    """
    real = np.dtype(dtype).type
    start, step = real(first), real((last - first) / STEPS)
    index = np.arange(STEPS + 1, dtype=dtype)
    exact = function(start + index * step) * real(_ONE)
    middle = _rounded(function(start + index[:-1] * step + step / real(2)) * real(_ONE))
    interpolated = _rounded((exact[1:] + _rounded(exact[:-1])) / real(2))
    values = _rounded(exact)
    values[:-1] -= _rounded((interpolated - middle) / real(2))
    return np.asarray(read_only(np.clip(values, -32768, 32767).astype(np.int16)))


def _rounded(value: Array) -> Array:
    """Nearest whole number, ties away from zero; exact, for values of this size and 0.5 in float64."""
    wide = value.astype(np.float64)
    return np.trunc(wide + np.copysign(0.5, wide)).astype(value.dtype)


def _exp(x: Array) -> Array:
    # Through float64, for numpy's own float32 exp is not correctly rounded.
    return np.exp(x.astype(np.float64)).astype(x.dtype)


def _one_over_one_plus(x: Array) -> Array:
    return np.asarray(1 / (1 + x))


def _tables(dtype: str) -> SoftmaxTables:
    return SoftmaxTables(dtype, _table(_exp, -10.0, 0.0, dtype), _table(_one_over_one_plus, 0.0, 1.0, dtype))


FLOAT32_TABLES = _tables("float32")
"""TensorFlow Lite Micro's."""
FLOAT64_TABLES = _tables("float64")
"""LiteRT's."""
