"""The tables that the runtimes interpolate for int16 SOFTMAX, by their own rule, in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tinygen.ir import read_only

_Float32 = npt.NDArray[np.float32]

STEPS = 512
_ONE = np.float32(32768)  # in Q0.15


def _table(function: Callable[[_Float32], _Float32], first: float, last: float) -> npt.NDArray[np.int16]:
    """``gen_lut``: `function` at 513 points from `first` to `last`, in Q0.15.

    Each value is moved by half of the interpolation's error in the middle of its step.
    """
    start, step = np.float32(first), np.float32((last - first) / STEPS)
    index = np.arange(STEPS + 1, dtype=np.float32)
    exact = function(start + index * step) * _ONE
    middle = _rounded(function(start + index[:-1] * step + step / np.float32(2)) * _ONE)
    interpolated = _rounded((exact[1:] + _rounded(exact[:-1])) / np.float32(2))
    values = _rounded(exact)
    values[:-1] -= _rounded((interpolated - middle) / np.float32(2))
    return np.clip(values, -32768, 32767).astype(np.int16)


def _rounded(value: _Float32) -> _Float32:
    """Nearest whole number, ties away from zero; exact, for the sum of a float32 and 0.5 in float64."""
    wide = value.astype(np.float64)
    return np.trunc(wide + np.copysign(0.5, wide)).astype(np.float32)


def _exp(x: _Float32) -> _Float32:
    # Through float64, for numpy's own float32 exp is not correctly rounded.
    return np.exp(x.astype(np.float64)).astype(np.float32)


def _one_over_one_plus(x: _Float32) -> _Float32:
    return np.float32(1) / (np.float32(1) + x)


EXP_TABLE: npt.NDArray[np.int16] = read_only(_table(_exp, -10.0, 0.0))
"""exp(x) in Q0.15 for x from -10 to 0: entry i at -10 + i * 10 / 512."""

RECIPROCAL_TABLE: npt.NDArray[np.int16] = read_only(_table(_one_over_one_plus, 0.0, 1.0))
"""1 / (1 + x) in Q0.15 for x from 0 to 1: entry i at i / 512."""
