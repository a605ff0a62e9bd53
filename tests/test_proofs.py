"""Cheaper formulas are the profile's own arithmetic, at every accumulator; and what is not, is not called so."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requantisations import AWKWARD, INT8, all_of, awkward, exactly, limits, requantisations

from tinygen.fixedpoint import IntArray
from tinygen.ir import Tensor
from tinygen.ops.add import Add, Sub
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.proved_pairs import plane_of_pairs
from tinygen.proofs.high_product import HighProduct, prove_high_product
from tinygen.proofs.staircase import Staircases
from tinygen.rescaling import FloatRequant, Requant, Rescaling, Rounding, integer_factor

# --- staircases ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(requantisations())
def test_thresholds_are_where_the_output_first_becomes_a_value(
    case: tuple[Rescaling, int, tuple[int, int], IntArray, IntArray],
) -> None:
    requant, zero_point, clamp, low, high = case
    stairs = Staircases.of(*case)
    acc = all_of(low, high)
    outputs = exactly(requant, zero_point, clamp, acc)
    assert np.array_equal(outputs[0], stairs.first) and np.array_equal(outputs[-1], stairs.last)
    for channel in range(len(low)):
        by_hand = [
            next(
                (a for a, y in zip(acc[:, channel], outputs[:, channel], strict=True) if y >= value), high[channel] + 1
            )
            for value in stairs.values
        ]
        assert stairs.thresholds[channel].tolist() == by_hand


def test_int16_has_too_many_steps() -> None:
    with pytest.raises(ValueError, match="at most 256 outputs, the clamp leaves -32768 to 32767"):
        Staircases.of(awkward(-3), 0, (-32768, 32767), *limits(len(AWKWARD)))


# --- products of 32 bits ---------------------------------------------------------------------------------------------


def assert_high_product(
    product: HighProduct, requant: Rescaling, zero_point: int, clamp: tuple[int, int], acc: IntArray
) -> None:
    """The same at every accumulator, by the instructions, with registers of 32 bits."""
    register = (product.scale * acc + product.start).astype(np.int32)
    wide = (product.addend << 32) + register.astype(np.int64) * product.multiplier
    high = (wide >> 32).astype(np.int32)
    if product.step is not None:
        high = high - (product.step.astype(np.int32) & (register >> 31))
    saturated = np.clip(high >> product.shift, -128, 127)
    if product.low_clamp is not None:
        saturated = np.maximum(saturated, product.low_clamp)
    if product.high_clamp is not None:
        saturated = np.minimum(saturated, product.high_clamp)
    assert np.array_equal(saturated, exactly(requant, zero_point, clamp, acc))
    assert np.array_equal(saturated, product.apply(acc))


@settings(max_examples=150)
@given(requantisations(), st.sampled_from([1, 3, 64, 256, 257]))
def test_a_high_product_is_the_same_everywhere(
    case: tuple[Rescaling, int, tuple[int, int], IntArray, IntArray], scale: int
) -> None:
    requant, zero_point, clamp, low, high = case
    product = prove_high_product(*case, scale=scale)
    if product is not None:
        assert_high_product(product, requant, zero_point, clamp, all_of(low, high))


@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.INT64])
@pytest.mark.parametrize("shift", range(-9, 1))
@pytest.mark.parametrize("zero_point", [-128, 0, 5])
@pytest.mark.parametrize("scale", [1, 256])
def test_awkward_multipliers(rounding: Rounding, shift: int, zero_point: int, scale: int) -> None:
    low, high = limits(1)
    proved = 0
    for multiplier in AWKWARD:
        requant = Requant((multiplier,), (shift,), rounding)
        product = prove_high_product(requant, zero_point, INT8, low, high, scale=scale)
        if product is not None:
            proved += 1
            assert_high_product(product, requant, zero_point, INT8, all_of(low, high))
    if scale == 256 and shift < -1:  # what packed weights have; gains near one are another matter
        assert proved == len(AWKWARD)


@pytest.mark.parametrize("zero_point", [-128, -3])
def test_ordinary_layers_are_proved(zero_point: int) -> None:
    """Channels whose scales differ eightfold, and sums as large as those of a real layer."""
    rng = np.random.default_rng(zero_point + 128)
    requant = Requant.from_scales(0.003 * 8.0 ** rng.random(24))
    low, high = -rng.integers(50_000, 100_000, 24), rng.integers(50_000, 100_000, 24)
    product = prove_high_product(requant, zero_point, INT8, low, high, scale=256)
    assert product is not None
    assert (product.step is None) == (zero_point == -128)
    assert_high_product(product, requant, zero_point, INT8, all_of(low, high))


def test_shifts_that_similar_layers_share_come_first() -> None:
    low, high = limits(4, -100_000, 100_000)
    shifts = set()
    for scale in (0.0021, 0.0024, 0.0028, 0.0033, 0.0038):
        product = prove_high_product(Requant.from_scales([scale] * 4), -128, INT8, low, high, scale=256)
        assert product is not None
        shifts.add(product.shift)
    assert len(shifts) == 1
    product = prove_high_product(Requant.from_scales([0.003] * 4), -128, INT8, low, high, scale=256, shifts=[9])
    assert product is not None and product.shift == 9


@pytest.mark.parametrize(("low", "high"), [(-140_760, 0), (-140_760, -1), (0, 140_760), (-1, 140_760), (-140_760, 3)])
def test_ranges_that_hardly_reach_over_zero(low: int, high: int) -> None:
    """Of one sign there is next to nothing to be kept."""
    requant = Requant((1773880229, 1410005933), (-9, -8))
    ends = np.full(2, low), np.full(2, high)
    product = prove_high_product(requant, -5, INT8, *ends, scale=256, with_step=True)
    assert product is not None
    assert_high_product(product, requant, -5, INT8, all_of(*ends))


def test_a_scale_of_its_own_for_each_channel() -> None:
    """A channel that hardly scales down needs room below 2**31, which the other one leaves its precision."""
    requant = Requant.from_scales([0.9, 0.0004])
    low, high = np.array([-200, -400_000]), np.array([200, 600_000])
    product = prove_high_product(requant, -128, INT8, low, high, scale=range(1, 258))
    assert product is not None
    assert isinstance(product.scale, np.ndarray)
    assert product.scale[0] > product.scale[1] == 1
    assert_high_product(product, requant, -128, INT8, all_of(low, high))


@pytest.mark.parametrize(
    ("zero_point", "clamp", "expected"),
    [
        (-128, (-128, 127), (None, None)),
        (-20, (-20, 127), (-20, None)),
        (-128, (-128, 80), (None, 80)),
        (-20, (-20, 80), (-20, 80)),
    ],
)
def test_clamps_that_saturation_does_not_do(
    zero_point: int, clamp: tuple[int, int], expected: tuple[int | None, int | None]
) -> None:
    requant = Requant.from_scales([0.11, 0.17])
    low, high = limits(2)
    product = prove_high_product(requant, zero_point, clamp, low, high, scale=256)
    assert product is not None
    assert (product.low_clamp, product.high_clamp) == expected
    assert_high_product(product, requant, zero_point, clamp, all_of(low, high))


def test_clamps_beyond_reach_cost_nothing() -> None:
    requant = Requant.from_scales([0.11])
    product = prove_high_product(requant, -20, (-20, 80), np.array([5]), np.array([800]), scale=1)
    assert product is not None
    assert (product.low_clamp, product.high_clamp) == (None, None)


def test_constant_channels_have_no_multiplier() -> None:
    requant = Requant.from_scales([0.11, 0.05])
    low, high = np.array([-3000, 2**30]), np.array([3000, 2**30 + 5])
    product = prove_high_product(requant, -7, INT8, low, high, scale=256)
    assert product is not None
    assert product.multiplier[1] == 0 and product.addend[1] == 127 << product.shift
    assert product.apply(np.stack([low, high]))[:, 1].tolist() == [127, 127]


def test_large_biases_are_part_of_the_start() -> None:
    """Sums that scale * sum + 0 would take out of int32."""
    requant = Requant.from_scales([2.5e-7])
    low, high = np.array([99_000_000]), np.array([107_000_000])
    product = prove_high_product(requant, -128, INT8, low, high, scale=256)
    assert product is not None
    near = np.arange(int(low[0]), int(high[0]) + 1, 977)[:, None]
    assert_high_product(product, requant, -128, INT8, near)


def test_int16_is_not_for_this_form() -> None:
    assert prove_high_product(Requant.from_scales([0.1]), 0, (-32768, 32767), *limits(1), scale=1) is None


@pytest.mark.parametrize("field", ["start", "multiplier", "addend", "step"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_constant_is_not_proved(field: str, change: int) -> None:
    """Near enough to a bound that it matters: each constant is moved until the outputs differ, which has to show."""
    requant = Requant.from_scales([0.031, 0.044, 0.07])
    low, high = limits(3, -8000, 8000)
    stairs = Staircases.of(requant, 4, INT8, low, high)
    product = prove_high_product(requant, 4, INT8, low, high, scale=256)
    assert product is not None and product.step is not None
    assert product.holds(stairs).all()
    acc = all_of(low, high)
    expected = exactly(requant, 4, INT8, acc)
    noticed = 0
    for exponent in range(31):
        constant = getattr(product, field) + change * (1 << exponent)
        wrong = dataclasses.replace(product, **{field: constant})
        if not wrong.fits(low, high).all():
            continue
        same = (wrong.apply(acc) == expected).all(axis=0)
        assert np.array_equal(wrong.holds(stairs), same)
        noticed += int((~same).sum())
    assert noticed > 10


def test_registers_that_overflow_are_not_proved() -> None:
    requant = Requant.from_scales([0.01])
    low, high = limits(1, -40_000, 40_000)
    stairs = Staircases.of(requant, -128, INT8, low, high)
    product = prove_high_product(requant, -128, INT8, low, high, scale=256)
    assert product is not None and product.holds(stairs).all()
    wider = dataclasses.replace(stairs, low=low * 300, high=high * 300)
    assert not product.fits(wider.low, wider.high).any()


# --- pairs -----------------------------------------------------------------------------------------------------------


def sum_of(kind: type[Add | Sub], a: float, b: float, output: float, zero_points: tuple[int, int, int]) -> Add | Sub:
    """An operator of these scales, as the importer makes it."""
    widest = 2 * max(a, b)
    rescalings = (Requant.from_scales([scale]) for scale in (a / widest, b / widest, widest / (2**20 * output)))
    return kind(*zero_points, 20, *rescalings, INT8)  # type: ignore[call-arg]


ALL_PAIRS = tuple(np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-128, 128, dtype=np.int8)))
OPERAND = Tensor("x", (1, 4), np.dtype(np.int8))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([Add, Sub]),
    st.floats(0.002, 0.2),
    st.floats(0.002, 0.2),
    st.floats(0.01, 0.3),
    st.tuples(*[st.integers(-128, 127)] * 3),
)
def test_a_plane_is_the_same_for_all_pairs(
    kind: type[Add | Sub], a: float, b: float, output: float, zero_points: tuple[int, int, int]
) -> None:
    op = sum_of(kind, a, b, output, zero_points)
    plane = plane_of_pairs(op, OPERAND, OPERAND)
    if plane is None:
        return
    left, right = (values.astype(np.int64) for values in ALL_PAIRS)
    sums = left * plane.factors[0] + right * plane.factors[1] + plane.offset
    assert np.abs(sums).max() < 2**31
    expected = op.reference(*ALL_PAIRS)[0]
    assert np.array_equal(np.clip(sums >> plane.fraction_bits, plane.low, plane.high), expected)


@pytest.mark.parametrize("kind", [Add, Sub])
def test_ordinary_sums_are_planes(kind: type[Add | Sub]) -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(10):
        a, b, output = np.exp(rng.uniform(np.log(0.01), np.log(0.1), 3))
        op = sum_of(kind, float(a), float(b), float(output), tuple(rng.integers(-128, 128, 3).tolist()))
        found += plane_of_pairs(op, OPERAND, OPERAND) is not None
    assert found >= 8


# --- steps without biases --------------------------------------------------------------------------------------------


def test_a_step_without_bias_keeps_the_profile_where_nothing_is_proved() -> None:
    requant = Requant.from_scales([0.001])
    wide = finish_within(requant, 3, (-32768, 32767), np.dtype(np.int16), -30_000, 30_000)
    assert wide.finish.product is None and wide.proof == ""
    narrow = finish_within(requant, 3, INT8, np.dtype(np.int8), -30_000, 30_000)
    assert narrow.finish.product is not None and "sums from -30,000 to 30,000" in narrow.proof
    same = finish_within(Requant((1 << 30,), (1,)), 3, INT8, np.dtype(np.int8), -100, 100)
    assert same.finish.helper == ""


# --- float32 factors -------------------------------------------------------------------------------------------------

TIES = tuple(np.ldexp(mantissa, exponent) for mantissa in (1.0, 1.5, 0.75 + 2.0**-23) for exponent in (-2, -5, -9))
"""Factors for which products end in ties, or next to them."""


@pytest.mark.parametrize("added", [0, -128, 77])
@pytest.mark.parametrize("factor", [*TIES, 0.0123456789, 1 / 3])
def test_float_factors_round_to_even(factor: float, added: int) -> None:
    """By the definition, in exact rationals."""
    (stored,) = np.array([factor], np.float32).tolist()
    acc = np.concatenate([np.arange(-400, 400), np.arange(2**24 - 3, 2**24 + 9), np.arange(2**31 - 300, 2**31, 97)])

    def float32(exact: Fraction) -> Fraction:
        bits = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
        unit = Fraction(2) ** (bits - 23)  # of 24 bits or 25
        unit = unit * 2 if abs(exact) / unit >= 2**24 else unit
        unit = unit / 2 if 0 < abs(exact) / unit < 2**23 else unit
        return round(exact / unit) * unit

    expected = []
    for value in acc.tolist():
        product = float32(float32(Fraction(value)) * Fraction(stored))
        expected.append(round(float32(product + added)) - added)
    assert FloatRequant((stored,), added).apply(acc).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_integers_for_a_float_factor_give_the_same_results_for_every_accumulator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor = float(np.float32(np.exp(rng.uniform(np.log(1e-5), np.log(2.0)))))
    bound, reach = int(rng.integers(1, 300_000)), (255, 128)[seed % 2]
    requant = FloatRequant((factor,))
    found = integer_factor(requant, bound, reach)
    if found is None:
        return
    multiplier, shift = found
    acc = np.arange(-bound, bound + 1)
    integers = (acc * multiplier + (1 << (shift - 1)) - (acc < 0)) >> shift
    assert np.array_equal(np.clip(integers, -reach, reach), np.clip(requant.apply(acc), -reach, reach))


def test_most_float_factors_have_integers_and_ties_have_none() -> None:
    rng = np.random.default_rng(0)
    factors = np.exp(rng.uniform(np.log(1e-5), np.log(0.1), 100)).astype(np.float32).tolist()
    assert sum(integer_factor(FloatRequant((factor,)), 100_000, 255) is not None for factor in factors) > 95
    assert integer_factor(FloatRequant((0.125,)), 1000, 255) is None
