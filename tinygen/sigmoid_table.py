"""The table that the runtimes interpolate for int16 LOGISTIC and TANH, and for the gates of an LSTM."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinygen.ir import read_only

_STEPS_PER_UNIT = 24

# The runtimes' table is no plain rounding: these entries are one higher.
_ONE_HIGHER = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46),
    *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)


def _table() -> npt.NDArray[np.uint16]:
    rounded = [math.floor(65536 / (1 + math.exp(-i / _STEPS_PER_UNIT)) + 0.5) for i in range(256)]
    return np.array([value + (i in _ONE_HIGHER) for i, value in enumerate(rounded)], np.uint16)


SIGMOID_TABLE: npt.NDArray[np.uint16] = read_only(_table())
"""1 / (1 + exp(-i / 24)) in Q0.16 for i = 0 … 255: ``sigmoid_table_uint16``."""
