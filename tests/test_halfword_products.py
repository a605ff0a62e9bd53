"""Requantisation of vectors to int16: what MVE computes is the runtime's formula, wherever it is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.fixedpoint import INT32_MAX, INT32_MIN
from tinygen.proofs.halfword_product import exact_multipliers, prove_halfword_product
from tinygen.proofs.vector_product import VectorProduct
from tinygen.rescaling import Requant, Rounding

FULL = (-(2**15), 2**15 - 1)
MULTIPLIERS = st.one_of(st.integers(1 << 30, INT32_MAX), st.sampled_from([0, 1 << 30, 0x7FFF0000, INT32_MAX]))


def prove(requant: Requant, clamp: tuple[int, int], reach: int) -> VectorProduct | None:
    ends = np.full(requant.channels, reach, np.int64)
    return prove_halfword_product(requant, 0, clamp, -ends, ends)


def instructions(form: VectorProduct, acc: np.ndarray) -> np.ndarray:
    """By the instructions, on lanes of 32 bits: only VQDMULH sees more."""
    lanes = acc * (1 << form.scale_bits) + form.start
    assert lanes.min() >= INT32_MIN and lanes.max() <= INT32_MAX
    high = np.clip(2 * lanes * form.multiplier >> 32, INT32_MIN, INT32_MAX)
    rounded = np.clip(high + (1 << form.shift - 1) >> form.shift, *FULL)
    low = FULL[0] if form.low_clamp is None else form.low_clamp
    return np.clip(rounded, low, FULL[1] if form.high_clamp is None else form.high_clamp)


@given(
    st.lists(st.tuples(MULTIPLIERS, st.integers(-18, 3)), min_size=1, max_size=3),
    st.sampled_from([FULL, (0, FULL[1]), (-300, 29_491)]),
    st.integers(1, INT32_MAX),
    st.integers(0, 2**32),
)
def test_a_halfword_product_is_the_runtimes(
    factors: list[tuple[int, int]], clamp: tuple[int, int], reach: int, seed: int
) -> None:
    requant = Requant(*(tuple(each) for each in zip(*factors, strict=True)), Rounding.INT64)
    form = prove(requant, clamp, reach)
    if form is None:
        return
    acc = np.random.default_rng(seed).integers(-reach, reach + 1, (300, 1))
    # Around where results change: there it shows if one is rounded otherwise.
    steps = np.round(np.arange(-150.5, 151)[:, None] / np.maximum(requant.factors, 2.0**-40)).astype(np.int64)
    near = np.concatenate([np.broadcast_to(acc, (300, requant.channels)), steps - 1, steps, steps + 1])
    near = np.concatenate([np.clip(near, -reach, reach), np.full((1, requant.channels), reach)])
    expected = np.clip(requant.apply(near), *clamp)
    assert np.array_equal(instructions(form, near), expected)
    assert np.array_equal(form.apply(near), expected)
    assert 1 <= form.shift <= 16


@pytest.mark.parametrize("shift", range(-16, 0))
def test_sums_of_32_bits_have_one(shift: int) -> None:
    requant = Requant((0x5A5A5A5A, 0x7FFFFFFF, 1 << 30), (shift, max(shift - 3, -16), -1 if shift < -1 else shift))
    assert prove(requant, FULL, INT32_MAX) is None, "of another rule"
    assert prove(Requant(requant.multiplier, requant.shift, Rounding.INT64), FULL, INT32_MAX) is not None
    assert prove(Requant(requant.multiplier, requant.shift, Rounding.INT64), FULL, INT32_MAX + 2) is None


@given(st.lists(st.tuples(MULTIPLIERS, st.integers(-18, 1)), min_size=1, max_size=3), st.integers(0, 2**32))
def test_exact_multipliers_are_the_runtimes(factors: list[tuple[int, int]], seed: int) -> None:
    requant = Requant(*(tuple(each) for each in zip(*factors, strict=True)), Rounding.INT64)
    ends = np.full(requant.channels, INT32_MAX, np.int64)
    found = exact_multipliers(requant, -ends, ends)
    if found is None:
        assert any(multiplier and not -17 <= shift <= -1 for multiplier, shift in factors)
        return
    acc = np.random.default_rng(seed).integers(INT32_MIN, INT32_MAX, (300, 1))
    assert found.min() >= 0 and found.max() <= INT32_MAX
    assert np.array_equal(acc * found + (1 << 31) >> 32, requant.apply(acc))  # SMMULR
    assert exact_multipliers(requant, -ends - 2, ends) is None
