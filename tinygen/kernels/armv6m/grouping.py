"""How values of a row are grouped, so that two filters' products fit into the halves of a word.

Of a group, every filter's sum of products lies within int16, whatever the values, so that a word of two such sums can
be taken apart. With any int8 values, these are weights whose magnitudes come to 255, about; to more where values are
proved to lie closer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.ir import Array

_LARGEST_SUM = (1 << 15) - 1
_FULL = 4
"""More largest sums than what comes to a group that is full could take off again."""
NONE = -1
"""In an order: no value, which has weights of zero."""


@dataclass(frozen=True)
class Groups:
    """An order of values, cut into groups: those of a turn of the loop, and how often it turns."""

    order: tuple[int, ...]
    """Which value comes when, of the row, or NONE."""
    sizes: tuple[int, ...]
    turns: int

    @property
    def slots(self) -> int:
        """Values in all, with those that are none."""
        return len(self.order)

    @property
    def count(self) -> int:
        """Groups in all."""
        return self.turns * len(self.sizes)

    def weights(self, weights: Array) -> IntArray:
        """(filters, values) in the order: (filters, slots)."""
        padded = np.hstack([weights.astype(np.int64), np.zeros((len(weights), 1), np.int64)])
        return np.asarray(padded[:, list(self.order)])


def of_any_size(weights: Array, bounds: Interval, most: int | None = None) -> Groups:
    """As few groups as greedy searches find, all of them in one turn; weights are (filters, values).

    `bounds` of each value; `most`: values of a group.
    """
    reaches = _reaches(weights, bounds)
    groups = min((packed(reaches, order, _LARGEST_SUM, most) for order in orders(reaches)), key=len)
    return Groups(tuple(value for group in groups for value in group), tuple(map(len, groups)), 1)


def orders(measures: IntArray) -> list[list[int]]:
    """In which values of measures (values, n) leave few gaps."""
    return [_heaviest_first(each) for each in (measures.sum(axis=1), measures.max(axis=1))]


def packed(measures: IntArray, order: Iterable[int], limit: int, most: int | None = None) -> list[list[int]]:
    """Groups of whose measures (values, n) none comes to more than the limit, and of `most` values at most.

    Each value, in this order, is in the fullest group that had room for it.
    """
    groups: list[list[int]] = []
    sums = np.zeros((0, measures.shape[1]), np.int64)
    for value in order:
        filled = sums + measures[value]
        room = np.flatnonzero(filled.max(axis=1) <= limit)
        if room.size:
            chosen = int(room[filled[room].sum(axis=1).argmax()])
            groups[chosen].append(value)
            sums[chosen] = filled[chosen]
        else:
            chosen = len(groups)
            groups.append([value])
            sums = np.vstack([sums, measures[value]])
        if len(groups[chosen]) == most:
            sums[chosen] = _FULL * limit
    return groups


def of_one_size(weights: Array, bounds: Interval, most: Callable[[int], int]) -> Groups:
    """Groups of the same size, the largest that a greedy search finds; `most` tells how many a turn has, or zero."""
    reaches = _reaches(weights, bounds)
    values = len(reaches)
    heaviest = int(reaches.sum(axis=0).max(initial=1))
    size = max(min(values, _LARGEST_SUM * values // max(heaviest, 1)), 1)
    while not most(size) or (groups := _filled(reaches, size)) is None:
        size -= 1
    turns = -(-len(groups) // most(size))
    together = -(-len(groups) // turns)
    groups += [[]] * (turns * together - len(groups))
    order = tuple(value for group in groups for value in (*group, *[NONE] * (size - len(group))))
    return Groups(order, (size,) * together, turns)


def _filled(reaches: IntArray, size: int) -> list[list[int]] | None:
    """As few groups of a size as hold all values, or None where this does not find them."""
    groups: list[list[int]] = [[] for _ in range(-(-len(reaches) // size))]
    sums = np.zeros((len(groups), reaches.shape[1]), np.int64)
    full = np.zeros(len(groups), np.int64)
    for value in _heaviest_first(reaches.max(axis=1)):
        filled = (sums + reaches[value]).max(axis=1) + full
        best = int(filled.argmin())
        if filled[best] > _LARGEST_SUM:
            return None
        groups[best].append(value)
        sums[best] += reaches[value]
        if len(groups[best]) == size:
            full[best] = _FULL * _LARGEST_SUM
    return groups


def _reaches(weights: Array, bounds: Interval) -> IntArray:
    """(values, 2 * filters): how far each product can take a filter's sum up, and down; below zero where it cannot."""
    ends = np.stack([weights.astype(np.int64) * end for end in (bounds.low, bounds.high)])
    return np.concatenate([ends.max(axis=0), -ends.min(axis=0)]).T


def _heaviest_first(weights: IntArray) -> list[int]:
    return [int(value) for value in np.argsort(-weights, kind="stable")]
