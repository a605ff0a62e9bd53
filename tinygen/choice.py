"""Which of the kernels that could compute the nodes do: the best for the objective, within the budgets.

What is weighed is the whole model's: time is a sum, so is flash, but for functions that layers share, and RAM is what
the step needs that needs most.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tinygen.goal import Goal
from tinygen.select import Candidate, Step, time_of

Needs = Callable[[int, Candidate], int]
"""Bytes of RAM that are needed while the step of this index runs with this kernel."""


class Weights(NamedTuple):
    """What a hundredth less flash, or RAM, is worth, in hundredths of time."""

    flash: float
    ram: float


WEIGHTS = {
    "balanced": Weights(flash=0.7, ram=0.1),
    "speed": Weights(flash=0.0, ram=0.0),
    "size": Weights(flash=12.0, ram=0.1),
    "ram": Weights(flash=0.7, ram=12.0),
}
"""For each objective."""


def choose(steps: Sequence[Step], goal: Goal, needs: Needs = lambda index, candidate: 0) -> tuple[Step, ...]:
    """Of the fastest kernels, and those beside them, the best for the objective, within the budget of flash."""
    weighed = _weighed(steps, WEIGHTS[goal.objective], needs)
    return tuple(_within_flash(weighed, goal.flash_budget, needs))


def flash_bytes(steps: Sequence[Step]) -> int:
    """Code and constants of all layers; what layers share counts once."""
    return Tally.of(steps).flash


class Tally:
    """Time, flash and RAM of a choice of kernels, and what changes of it make of them."""

    def __init__(self, time: float, flash: int, ram: Mapping[int, int], uses: Counter[_Function]) -> None:
        self.time = time
        self.flash = flash
        self._needed = ram
        self._uses = uses

    @property
    def ram(self) -> int:
        """Bytes that the step needs that needs most."""
        return max(self._needed.values(), default=0)

    def product(self, weights: Weights) -> float:
        """The logarithm of time * flash ** weight * ram ** weight."""
        flash, ram = math.log(max(self.flash, 1)), math.log(max(self.ram, 1))
        return math.log(max(self.time, 1.0)) + weights.flash * flash + weights.ram * ram

    @staticmethod
    def of(steps: Sequence[Step], needs: Needs = lambda index, candidate: 0) -> Tally:
        """Of the chosen kernels."""
        return Tally(0.0, 0, {}, Counter()).after({i: (None, step.chosen) for i, step in enumerate(steps)}, needs)

    def after(self, changes: Mapping[int, tuple[Candidate | None, Candidate]], needs: Needs) -> Tally:
        """With other candidates in the place of some."""
        time, flash, ram, uses = self.time, self.flash, dict(self._needed), Counter(self._uses)
        for index, (old, new) in changes.items():
            if old is not None:
                uses[_function(old)] -= 1
                time -= _known(old.estimate.time)
                flash -= old.estimate.data + (old.estimate.code if uses[_function(old)] == 0 else 0)
            time += _known(new.estimate.time)
            flash += new.estimate.data + (new.estimate.code if uses[_function(new)] == 0 else 0)
            uses[_function(new)] += 1
            ram[index] = needs(index, new)
        return Tally(time, flash, ram, uses)


_Function = tuple[str, str | int]


def _function(candidate: Candidate) -> _Function:
    """What layers that share code have in common; code in C is each layer's own."""
    return candidate.kernel.name, candidate.text or id(candidate)


def _known(time: float) -> float:
    return time if time < float("inf") else 0.0


_Others = Mapping[int, Candidate]
_Change = tuple[Tally, _Others]


def _changes(steps: Sequence[Step], tally: Tally, needs: Needs) -> Iterator[_Change]:
    """All ways to take other kernels that are weighed, and what would come of them."""
    for others in (*_single(steps), *_together(steps), *_sharable(steps), *_smaller(steps, tally, needs)):
        yield tally.after({index: (steps[index].chosen, other) for index, other in others.items()}, needs), others


