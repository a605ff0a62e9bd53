"""Requantisation of vectors: what is found equals the profile at every accumulator, and is what MVE computes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from requantisations import AWKWARD, INT8, all_of, exactly, limits, requantisations

from tinygen.fixedpoint import IntArray
from tinygen.proofs.staircase import Staircases
from tinygen.proofs.vector_product import VectorProduct, prove_vector_product
from tinygen.rescaling import Requant, Rescaling, Rounding


def instructions(product: VectorProduct, acc: IntArray) -> IntArray:
    """By the instructions, on lanes of 32 bits: only VQDMULH sees more."""
    scale = np.int64(1) << product.scale_bits
    lanes = (acc * scale + product.start).astype(np.int32)  # VMLAS wraps
    if product.step is not None:
        lanes = np.where(lanes < product.threshold.astype(np.int32), lanes + product.step.astype(np.int32), lanes)
    high = np.clip(2 * lanes.astype(np.int64) * product.multiplier >> 32, -(2**31), 2**31 - 1)
    rounded = np.clip((high + (1 << product.shift - 1)) >> product.shift, -(2**15), 2**15 - 1)
    low = -128 if product.low_clamp is None else product.low_clamp
    high_clamp = 127 if product.high_clamp is None else product.high_clamp
    return np.clip(np.clip(rounded, -128, 127), low, high_clamp)


def assert_equal(
    product: VectorProduct, requant: Rescaling, zero_point: int, clamp: tuple[int, int], acc: IntArray
) -> None:
    expected = exactly(requant, zero_point, clamp, acc)
    assert np.array_equal(instructions(product, acc), expected)
    assert np.array_equal(product.apply(acc), expected)
    assert 1 <= product.shift <= 16


@settings(max_examples=80)
@given(requantisations())
def test_a_vector_product_is_the_same_everywhere(
    case: tuple[Rescaling, int, tuple[int, int], IntArray, IntArray],
) -> None:
    *form, low, high = case
    product = prove_vector_product(*case)
    if product is not None:
        assert_equal(product, *form, all_of(low, high))


@pytest.mark.parametrize("shift", range(-9, 1, 3))
@pytest.mark.parametrize("zero_point", [-128, 5])
def test_most_awkward_multipliers_have_one(shift: int, zero_point: int) -> None:
    low, high = limits(1)
    proved = 0
    for multiplier in AWKWARD:
        requant = Requant((multiplier,), (shift,), Rounding.DOUBLE)
        product = prove_vector_product(requant, zero_point, INT8, low, high)
        if product is not None:
            proved += 1
            assert_equal(product, requant, zero_point, INT8, all_of(low, high))
    assert proved >= len(AWKWARD) // 2


def test_channels_of_different_scales_share_the_form() -> None:
    rng = np.random.default_rng(1)
    requant = Requant.from_scales(np.exp(rng.uniform(np.log(3e-4), np.log(6e-3), 64)))
    low, high = -rng.integers(2e4, 3e5, 64), rng.integers(2e4, 3e5, 64)
    for zero_point in (-128, 3):
        product = prove_vector_product(requant, zero_point, INT8, low, high)
        assert product is not None
        assert product.holds(Staircases.of(requant, zero_point, INT8, low, high)).all()
        random = rng.integers(low, high, (20_000, 64), endpoint=True)
        assert_equal(product, requant, zero_point, INT8, random)


def test_channels_that_share_no_scale_have_their_own() -> None:
    """Lanes of one have no room for the scale that the other needs."""
    requant = Requant.from_scales([1.23e-5, 0.544926])
    low, high = np.array([711_220, -167_798]), np.array([846_880, 167_798])
    assert prove_vector_product(requant, -128, INT8, low, high) is None
    product = prove_vector_product(requant, -128, INT8, low, high, uniform=False)
    assert product is not None and not product.is_uniform
    random = np.random.default_rng(1).integers(low, high, (20_000, 2), endpoint=True)
    assert_equal(product, requant, -128, INT8, random)


@pytest.mark.parametrize("field", ["start", "multiplier", "step"])
def test_what_is_a_little_off_does_not_hold(field: str) -> None:
    """Constants are such that any other, far enough away, is noticed."""
    requant, low, high = Requant.from_scales([0.0123]), *limits(1, -20_000, 20_000)
    stairs = Staircases.of(requant, 4, INT8, low, high)
    product = prove_vector_product(requant, 4, INT8, low, high)
    assert product is not None and product.holds(stairs).all()
    if product.step is None:
        product = dataclasses.replace(product, step=np.zeros(1, np.int64))
    by = {
        "start": 2 << int(product.scale_bits[0]),
        "multiplier": int(product.multiplier[0]) >> 12,
        "step": 2 << int(product.scale_bits[0]),
    }
    for sign in (1, -1):
        changed = dataclasses.replace(product, **{field: getattr(product, field) + sign * by[field]})
        assert not changed.holds(stairs).any()


def test_lanes_that_would_wrap_are_refused() -> None:
    requant = Requant.from_scales([2.0**-24])
    low, high = limits(1, -(2**31) + 1, 2**31 - 1)
    product = prove_vector_product(requant, 0, INT8, low, high)
    assert product is None or product.fits(low, high).all()
    roomy = prove_vector_product(Requant.from_scales([0.0123]), 4, INT8, *limits(1))
    assert roomy is not None and roomy.fits(*limits(1)).all()
    wide = 1 << 31 - int(roomy.scale_bits[0])
    assert not roomy.fits(*limits(1, -wide, wide)).any()


def test_outputs_beyond_int8_are_refused() -> None:
    assert prove_vector_product(Requant.from_scales([0.01]), 0, (-300, 127), *limits(1)) is None
