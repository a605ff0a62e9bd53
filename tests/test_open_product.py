"""Lines that say of themselves whether their results are sure: none that is not is missed, and few are open."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygen.proofs.open_product import open_product
from tinygen.rescaling import OpenLine

RANGE = 3000


@st.composite
def lines(draw: st.DrawFn) -> tuple[OpenLine, int, tuple[int, int]]:
    """Of a few channels; their zero point and clamp."""
    channels = range(draw(st.integers(1, 4)))
    factors = tuple(math.exp(draw(st.floats(math.log(1e-4), math.log(0.2)))) for _ in channels)
    offsets = tuple(draw(st.floats(-300, 300)) for _ in channels)
    errors = tuple(draw(st.floats(0, 0.2)) for _ in channels)
    zero_point = draw(st.integers(-128, 127))
    low = draw(st.integers(-128, 126))
    return OpenLine(factors, offsets, errors), zero_point, (low, draw(st.integers(low + 1, 127)))


@given(lines(), st.sampled_from([256, (1, 7, 64)]))
def test_what_is_not_sure_is_open(layer: tuple[OpenLine, int, tuple[int, int]], scale: int | tuple[int, ...]) -> None:
    line, zero_point, clamp = layer
    low, high = np.full(line.channels, -RANGE), np.full(line.channels, RANGE)
    found = open_product(line, zero_point, clamp, low, high, scale=scale)
    if found is None:
        return
    acc = np.arange(-RANGE, RANGE + 1)[:, None]
    steps = acc * np.array(line.factors) + np.array(line.offsets) + zero_point + 0.5
    ends = [np.clip(np.floor(steps + sign * np.array(line.errors)).astype(int), *clamp) for sign in (-1, 1)]
    sure = ~found.is_open(acc)
    for end in ends:
        assert (found.apply(acc) == end)[sure].all()
    # An open result may be one more, and nothing else.
    for end in ends:
        assert np.isin(end - found.apply(acc), (0, 1)).all()
    distances = np.abs(steps - np.rint(steps))
    assert (distances <= np.array(line.errors) + 6 * 2.0**-found.shift)[~sure].all()


def test_integers_that_are_too_coarse_are_refused() -> None:
    low, high = np.array([-5]), np.array([5])
    line = OpenLine((100.0,), (0.0,), (0.01,))
    assert open_product(line, 0, (-128, 127), low, high, scale=1) is None
    assert open_product(OpenLine((0.01,), (0.0,), (0.6,)), 0, (-128, 127), low, high, scale=256) is None