def _is_known(candidate: Candidate) -> bool:
    return candidate.estimate.time < float("inf")


def _single(steps: Sequence[Step]) -> Iterator[_Others]:
    """Another kernel in one step."""
    for index, step in enumerate(steps):
        for other in step.rejected:
            if _is_known(other):
                yield {index: other}


def _together(steps: Sequence[Step]) -> Iterator[_Others]:
    """Another kernel in all steps that share a function."""
    sharing: dict[_Function, list[int]] = {}
    for index, step in enumerate(steps):
        sharing.setdefault(_function(step.chosen), []).append(index)
    for group in sharing.values():
        if len(group) > 1:
            for kernel in {other.kernel.name: None for other in steps[group[0]].rejected}:
                others = {index: other for index in group if (other := steps[index].alternative(kernel)) is not None}
                if all(_is_known(other) for other in others.values()):
                    yield others


def _sharable(steps: Sequence[Step]) -> Iterator[_Others]:
    """For each function in assembly, those steps that could share it and lose the least time by it."""
    users: dict[_Function, list[tuple[int, Candidate]]] = {}
    for index, step in enumerate(steps):
        for other in step.rejected:
            if other.text and _is_known(other):
                users.setdefault(_function(other), []).append((index, other))
    for those in users.values():
        those.sort(key=lambda user: user[1].estimate.time - _known(steps[user[0]].chosen.estimate.time))
        for count in range(2, len(those) + 1):
            yield dict(those[:count])


def _smaller(steps: Sequence[Step], tally: Tally, needs: Needs) -> Iterator[_Others]:
    """For each amount of RAM that could be the peak: the fastest kernels that need no more where others do."""
    options = [[(needs(i, each), each) for each in (step.chosen, *step.rejected)] for i, step in enumerate(steps)]
    floor = max((min(need for need, _ in each) for each in options), default=0)
    for limit in sorted({need for each in options for need, _ in each if floor <= need < tally.ram}):
        others = {}
        for index, each in enumerate(options):
            if each[0][0] > limit:
                others[index] = min((other for need, other in each if need <= limit), key=time_of)
        yield others


def _changed(steps: Sequence[Step], others: _Others) -> list[Step]:
    return [step.with_kernel(others[index]) if index in others else step for index, step in enumerate(steps)]


def _weighed(steps: Sequence[Step], weights: Weights, needs: Needs) -> list[Step]:
    """From the fastest kernels on: the change that lowers the product most, until none does."""
    current = list(steps)
    while any(weights):
        tally = Tally.of(current, needs)
        changes = _changes(current, tally, needs)
        best = min(changes, key=lambda change: change[0].product(weights), default=None)
        if best is None or best[0].product(weights) >= tally.product(weights) - 1e-9:
            break
        current = _changed(current, best[1])
    return current


def _within_flash(steps: Sequence[Step], budget: int | None, needs: Needs) -> list[Step]:
    """While flash is over the budget: the change that saves a byte for the least time."""
    current = list(steps)
    while budget is not None and (tally := Tally.of(current, needs)).flash > budget:
        saving = [change for change in _changes(current, tally, needs) if change[0].flash < tally.flash]
        if not saving:
            break
        cheapest = min(saving, key=lambda change: (change[0].time - tally.time) / (tally.flash - change[0].flash))
        current = _changed(current, cheapest[1])
    return current


def within_ram(steps: Sequence[Step], limit: int, needs: Needs) -> tuple[Step, ...]:
    """All nodes with those kernels that need no more than the limit; where none does, with those that need least."""
    narrowed = []
    for index, step in enumerate(steps):
        needed = [(needs(index, each), each) for each in (step.chosen, *step.rejected)]
        bound = max(limit, min(need for need, _ in needed))
        first, *others = sorted((each for need, each in needed if need <= bound), key=time_of)
        narrowed.append(dataclasses.replace(step, chosen=first, rejected=tuple(others)))
    return tuple(narrowed)
