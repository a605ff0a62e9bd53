"""log(1 + x) in float32 as C libraries on devices compute it: the result of fdlibm's ``log1pf``, in every bit.

It is not always the nearest float32, so that a logarithm in double precision would place some filters elsewhere.
newlib and glibc up to 2.40 have this one.
"""

from __future__ import annotations

import math

import numpy as np

_LN2_HIGH = np.float32(0.693138122558593750)  # 15 bits, so that small multiples are exact
_LN2_LOW = np.float32(9.0580006144591607e-06)
_COEFFICIENTS = tuple(
    np.float32(value)
    for value in (
        *(0.66666668653, 0.40000000596, 0.28571429849, 0.22222198546),
        *(0.18183572590, 0.15313838422, 0.14798198640),
    )
)
"""Of the series of log((1 + s) / (1 - s)) - 2s in powers of s**2, fitted."""
_SQUARE_ROOT_OF_2 = np.float32(1.4142135)


def log1p(x: np.float32) -> np.float32:
    """log(1 + x) for 0 <= x < 2**24: 1 + x = 2**k * (1 + f) with 1 + f from sqrt(1/2) to sqrt(2)."""
    one, two = np.float32(1), np.float32(2)
    if x < np.float32(2**-15):
        return x if x < np.float32(2**-24) else x - x * x * np.float32(0.5)
    k, f, lost = 0, x, np.float32(0)
    if x >= _SQUARE_ROOT_OF_2 - one:
        u = one + x
        k = math.frexp(u)[1] - 1
        lost = (one - (u - x) if k > 0 else x - (u - one)) / u
        u = np.float32(math.ldexp(float(u), -k))
        if u >= _SQUARE_ROOT_OF_2:
            k, u = k + 1, u / two
        f = u - one
    exponent = np.float32(k)
    low = exponent * _LN2_LOW + lost
    half_square = np.float32(0.5) * f * f
    if abs(f) < np.float32(2**-20):
        rest = half_square * (one - np.float32(2 / 3) * f)
        return exponent * _LN2_HIGH - ((rest - low) - f)
    s = f / (two + f)
    z = s * s
    series = np.float32(0)
    for coefficient in reversed(_COEFFICIENTS):
        series = z * (coefficient + series)
    product = s * (half_square + series)
    if k == 0:
        return f - (half_square - product)
    return exponent * _LN2_HIGH - ((half_square - (product + low)) - f)
