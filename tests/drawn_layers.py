"""Layers as those who test packed weights draw them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval


def weights_and_bounds(draw: st.DrawFn, most_filters: int, most_values: int) -> tuple[IntArray, Interval]:
    """Weights (filters, values), some as large as they can be, and what each value lies in, some in little."""
    filters, values = draw(st.integers(1, most_filters)), draw(st.integers(1, most_values))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    spread = draw(st.sampled_from([1, 20, 128]))
    weights = np.clip(rng.integers(-spread, spread + 1, (filters, values)), -128, 127)
    weights[:, draw(st.integers(0, values - 1))] = draw(st.sampled_from([-128, 127, 0]))
    ends = np.sort(rng.integers(-128, 128, (2, values)), axis=0)
    whole = rng.random(values) < draw(st.sampled_from([0, 0.5, 1]))
    return weights, Interval(np.where(whole, -128, ends[0]), np.where(whole, 127, ends[1]))
