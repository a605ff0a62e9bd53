"""Four filters in groups of their own: the stream, followed as the instructions do, gives each filter's own sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from drawn_layers import weights_and_bounds
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.kernels.armv6m import finishing
from tinygen.kernels.armv6m.fours import REACH, Four, fours
from tinygen.proofs.short_product import prove_short_product
from tinygen.rescaling import Requant


class Layer(NamedTuple):
    """Weights (filters, values), and what each value lies in."""

    weights: IntArray
    bounds: Interval


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Of some filters and values."""
    return Layer(*weights_and_bounds(draw, 70, 40))


@settings(max_examples=60)
@given(layers())
def test_every_value_is_in_one_group_in_which_sums_take_16_bits(layer: Layer) -> None:
    weights, bounds = layer
    found = fours(weights.astype(np.int8), bounds)
    assert sorted(name for four in found for name in four.filters) == list(range(len(weights)))
    places = [min(four.filters) // REACH for four in found]
    assert places == sorted(places) == [max(four.filters) // REACH for four in found]
    for four in found:
        assert sorted(value for group in four.groups for value in group) == list(range(weights.shape[1]))
        for group in map(list, four.groups):
            spans = np.abs(weights[np.ix_(four.filters, group)]) @ (bounds.high - bounds.low)[group]
            assert spans.max() < 1 << 16


def signed(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def followed(four: Four, words: Iterator[int], x: IntArray) -> tuple[int, ...]:
    """The sums of four filters, and what K add to them, with registers of 32 bits."""
    total, upper = [0, 0], [0, 0]
    for group in four.groups:
        sums = [0, 0]
        for chunk in four.chunks(group):
            if chunk.is_first:
                sums = [next(words), next(words)]
            for value in chunk.values:
                sums = [signed(each + int(x[value]) * next(words)) for each in sums]
        total = [signed(t + s) for t, s in zip(total, sums, strict=True)]
        upper = [h + (s >> 16) for h, s in zip(upper, sums, strict=True)]
        if len(four.groups) == 1:
            assert [signed(t - (h << 16)) for t, h in zip(total, upper, strict=True)] == [s & 0xFFFF for s in sums]
    return tuple(half for t, h in zip(total, upper, strict=True) for half in (signed(t - (h << 16)), h))


@settings(max_examples=60)
@given(layers(), st.sampled_from(["random", "least", "most", "worst", "best"]))
def test_the_stream_gives_every_filters_sum(layer: Layer, kind: str) -> None:
    weights, (low, high) = layer.weights, (layer.bounds.low, layer.bounds.high)
    x = {
        "random": np.random.default_rng(3).integers(low, high + 1),
        "least": low,
        "most": high,
        "worst": np.where(weights[0] > 0, high, low),
        "best": np.where(weights[0] > 0, low, high),
    }[kind]
    reach = 128 * np.abs(weights).sum(axis=1) + 1
    form = prove_short_product(Requant.from_scales([0.01] * len(weights)), -128, (-128, 127), -reach, reach)
    assert form is not None
    bias = np.arange(len(weights))
    constants = finishing.constants(form, bias)
    for four in fours(weights.astype(np.int8), layer.bounds):
        words = iter(np.concatenate(four.stream(weights, layer.bounds, form, bias)).tolist())
        sums = followed(four, words, x)
        for filter, found in zip(four.filters, sums[: len(four.filters)], strict=True):
            origin, *others = (next(words) for _ in range(constants.shape[1]))
            assert signed(found + origin) == int(weights[filter] @ x) + int(form.origin[filter] + bias[filter])
            assert others == constants[filter, 1:].tolist()
        assert next(words, None) is None
