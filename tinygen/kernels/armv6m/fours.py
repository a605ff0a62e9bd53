"""Four filters at a time, each four in groups of their own, whose products are all written out.

A word of weights is w0 + 65536 * w1, as in `pairs`. In a group, a filter's sums take 65536 values at most, for all
values that the input's channels can have (`Tensor.bounds`). With K = k0 + 65536 * k1, which moves the least sums of
both filters to 0 and to -32768, the halves of

    S = K + the sum of x * (w0 + 65536 * w1)

do not mix, and S >> 16 is the second filter's sum, and k1. Of all groups, H is the sum of S >> 16, and T that of S: the
sums are H and T - 65536 * H, and what all K add is taken off the bias. Where there is one group, they are S >> 16 and
the low half of S.

Filters whose weights are alike in sum are together, so that none fills a group long before the others; values are in
any order, as they are read one by one from where a window's are words. The stream, for each four filters:

    for each group
        K of the first two filters, and of the other two
        for each value, two words of weights
    the requantisation's constants of each filter (see `finishing`)

`templates/armv6m/packed_fours.S.j2` prints the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.ir import Array
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing, grouping
from tinygen.proofs.short_product import ShortProduct

TOGETHER = 4
"""Filters."""
REACH = 32
"""Filters whose results can be stored without moving the pointer."""
_OF_GROUP = 6
"""Instructions of its end."""
_VARIED = 20
"""Orders that are tried besides the usual ones."""
_LARGEST_SPAN = (1 << 16) - 1
"""Of a sum: from the least to the greatest."""


class Chunk(NamedTuple):
    """One or two values whose weights are loaded at once."""

    is_first: bool
    """Of a group: with K."""
    values: tuple[int, ...]


@dataclass(frozen=True)
class Four:
    """Four filters, or fewer, which have others of zero beside them."""

    filters: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    """The values of each."""

    def chunks(self, group: tuple[int, ...]) -> Iterator[Chunk]:
        """Of a group."""
        for first in range(0, len(group), 2):
            yield Chunk(first == 0, group[first : first + 2])

    def stream(self, weights: Array, bounds: Interval, form: ShortProduct, bias: IntArray) -> list[streams.Words]:
        """For weights (filters, values), bounds of each value, and what the sums of products lack, (filters,)."""
        taken = np.zeros((TOGETHER, weights.shape[1]), np.int64)
        taken[: len(self.filters)] = weights[list(self.filters)]
        offsets = np.zeros(TOGETHER, np.int64)
        words: list[IntArray] = []
        for group in self.groups:
            moved = _moved(taken, bounds, group)
            offsets += moved
            words += [_paired(moved), _paired(taken[:, list(group)]).T.reshape(-1)]
        lacking = bias.copy()
        lacking[list(self.filters)] -= offsets[: len(self.filters)]
        constants = finishing.constants(form, lacking)[list(self.filters)]
        return [*map(streams.words, words), constants.reshape(-1)]


def _paired(rows: IntArray) -> IntArray:
    """Of four filters' rows, the words of the first two, and of the others."""
    return np.asarray(rows[0::2] + (rows[1::2] << 16))


def _moved(weights: IntArray, bounds: Interval, group: tuple[int, ...]) -> IntArray:
    """(filters,): k0, which takes the least sum of a group to 0, or k1, which takes it to -32768."""
    values = list(group)
    least = np.minimum(weights[:, values] * bounds.low[values], weights[:, values] * bounds.high[values]).sum(axis=1)
    return np.asarray(np.tile([0, -(1 << 15)], TOGETHER // 2) - least)


def fours(weights: Array, bounds: Interval) -> tuple[Four, ...]:
    """All filters of weights (filters, values), in the order of where their results are, as far as stores reach."""
    spans = (np.abs(weights.astype(np.int64)) * (bounds.high - bounds.low)).T
    found: list[Four] = []
    for begin in range(0, len(weights), REACH):
        heavier = np.argsort(spans[:, begin : begin + REACH].sum(axis=0), kind="stable")
        for filters in _exchanged(spans, [begin + int(index) for index in heavier]):
            groups = _cheapest(spans[:, filters], _VARIED)
            found.append(Four(tuple(filters), tuple(map(tuple, groups))))
    return tuple(found)


def _exchanged(spans: IntArray, heavier: list[int]) -> list[list[int]]:
    """Filters four by four; where two that follow each other then take less, each has given the other one filter."""
    found = [heavier[first : first + TOGETHER] for first in range(0, len(heavier), TOGETHER)]
    costs = [_cost(_cheapest(spans[:, filters])) for filters in found]
    for one, other in pairwise(range(len(found))):
        for mine, yours in product(range(len(found[one])), range(len(found[other]))):
            changed = [*found[one]], [*found[other]]
            changed[0][mine], changed[1][yours] = changed[1][yours], changed[0][mine]
            tried = [_cost(_cheapest(spans[:, filters])) for filters in changed]
            if sum(tried) < costs[one] + costs[other]:
                (found[one], found[other]), (costs[one], costs[other]) = changed, tried
    return found


def _cheapest(spans: IntArray, varied: int = 0) -> list[list[int]]:
    """Groups of spans (values, filters), by the usual orders and so many others."""
    orders = [*grouping.orders(spans), *_varied_orders(spans, varied)]
    return min((grouping.packed(spans, order, _LARGEST_SPAN) for order in orders), key=_cost)


def _cost(groups: list[list[int]]) -> float:
    """Instructions of four filters that depend on their groups: a value that is alone in its chunk is half a load."""
    return sum(_OF_GROUP + len(group) % 2 / 2 for group in groups)


def _varied_orders(spans: IntArray, count: int) -> Iterator[list[int]]:
    """By the largest spans, more or less."""
    rng = np.random.default_rng(0)
    largest = spans.max(axis=1)
    for _ in range(count):
        yield np.argsort(-largest * rng.uniform(0.6, 1.4, len(largest)), kind="stable").tolist()
