"""Short products are the profile's own arithmetic at every accumulator; and what is not, is not called so."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from requantisations import AWKWARD, INT8, all_of, exactly, limits, requantisations

from tinygen.fixedpoint import IntArray
from tinygen.proofs.high_product import prove_high_product
from tinygen.proofs.short_product import ShortProduct, prove_short_product
from tinygen.proofs.staircase import Staircases
from tinygen.rescaling import FloatRequant, Requant, Rescaling, Rounding

FAR_FROM_OTHERS = 1e-6
"""A factor beside which near ties of ordinary ones are not decided apart."""


def assert_short_product(
    product: ShortProduct, requant: Rescaling, zero_point: int, clamp: tuple[int, int], acc: IntArray
) -> None:
    """The same at every accumulator, by the instructions, with registers of 32 bits that must not overflow."""

    def word(values: IntArray) -> IntArray:
        assert values.min() >= 0 and values.max() < 2**32
        return values

    total = (acc + product.origin).astype(np.int32).astype(np.int64)
    x = np.clip(total, 0, product.most)
    for where, by in product.exceptions:
        x = word(x + np.where(x == where, by, 0))
    addend = product.addend
    if product.step is not None and product.border is not None:
        addend = word(addend - np.where(x < product.border, product.step, 0))
    carry = np.zeros_like(x)
    for part in product.parts[:0:-1]:
        carry = word(word(x * part) + carry) >> product.bits
    sums = word(word(word(x * product.parts[0]) + carry) + addend)
    y = (sums >> 24) + product.lowest
    if product.near is not None:
        near, rule = product.near, exactly(requant, zero_point, clamp, acc)
        unused = 32 - near.lacking_bits
        lacking = (addend << unused).astype(np.uint32).astype(np.int32) >> unused
        factor = word((product.parts[0] << near.gain_shift) + lacking)
        d = (x * factor + (0 if near.rest is None else near.rest)).astype(np.uint32).astype(np.int32).astype(np.int64)
        doubled = 2 * (y - near.zero_point) - 1
        places = np.frexp(doubled ^ (doubled >> 63) | 1)[1] - 1
        half = np.int64(1) << near.half + places
        lower = doubled >> 1
        decided = lower + np.where(d > half, 1, np.where(d < -half, 0, lower & 1)) + near.zero_point
        is_near = (sums << 8 & 0xFFFFFFFF) >> 32 - near.bits == 0
        inside = is_near & (total >= 0) & (total <= product.most)
        assert np.array_equal(decided[inside], rule[inside])
        y = np.where(is_near, decided, y)
    y = np.where(total < 0, clamp[0], np.where(total > product.most, clamp[1], y))
    assert np.array_equal(y, exactly(requant, zero_point, clamp, acc))
    assert np.array_equal(y, product.apply(acc))


@settings(max_examples=60)
@given(requantisations())
def test_a_short_product_is_the_same_everywhere(
    case: tuple[Rescaling, int, tuple[int, int], IntArray, IntArray],
) -> None:
    requant, zero_point, clamp, low, high = case
    product = prove_short_product(*case)
    if product is not None:
        assert_short_product(product, requant, zero_point, clamp, all_of(low, high))


@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.INT64])
@pytest.mark.parametrize("shift", range(-9, 1))
@pytest.mark.parametrize("zero_point", [-128, 0, 5])
def test_awkward_multipliers_have_short_products(rounding: Rounding, shift: int, zero_point: int) -> None:
    low, high = limits(1)
    for multiplier in AWKWARD:
        requant = Requant((multiplier,), (shift,), rounding)
        product = prove_short_product(requant, zero_point, INT8, low, high)
        assert product is not None
        assert_short_product(product, requant, zero_point, INT8, all_of(low, high))


@pytest.mark.parametrize(("scale", "reach"), [(0.3, 1_000), (0.003, 100_000), (2e-4, 1_500_000), (1e-4, 4_000_000)])
@pytest.mark.parametrize(("zero_point", "clamp"), [(-128, INT8), (-3, INT8), (-20, (-20, 80))])
def test_layers_of_any_depth_have_short_products(
    scale: float, reach: int, zero_point: int, clamp: tuple[int, int]
) -> None:
    """Channels whose scales differ eightfold."""
    rng = np.random.default_rng(reach)
    requant = Requant.from_scales(scale * 8.0 ** (rng.random(24) - 1))
    low, high = -rng.integers(reach // 2, reach, 24), rng.integers(reach // 2, reach, 24)
    product = prove_short_product(requant, zero_point, clamp, low, high)
    assert product is not None
    near = np.rint(rng.uniform(low, high, (2000, 24))).astype(np.int64)
    assert_short_product(product, requant, zero_point, clamp, np.vstack([low, near, high]))


@pytest.mark.parametrize(
    ("factor", "low", "high"), [(0.0010597982909530401, -73_000, 87_000), (0.001055672881193459, -63_000, 95_000)]
)
def test_ties_to_even_have_short_products_with_exceptions(factor: float, low: int, high: int) -> None:
    """Where float32 makes ties of what is next to them, no single line stands for the rule."""
    requant = FloatRequant((factor, FAR_FROM_OTHERS))
    ends = np.full(2, low), np.full(2, high)
    product = prove_short_product(requant, -128, INT8, *ends)
    assert product is not None and product.exceptions
    assert_short_product(product, requant, -128, INT8, all_of(*ends))
    assert prove_high_product(requant, -128, INT8, *ends, scale=1, with_step=False) is None


def test_steps_that_float32_moves_are_exceptions() -> None:
    """Factors like those of layers: of a few hundred channels, some have no line."""
    rng = np.random.default_rng(8)
    factors = np.exp(rng.uniform(math.log(0.002), math.log(0.01), 300)).astype(np.float32)
    requant = FloatRequant((*factors.tolist(), FAR_FROM_OTHERS))
    low, high = limits(301, -80_000, 80_000)
    product = prove_short_product(requant, 3, INT8, low, high)
    assert product is not None
    moved = sum(np.count_nonzero(by) for _, by in product.exceptions)
    assert 0 < moved < 60
    acc = Staircases.of(requant, 3, INT8, low, high).thresholds
    near = np.vstack([low, high, *((acc + offset).T for offset in (-2, -1, 0, 1))])
    assert_short_product(product, requant, 3, INT8, np.clip(near, low, high))
    without = dataclasses.replace(product, exceptions=())
    assert not np.array_equal(without.apply(acc.T), product.apply(acc.T))


@pytest.mark.parametrize(("zero_point", "clamp"), [(-128, INT8), (0, INT8), (5, (-100, 120)), (-20, (-20, 80))])
@pytest.mark.parametrize("factor", [2.0**-7, 0.0010597982909530401, 0.001055672881193459, 0.0123])
def test_near_ties_are_decided_as_float32_has_them(factor: float, zero_point: int, clamp: tuple[int, int]) -> None:
    """Of powers of two, every other step is late."""
    requant = FloatRequant((factor, 0.001055672881193459, 2.0**-9))
    ends = limits(3, -60_000, 150_000)
    product = prove_short_product(requant, zero_point, clamp, *ends)
    assert product is not None and product.near is not None and len(product.parts) == 1
    assert_short_product(product, requant, zero_point, clamp, all_of(*ends))


@pytest.mark.parametrize(("zero_point", "clamp"), [(-128, INT8), (9, INT8), (-20, (-20, 80))])
def test_factors_far_apart_have_near_ties_of_two_parts(zero_point: int, clamp: tuple[int, int]) -> None:
    """One part is too coarse for the least factor, whose sums are large."""
    factors = np.array([0.000097, 0.00013, 2.0**-9, 0.0017], np.float32)
    requant = FloatRequant(tuple(factors.tolist()))
    ends = limits(len(factors), -900_000, 1_000_000)
    product = prove_short_product(requant, zero_point, clamp, *ends)
    assert product is not None and product.near is not None and len(product.parts) == 2
    assert (product.near.rest is None) == (clamp[0] == zero_point)
    assert_short_product(product, requant, zero_point, clamp, all_of(*ends))
    coarse = dataclasses.replace(product, parts=(product.parts[0], 0 * product.parts[1]))
    assert not coarse.holds(Staircases.of(requant, zero_point, clamp, *ends)).all()


def test_a_wrong_constant_of_near_ties_is_not_proved() -> None:
    requant = FloatRequant((0.0010597982909530401,))
    stairs = Staircases.of(requant, -127, INT8, *limits(1, -73_000, 87_000))
    product = prove_short_product(requant, -127, INT8, stairs.low, stairs.high)
    assert product is not None and product.near is not None and product.holds(stairs).all()
    assert product.near.rest is not None
    for accumulators in (-1, 1):
        moved = dataclasses.replace(product.near, rest=product.near.rest + accumulators * product.near.factor)
        assert not dataclasses.replace(product, near=moved).holds(stairs).all()
        # The line has room for that, but its factor would be another.
        other = dataclasses.replace(product, addend=product.addend + accumulators)
        assert np.array_equal(other.apply(stairs.thresholds.T), product.apply(stairs.thresholds.T))
        assert not other.holds(stairs).all()


def test_a_staircase_of_ties_has_no_short_product_with_exceptions() -> None:
    requant = FloatRequant((2.0**-7, FAR_FROM_OTHERS))
    assert prove_short_product(requant, -128, INT8, *limits(2, -40_000, 40_000)) is None


def test_constant_channels_have_short_products() -> None:
    requant = Requant.from_scales([0.11, 0.05])
    low, high = np.array([-3000, 2**29]), np.array([3000, 2**29 + 5])
    product = prove_short_product(requant, -7, INT8, low, high)
    assert product is not None
    assert product.apply(np.stack([low, high])).tolist() == [[-128, 127], [127, 127]]
    assert prove_short_product(requant, -7, INT8, low * 2, high * 2) is None


@pytest.mark.parametrize(
    ("field", "change"),
    [("most", -1), *((field, change) for field in ("origin", "addend", "border", "step") for change in (-1, 1))],
)
def test_a_wrong_constant_of_a_short_product_is_not_proved(field: str, change: int) -> None:
    """Each constant is moved until the outputs differ, which has to show."""
    requant = Requant.from_scales([0.031, 0.044, 0.07])
    low, high = limits(3, -8000, 8000)
    stairs = Staircases.of(requant, 4, INT8, low, high)
    product = prove_short_product(requant, 4, INT8, low, high)
    assert product is not None and product.step is not None
    assert product.holds(stairs).all()
    acc = all_of(low, high)
    expected = exactly(requant, 4, INT8, acc)
    noticed = 0
    for exponent in range(31):
        wrong = dataclasses.replace(product, **{field: getattr(product, field) + change * (1 << exponent)})
        same = (wrong.apply(acc) == expected).all(axis=0) | ~(fits := wrong.fits(low, high))
        assert np.array_equal(wrong.holds(stairs), same & fits)
        noticed += int((~same).sum())
    assert noticed > 3
