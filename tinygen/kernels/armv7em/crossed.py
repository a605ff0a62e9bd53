"""Dot products of a few filters with one row of activations in crossed words: which instruction comes when.

Of every four activations memory holds the word M that `packing` speaks of, and UXTB16 makes V of it; or both
words, V before M. Weights are words of each filter, group by group. Loads bring as many words as there are registers
free, whatever group they belong to, so that there are few of them.

Registers are those of `dot`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.kernels.armv7em.dot import ACTIVATIONS, REGISTERS, STREAM, Step, Sums

_MOST_LOADED = 6
"""Words of activations that one load is tried to bring."""


@dataclass(frozen=True)
class Crossed(Sums):
    """Sums of one lane."""

    both: bool
    """Whether both words of a group are in memory."""

    @staticmethod
    def of(filters: int, both: bool) -> Crossed:
        """For so many filters."""
        return Crossed(filters, 1, both)

    def products(self, groups: int, first: bool) -> list[Step]:
        """See `Sums`: the fewest steps of several ways to load activations."""
        ways = (_Way(self, groups, first, loaded) for loaded in range(2 if self.both else 1, _MOST_LOADED + 1))
        return min((way.steps for way in ways), key=len)


class _Way:
    """The steps where a load brings at most so many words of activations."""

    def __init__(self, sums: Crossed, groups: int, first: bool, loaded: int) -> None:
        self.steps: list[Step] = []
        self._filters = sums.filters
        self._begins = sums.starts if first else ()
        self._free = [f"r{index}" for index in range(sums.filters, REGISTERS)]
        self._activations: list[str] = []
        self._weights: list[str] = []
        """Loaded, and not used yet."""
        each = 2 if sums.both else 1
        for group in range(groups):
            if not self._activations:
                # One register is for V, or for a weight where none is there yet.
                kept = (0 if sums.both else 1) + (0 if self._weights else 1)
                most = min(loaded, len(self._free) - kept) // each * each
                self._load(ACTIVATIONS, self._activations, min(most, each * (groups - group)))
            low = self._activations.pop(0) if sums.both else self._low_bytes(self._activations[0])
            self._group(low, self._activations.pop(0), sums.filters * (groups - group))

    def _group(self, low: str, whole: str, left: int) -> None:
        """The products of a group with all filters; `left` weights have not been used."""
        index = 0
        while index < self._filters:
            if not self._weights:
                self._load(STREAM, self._weights, min(len(self._free), left - index))
            sums = [f"r{each}" for each in range(index, min(index + len(self._weights), self._filters))]
            these = [(target, self._weights.pop(0)) for target in sums]
            self.steps += [Step("cross", target, weights, low, target) for target, weights in these]
            self.steps += [Step("even", weights, weights) for _, weights in these]
            self.steps += [Step("cross", target, whole, weights, target) for target, weights in these]
            self._release(*(weights for _, weights in these))
            index += len(these)
        self._release(low, whole)

    def _load(self, source: str, kept: list[str], count: int) -> None:
        taken = self._free[:count]
        starts = self._begins if source == STREAM else ()
        self.steps.append(Step("load", source=source, registers=(*starts, *taken)))
        if starts:
            self._begins = ()
        kept += taken
        del self._free[:count]

    def _low_bytes(self, whole: str) -> str:
        low = self._free.pop()
        self.steps.append(Step("low", low, whole))
        return low

    def _release(self, *registers: str) -> None:
        self._free = sorted((*self._free, *registers), key=lambda name: int(name[1:]))
