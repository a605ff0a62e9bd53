"""Sums of products with halfwords: what is found equals the profile for every input, and is what SMLAWB computes."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_builder import build_case

from tinygen import pipeline
from tinygen.ops.add import Add, Sub
from tinygen.ops.operand_cases import operand_case, random_operand_case
from tinygen.proofs.word_products import FRACTION_BITS, WordProducts, prove_word_products

VALUES = np.arange(-128, 128)
PAIRS = np.stack([values.reshape(-1) for values in np.meshgrid(VALUES, VALUES)])


def operator(**scales: float) -> Add | Sub:
    case = operand_case("ADD", "pair", (4,), (4,), zero_points=(3, -7, 0), **scales)  # type: ignore[arg-type]
    found = pipeline.decode(build_case(case), "add.tflite").graph.nodes[0].op
    assert isinstance(found, Add)
    return found


def outputs(op: Add | Sub) -> np.ndarray:
    (y,) = op.reference(*PAIRS.astype(np.int8))
    return y.astype(np.int64)


def proved(op: Add | Sub, expected: np.ndarray) -> WordProducts | None:
    def factor(multiplier: tuple[int, ...], shift: tuple[int, ...]) -> float:
        return multiplier[0] * 2.0 ** (shift[0] - 31)

    common = 2.0**op.left_shift * factor(op.requant.multiplier, op.requant.shift)
    a = common * factor(op.a_requant.multiplier, op.a_requant.shift)
    b = common * factor(op.b_requant.multiplier, op.b_requant.shift)
    return prove_word_products(expected, PAIRS, op.clamp, (a, -b if isinstance(op, Sub) else b), shift=8)


# Equal scales and halves: many sums lie half-way between two outputs, and are rounded away from zero.
TIES = ((0.01, 0.01, 0.02), (0.01, 0.02, 0.02), (0.04, 0.01, 0.04), (0.01, 0.01, 0.08))


@pytest.mark.parametrize("scales", TIES)
def test_ties_go_the_way_of_the_profile(scales: tuple[float, float, float]) -> None:
    op = operator(a_scale=scales[0], b_scale=scales[1], output_scale=scales[2])
    found = proved(op, outputs(op))
    assert found is not None
    assert np.array_equal(found.apply(*PAIRS), outputs(op))


def test_most_random_sums_are_proved_and_all_that_are_proved_are_equal() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for index in range(20):
        case = random_operand_case(rng, ("ADD", "SUB")[index % 2])
        op = pipeline.decode(build_case(case), "add.tflite").graph.nodes[0].op
        result = proved(op, outputs(op))
        if result is not None:
            found += 1
            assert np.array_equal(result.apply(*PAIRS), outputs(op)), case
    assert found >= 18


def test_a_single_different_output_is_noticed() -> None:
    op = operator()
    expected = outputs(op)
    middle = int(np.flatnonzero((expected > -100) & (expected < 100))[1234])
    expected[middle] += 2
    assert proved(op, expected) is None


def test_apply_is_what_the_instructions_compute() -> None:
    op = operator()
    found = proved(op, outputs(op))
    assert found is not None

    def smlawb(word: int, halfword: int, addend: int) -> int:
        return (addend + (word * halfword >> 16) + 2**31) % 2**32 - 2**31

    for a, b in PAIRS.T[::997].tolist():
        total = smlawb(found.factors[1], 256 * b, smlawb(found.factors[0], 256 * a, found.offset))
        assert min(max(total >> FRACTION_BITS, found.low), found.high) == found.apply(np.array(a), np.array(b))


def test_gains_beyond_a_word_are_refused() -> None:
    op = operator()
    assert prove_word_products(outputs(op), PAIRS, op.clamp, (200.0, 0.5), shift=8) is None
    assert prove_word_products(outputs(op), PAIRS, op.clamp, (0.5, 0.0), shift=8) is None
