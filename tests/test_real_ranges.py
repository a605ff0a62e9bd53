"""Expressions in float32 lie in the ranges that are found for them, for all of their functions, ends and constants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinygen.interval import Interval
from tinygen.ir import Array, Tensor, read_only
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.float_expression import FUNCTIONS, FloatExpression, Step
from tinygen.ops.real_ranges import RealRange, applied

CHANNELS = 3
NUMBERS = (0.0, -0.0, 1.5, -3.0, 1e-39, float(np.finfo(np.float32).max))
ARITY = {name: 3 if name == "Where" else 1 if name in ("Abs", "Neg", "Sqrt") else 2 for name in FUNCTIONS}


def random_reals(rng: np.random.Generator) -> tuple[float, ...]:
    """Of an int8 input: dequantised, or a function that may have infinities and values that are no numbers."""
    steps = (np.arange(-128, 128) - rng.integers(-128, 128)).astype(np.float32)
    reals = steps * np.float32(np.exp(rng.uniform(-6, 2)))
    with np.errstate(all="ignore"):
        return tuple([reals, reals**2, 1 / reals, np.log(reals), np.rint(reals)][rng.integers(5)].tolist())


def random_expression(rng: np.random.Generator) -> tuple[FloatExpression, list[Tensor]]:
    """Two int8 inputs, a float32 constant, numbers, and up to five steps."""
    constant = rng.choice([-2.0, -0.5, 0.0, 0.25, 7.0], (2, rng.choice([1, CHANNELS]))).astype(np.float32)
    inputs = [
        Tensor("a", (2, CHANNELS), INT8),
        Tensor("b", (1,) if rng.random() < 0.3 else (2, CHANNELS), INT8),
        Tensor("c", constant.shape, FLOAT32, data=read_only(constant)),
    ]
    numbers = tuple(float(number) for number in rng.choice(NUMBERS, 2))
    steps: list[Step] = []
    for _ in range(int(rng.integers(1, 6))):
        name = str(rng.choice(list(FUNCTIONS)))
        steps.append(Step(name, tuple(int(at) for at in rng.integers(0, 5 + len(steps), ARITY[name]))))
    reals = (random_reals(rng), random_reals(rng), ())
    scale = float(np.exp(rng.uniform(-6, 2)))
    return FloatExpression(reals, numbers, tuple(steps), scale, int(rng.integers(-128, 128)), (-100, 110)), inputs


def random_interval(rng: np.random.Generator, x: Tensor, widest: int) -> Interval:
    low = rng.integers(-128, 128, x.shape[-1:])
    return Interval(low, np.minimum(low + rng.integers(0, widest, x.shape[-1:]), 127))


def filled(rng: np.random.Generator, x: Tensor, interval: Interval) -> Array:
    if x.data is not None:
        return x.data
    return rng.integers(interval.low, interval.high, x.shape, endpoint=True).astype(np.int8)


@pytest.mark.parametrize("widest", [1, 4, 30, 300])
def test_results_lie_in_their_intervals(widest: int) -> None:
    rng = np.random.default_rng(widest)
    narrow = 0
    for _ in range(80):
        op, inputs = random_expression(rng)
        given = [random_interval(rng, x, widest) for x in inputs[:2]]
        (found,) = op.intervals(inputs, given)
        assert found.low.shape == found.high.shape == op.output_types(inputs)[0].shape[-1:]
        narrow += bool(((found.low > op.clamp[0]) | (found.high < op.clamp[1])).any())
        for _ in range(10):
            (y,) = op.reference(*(filled(rng, x, each) for x, each in zip(inputs, (*given, given[0]), strict=True)))
            assert found.holds(y), op
    assert narrow > 8


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_on_ranges(name: str) -> None:
    """All values on a grid lie in what is found, and where it is known its ends are results."""
    grid = np.array([-3, -1.5, -0.75, 0, 0.5, 1, 2.5], np.float32)
    pairs = [(low, high) for low, high in itertools.combinations_with_replacement(range(len(grid)), 2)]
    rng = np.random.default_rng(len(name))
    known = 0
    for _ in range(200):
        ends = [pairs[at] for at in rng.integers(0, len(pairs), ARITY[name])]
        operands = [RealRange(np.asarray(grid[low]), np.asarray(grid[high])) for low, high in ends]
        found = applied(FUNCTIONS[name].compute, operands, is_truth=FUNCTIONS[name].c.endswith("1.0f : 0.0f"))
        values = np.meshgrid(*(grid[low : high + 1] for low, high in ends))
        with np.errstate(all="ignore"):
            results = np.asarray(FUNCTIONS[name].compute(*values), np.float32)
        if np.isfinite(found.low):
            assert found.low <= results.min() and results.max() <= found.high
            known += 1
            if "?" not in FUNCTIONS[name].c or name in ("Max", "Min"):
                assert (found.low, found.high) == (results.min(), results.max())
    assert known > 20


@pytest.mark.parametrize(
    ("name", "operands"), [("Div", [(1, 2), (-1, 1)]), ("Sqrt", [(-1, 4)]), ("Mul", [(1e38, 2e38), (1, 10)])]
)
def test_what_may_be_no_number_is_unknown(name: str, operands: list[tuple[float, float]]) -> None:
    ranges = [RealRange(*np.array(ends, np.float32)) for ends in operands]
    found = applied(FUNCTIONS[name].compute, ranges, is_truth=False)
    assert (found.low, found.high) == RealRange.unknown()
    for other in ("Max", "Min"):  # a bound of what is no number is none
        bounded = applied(FUNCTIONS[other].compute, [found, ranges[0]], is_truth=False)
        assert (bounded.low, bounded.high) == RealRange.unknown()


def test_inputs_of_float32_can_be_anything() -> None:
    op = FloatExpression(((),), (2.0,), (Step("Mul", (0, 1)),), 0.1, 3, (-5, 90))
    (found,) = op.intervals([Tensor("x", (1, 2), FLOAT32)], [])
    assert (found.low.tolist(), found.high.tolist()) == ([-5, -5], [90, 90])
