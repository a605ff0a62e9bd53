"""Cheaper formulas are the profile's own arithmetic, at every accumulator; and what is not, is not called so."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.fixedpoint import IntArray
from tinygen.ir import Tensor
from tinygen.ops.add import Add, Sub
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.proved_pairs import plane_of_pairs
from tinygen.proofs.high_product import HighProduct, prove_high_product
from tinygen.proofs.short_product import ShortProduct, prove_short_product
from tinygen.proofs.staircase import Staircases
from tinygen.rescaling import FloatRequant, RealRequant, Requant, Rescaling, Rounding, integer_factor

INT8 = (-128, 127)
RANGE = 3000
"""Every accumulator within it is looked at, so that scales have to be such that steps occur in it."""

AWKWARD = (2**30, 2**30 + 1, 2**31 - 1, 2**31 - 2, 3 << 29, (3 << 29) + 1, 0x55555555, 0x6AAAAAAB, 1518500250)
"""Multipliers at powers of two, next to them, and such that products end in ties."""


def exactly(requant: Rescaling, zero_point: int, clamp: tuple[int, int], acc: IntArray) -> IntArray:
    return np.asarray(np.clip(requant.apply(acc) + zero_point, *clamp))


def limits(channels: int, low: int = -RANGE, high: int = RANGE) -> tuple[IntArray, IntArray]:
    return np.full(channels, low), np.full(channels, high)


def all_of(low: IntArray, high: IntArray) -> IntArray:
    """(n, channels): every accumulator of every channel, the last repeated."""
    return np.minimum(low + np.arange(int((high - low).max()) + 1)[:, None], high)


def awkward(shift: int, rounding: Rounding = Rounding.DOUBLE) -> Requant:
    return Requant(AWKWARD, (shift,) * len(AWKWARD), rounding)


@st.composite
def requantisations(draw: st.DrawFn) -> tuple[Rescaling, int, tuple[int, int], IntArray, IntArray]:
    """Requantisation of a few channels, zero point, clamp, ranges: any that a layer of int8 could have."""
    channels = draw(st.integers(1, 5))
    scales = [math.exp(draw(st.floats(math.log(1e-4), math.log(3.0)))) for _ in range(channels)]
    rounding = draw(st.sampled_from(Rounding))
    zero_point = draw(st.integers(-128, 127))
    requant: Rescaling
    if rounding is Rounding.REAL:
        requant = RealRequant(tuple(scales))
    elif rounding is Rounding.FLOAT:
        factors = tuple(np.array(scales, np.float32).tolist())
        requant = FloatRequant(factors, draw(st.sampled_from([0, zero_point, zero_point + 128])))
    else:
        requant = Requant.from_scales(scales, rounding)
    clamp = draw(st.sampled_from([INT8, (zero_point, 127), (zero_point, min(127, zero_point + 60))]))
    middle = np.array([draw(st.integers(-2 * RANGE, 2 * RANGE)) for _ in range(channels)])
    width = np.array([draw(st.integers(0, RANGE)) for _ in range(channels)])
    return requant, zero_point, clamp, middle - width, middle + width


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


# --- short products --------------------------------------------------------------------------------------------------


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
