"""The requantising step of portable C where a cheaper formula is proved: the high half of one product.

Its constants take the place of the profile's: a start value goes into the biases, an addend instead of the shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygen.c_text import C_TYPES
from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.ir import Array
from tinygen.ops.common import INT8, Clamp, Finish, Product, finish
from tinygen.ops.tie_product import TieProduct, tie_product
from tinygen.proofs.high_product import HighProduct, prove_high_product
from tinygen.rescaling import FloatRequant, Rescaling

_SCALES_WITH_STEP = (256, 16)
"""What sums are multiplied by, if negative results have their steps apart; the first for which sums fit int32."""


_HELPERS = frozenset({"clamp", "high_product"})


@dataclass(frozen=True, eq=False)
class ProvedFinish:
    """Literals for the template, constant arrays by name, C helpers, and what is to be added to the biases."""

    finish: Finish
    constants: Mapping[str, Array]
    helpers: frozenset[str]
    bias: IntArray
    """int64 (channels,)"""
    proof: str
    """What was proved, for people"""


def proved_finish(
    requant: Rescaling,
    zero_point: int,
    clamp: Clamp,
    low: IntArray,
    high: IntArray,
    bound: IntArray,
    objective: str,
    features: frozenset[str],
) -> ProvedFinish | None:
    """The cheapest finish of int8 outputs proved for sums from low to high, both (channels,); None if there is none.

    `bound`: what each channel's |accumulator| can reach on the way. With the objective "size" there is none for
    channels that differ and have shifts in the profile, which take fewer bytes than addends.
    """
    if objective == "size" and requant.per_channel and not isinstance(requant, FloatRequant):
        return None
    if not requant.per_channel:
        low, high = low.min(keepdims=True), high.max(keepdims=True)
    product = prove_high_product(requant, zero_point, clamp, low, high, scale=1, with_step=False)
    for scale in _SCALES_WITH_STEP:
        product = product or prove_high_product(
            requant, zero_point, clamp, low, high, scale=scale, with_step=True, start_multiple=scale
        )
    if product is None:
        exact = tie_product(requant, bound) if "fpu" not in features else None
        return None if exact is None else _deciding_ties(exact, requant.per_channel, zero_point, clamp)
    assert isinstance(product.scale, int)
    bias = product.start // product.scale
    if (bound + np.abs(bias)).max() > INT32_MAX:
        return None
    columns = _columns(product)
    return ProvedFinish(
        _finish(product, columns, requant.per_channel, start=0),
        columns if requant.per_channel else {},
        _HELPERS,
        bias,
        product.describe(),
    )


def _deciding_ties(product: TieProduct, per_channel: bool, zero_point: int, clamp: Clamp) -> ProvedFinish:
    """For sums of which no line takes all steps."""
    shift = product.common_shift
    columns: dict[str, Array] = {"multiplier": product.multiplier.astype(np.int32)}
    if shift is None:
        columns["shift"] = product.shift.astype(np.int8)
    final = Finish(
        acc_type="int32_t",
        y_type=C_TYPES["int8"],
        helper="high_product",
        per_channel=per_channel,
        factors={name: repr(array[0].item()) for name, array in columns.items()},
        zero_point=0,
        low=clamp[0],
        high=clamp[1],
        product=Product(product.scale, start=0, shift=shift, float_zero_point=zero_point),
    )
    constants = columns if per_channel else {}
    helpers = _HELPERS | {"float_product"}
    return ProvedFinish(final, constants, helpers, np.zeros_like(product.multiplier), product.describe())


class FinishWithin(NamedTuple):
    """What `tinygen.ops.common.finish` gives, and what was proved, in words."""

    finish: Finish
    constants: Mapping[str, Array]
    helpers: frozenset[str]
    proof: str


def finish_within(
    requant: Rescaling, zero_point: int, clamp: Clamp, y_dtype: np.dtype[np.generic], low: int, high: int
) -> FinishWithin:
    """The cheapest step that is proved for values from low to high; else, or for what is not int8, the profile's own.

    For kernels without biases: the step adds what a bias would.
    """
    product = None
    if (
        y_dtype == INT8
        and not requant.is_identity
        and not requant.per_channel
        and -INT32_MAX <= low <= high <= INT32_MAX
    ):
        ends = np.array([low]), np.array([high])
        product = prove_high_product(requant, zero_point, clamp, *ends, scale=1, with_step=False)
        for scale in _SCALES_WITH_STEP:
            product = product or prove_high_product(requant, zero_point, clamp, *ends, scale=scale, with_step=True)
    if product is None:
        bound = np.array([max(-low, high)])
        return FinishWithin(*finish(requant, zero_point, clamp, y_dtype, bound), "")
    return FinishWithin(
        _finish(product, _columns(product), per_channel=False, start=int(product.start[0])),
        {},
        _HELPERS,
        product.describe(),
    )


def _columns(product: HighProduct) -> dict[str, Array]:
    """What the step takes for each channel, by name."""
    columns: dict[str, Array] = {
        "multiplier": product.multiplier.astype(np.int32),
        "addend": _narrowest(product.addend),
    }
    if product.step is not None:
        columns["step"] = _narrowest(product.step)
    return columns


def _finish(product: HighProduct, columns: Mapping[str, Array], per_channel: bool, start: int) -> Finish:
    return Finish(
        acc_type="int32_t",
        y_type=C_TYPES["int8"],
        helper="high_product",
        per_channel=per_channel,
        factors={name: repr(array[0].item()) for name, array in columns.items()},
        zero_point=0,
        low=-128 if product.low_clamp is None else product.low_clamp,
        high=127 if product.high_clamp is None else product.high_clamp,
        product=Product(int(np.max(product.scale)), start, product.shift),
    )


def _narrowest(values: IntArray) -> Array:
    """The smallest integer type that holds all values."""
    for dtype in (np.int8, np.int16):
        if values.min() >= np.iinfo(dtype).min and values.max() <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.int32)
