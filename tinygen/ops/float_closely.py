"""A closer look at results that are near to a tie, for cores without an FPU, to which float32 sums are dear.

How far float32 is off at most was found for all inputs. For one of them it is much less: a sum on the way to a result
is rounded by half of its own last place, and the exact sums on the way tell how large it is. So the C adds up

    sizes = the sum of |sum of the first k products| over all k, and over the sums of blocks

and float32 is off by no more than u * (sizes + 2 * the sum of |x * w|) in units of the product of the scales, by the
bias' and the quotient's rounding besides (u = 2**-24; Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
What then is open still takes the chain of fused multiply-adds, in integers: the factors are (x * S) * 2**p and
(w * T) * 2**q with significands S, T of 24 bits, rounded to 24 bits each, and sums are mantissas in units of
2**(p + q).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import INT32_MAX
from tinygen.ir import Array
from tinygen.kernel import Site
from tinygen.ops.float_sums import Bounds, Deciding, Way

_UNIT = 2.0**-24
_FRACTION, _RATE = 32, 12
"""Bits of a margin below a step, and more bits of what it grows by."""
_GROWN = 1.001
"""By what rounding itself makes sums larger, for up to `_MOST_TERMS` of them."""
_MOST_TERMS = 1 << 13
_SMALLEST_UNIT = 2.0**-70
"""A product of scales with which no difference of sums is too small for a normal float32."""


class Closely(NamedTuple):
    """What `templates/ops/float_closely.j2` takes."""

    shift: int
    """Of sizes of sums."""
    significand: int
    """S"""
    decimals: int
    """Bits of steps below one."""
    rate_shift: int
    quotient_shift: int
    """What a step of the result adds to the margin: the roundings of sum and quotient, as a power of two."""
    constants: Mapping[str, Array]


def closely(site: Site, bounds: Bounds) -> Closely | None:
    """For a chain of an operator; None where the integers have no room, or the core has an FPU."""
    op = site.op
    _, weights, scales, bias = site.inputs
    assert weights.data is not None and scales.data is not None and bias.data is not None
    terms = op.order.terms
    if "fpu" in site.features or op.order.way is not Way.CHAIN or terms > _MOST_TERMS or op.weight_zero_point:
        return None
    if op.scale * float(scales.data.min()) < _SMALLEST_UNIT:
        return None
    deciding = Deciding.of(bounds, op.scale, scales.data, bias.data, op.output_scale)
    parts = -(-terms // op.order.block)
    # As many bits as all sizes together have above 32, and one for what the shift cuts off.
    shift = max((bounds.sum * (terms + parts)).bit_length() - 31, 0)
    factors = op.scale * scales.data.astype(np.float64) / op.output_scale
    rates = np.ceil(factors * _UNIT * _GROWN * 2.0 ** (_FRACTION + _RATE + shift)) + 1
    if rates.max() > INT32_MAX:
        return None
    magnitudes = np.abs(weights.data.astype(np.int64)).reshape(len(weights.data), -1).sum(axis=1)
    products = magnitudes * max(127 - op.zero_point, op.zero_point + 128)
    biases = np.abs(bias.data.astype(np.float64)) / op.output_scale * (parts + 1 if op.order.bias_first else 0)
    near = (factors * (2 * products + (terms + parts) * 2.0**shift) + biases + 4) * _UNIT * _GROWN
    units = (bounds.sum + 2) / 2.0**deciding.shift + bounds.steps * 2.0**-50
    mantissas, exponents = np.frexp(scales.data.astype(np.float64))
    mantissa, exponent = np.frexp(op.scale)
    named = deciding.constants
    constants: dict[str, Array] = {
        "bias": bias.data,
        "factors": named["factors"],
        "offsets": named["offsets"],
        "margins": named["margins"],
        "near": np.ceil((near + units) * 2.0**_FRACTION + 1).clip(0, INT32_MAX).astype(np.uint32),
        "rates": rates.astype(np.uint32),
        "significands": np.ldexp(mantissas, 24).astype(np.uint32),
        "units": np.ldexp(1.0, exponents + int(exponent) - 48).astype(np.float32),
    }
    return Closely(shift, int(np.ldexp(mantissa, 24)), deciding.shift, _RATE, _FRACTION - 24 + 1, constants)
