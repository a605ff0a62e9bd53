"""log(x) in float32 as ONNX Runtime has it from its C library on Linux: the ``logf`` of glibc since 2.28.

It is not always the nearest float32. x = 2**k * z; a table has 1 / c and log(c) for a c near z, and log(z / c) is a
polynomial of r = z / c - 1. All of that is in float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinygen.float32 import FloatArray
from tinygen.ir import Array, read_only

LEAST = 0x3F330000
"""The bits of the least z, about 0.7."""
LOG_2 = float.fromhex("0x1.62e42fefa39efp-1")
COEFFICIENTS = tuple(map(float.fromhex, ("-0x1.00ea348b88334p-2", "0x1.5575b0be00b6ap-2", "-0x1.ffffef20a4123p-2")))
"""Of r**4, r**3 and r**2; that of r is one."""
_ENTRIES = np.array(
    [
        (float.fromhex(inverse), float.fromhex(logarithm))
        for inverse, logarithm in (
            ("0x1.661ec79f8f3bep+0", "-0x1.57bf7808caadep-2"),
            ("0x1.571ed4aaf883dp+0", "-0x1.2bef0a7c06ddbp-2"),
            ("0x1.49539f0f010b0p+0", "-0x1.01eae7f513a67p-2"),
            ("0x1.3c995b0b80385p+0", "-0x1.b31d8a68224e9p-3"),
            ("0x1.30d190c8864a5p+0", "-0x1.6574f0ac07758p-3"),
            ("0x1.25e227b0b8ea0p+0", "-0x1.1aa2bc79c8100p-3"),
            ("0x1.1bb4a4a1a343fp+0", "-0x1.a4e76ce8c0e5ep-4"),
            ("0x1.12358f08ae5bap+0", "-0x1.1973c5a611cccp-4"),
            ("0x1.0953f419900a7p+0", "-0x1.252f438e10c1ep-5"),
            ("0x1.0000000000000p+0", "0x0.0p+0"),
            ("0x1.e608cfd9a47acp-1", "0x1.aa5aa5df25984p-5"),
            ("0x1.ca4b31f026aa0p-1", "0x1.c5e53aa362eb4p-4"),
            ("0x1.b2036576afce6p-1", "0x1.526e57720db08p-3"),
            ("0x1.9c2d163a1aa2dp-1", "0x1.bc2860d224770p-3"),
            ("0x1.886e6037841edp-1", "0x1.1058bc8a07ee1p-2"),
            ("0x1.767dcf5534862p-1", "0x1.4043057b6ee09p-2"),
        )
    ]
)
TABLE: Array = read_only(_ENTRIES.reshape(-1))
"""(32,) float64: 1 / c and log(c) for sixteen intervals of z; its bits tell in which it is."""


def natural_logarithm(x: FloatArray) -> FloatArray:
    """Of values from 1 on."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.int64)
    place = bits - LEAST
    exponent = place >> 23
    z = (bits - (exponent << 23)).astype(np.uint32).view(np.float32).astype(np.float64)
    entry = _ENTRIES[place >> 19 & 15]
    r: npt.NDArray[np.float64] = z * entry[..., 0] - 1
    fourth, third, second = COEFFICIENTS
    square = r * r
    rest = (fourth * square + (third * r + second)) * square
    return np.asarray((rest + (entry[..., 1] + exponent * LOG_2 + r)).astype(np.float32))
