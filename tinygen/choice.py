"""Which of the kernels that could compute the nodes do: the best for the objective, within the budgets.

What is weighed is the whole model's time and flash, where functions that layers share count once. RAM is a limit: what
may be chosen from is narrowed first.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tinygen.goal import Goal
from tinygen.select import Candidate, Step, time_of

Needs = Callable[[int, Candidate], int]
"""Bytes of RAM that are needed while the step of this index runs with this kernel."""


_WEIGHT_OF_FLASH = {"balanced": 0.7, "speed": 0.0, "size": 12.0, "ram": 0.7}
"""What a hundredth less flash is worth, in hundredths of time."""


def choose(steps: Sequence[Step], goal: Goal) -> tuple[Step, ...]:
    """Of the fastest kernels, and those beside them, the best for the objective, within the budget of flash."""
    best = _weighed(steps, _WEIGHT_OF_FLASH[goal.objective])
    return tuple(_within_flash(best, goal.flash_budget))


def weighed(steps: Sequence[Step], goal: Goal) -> float:
    """What the objective has as little as possible of: time and flash."""
    return Tally.of(steps).product(_WEIGHT_OF_FLASH[goal.objective])


def flash_bytes(steps: Sequence[Step]) -> int:
    """Code and constants of all layers; what layers share counts once."""
    return Tally.of(steps).flash


def instructions(steps: Sequence[Step]) -> int:
    """Executed in one invocation, as far as they are known."""
    return sum(step.chosen.estimate.instructions or 0 for step in steps)


class Tally:
    """Time and flash of a choice of kernels, and what changes of it make of them."""

    def __init__(self, time: float, flash: int, uses: Counter[_Function]) -> None:
        self.time = time
        self.flash = flash
        self._uses = uses

    def product(self, weight: float) -> float:
        """The logarithm of time * flash ** weight."""
        return math.log(max(self.time, 1.0)) + weight * math.log(max(self.flash, 1))

    @staticmethod
    def of(steps: Sequence[Step]) -> Tally:
        """Of the chosen kernels."""
        return Tally(0.0, 0, Counter()).after([(None, step.chosen) for step in steps])

    def after(self, changes: Iterable[tuple[Candidate | None, Candidate]]) -> Tally:
        """With other candidates in the place of some."""
        time, flash, uses = self.time, self.flash, Counter(self._uses)
        for old, new in changes:
            if old is not None:
                uses[_function(old)] -= 1
                time -= _known(old.estimate.time)
                flash -= old.estimate.data + (old.estimate.code if uses[_function(old)] == 0 else 0)
            time += _known(new.estimate.time)
            flash += new.estimate.data + (new.estimate.code if uses[_function(new)] == 0 else 0)
            uses[_function(new)] += 1
        return Tally(time, flash, uses)


_Function = tuple[str, str | int]


def _function(candidate: Candidate) -> _Function:
    """What layers that share code have in common; code in C is each layer's own."""
    return candidate.kernel.name, candidate.text or id(candidate)


def _known(time: float) -> float:
    return time if time < float("inf") else 0.0


_Others = Mapping[int, Candidate]
_Change = tuple[Tally, _Others]


def _changes(steps: Sequence[Step], tally: Tally) -> Iterator[_Change]:
    """All ways to take other kernels that are weighed, and what would come of them."""
    for others in (*_single(steps), *_together(steps), *_sharable(steps)):
        yield tally.after((steps[index].chosen, other) for index, other in others.items()), others


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


def _changed(steps: Sequence[Step], others: _Others) -> list[Step]:
    return [step.with_kernel(others[index]) if index in others else step for index, step in enumerate(steps)]


def _weighed(steps: Sequence[Step], weight: float) -> list[Step]:
    """From the fastest kernels on: the change that lowers the product most, until none does."""
    current = list(steps)
    while weight:
        tally = Tally.of(current)
        best = min(_changes(current, tally), key=lambda change: change[0].product(weight), default=None)
        if best is None or best[0].product(weight) >= tally.product(weight) - 1e-9:
            break
        current = _changed(current, best[1])
    return current


def _within_flash(steps: Sequence[Step], budget: int | None) -> list[Step]:
    """While flash is over the budget: the change that saves a byte for the least time."""
    current = list(steps)
    while budget is not None and (tally := Tally.of(current)).flash > budget:
        saving = [change for change in _changes(current, tally) if change[0].flash < tally.flash]
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
