"""Which of the kernels that could compute the nodes do: the best for the objective, within the budgets.

What is weighed is the whole model's time and flash, where functions that layers share count once. RAM is a limit: what
may be chosen from is narrowed first.
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


_WEIGHT_OF_FLASH = {"balanced": 0.7, "speed": 0.0, "size": 12.0, "ram": 0.7}
"""What a hundredth less flash is worth, in hundredths of time."""


def choose(steps: Sequence[Step], goal: Goal, regard: float = 1.0) -> tuple[Step, ...]:
    """Of the fastest kernels, and those beside them, the best for the objective, within the budget of flash.

    `regard`: for flash, as a part of what the objective has for it.
    """
    choice = Choice(steps)
    choice.weigh(regard * _WEIGHT_OF_FLASH[goal.objective])
    if goal.flash_budget is not None:
        choice.save(goal.flash_budget)
    return choice.steps


def weighed(steps: Sequence[Step], goal: Goal) -> float:
    """What the objective has as little as possible of: time and flash."""
    return Tally.of(steps).product(_WEIGHT_OF_FLASH[goal.objective])


def flash_bytes(steps: Sequence[Step]) -> int:
    """Code and constants of all layers; what layers share counts once."""
    return Tally.of(steps).flash


def instructions(steps: Sequence[Step]) -> int:
    """Executed in one invocation, as far as they are known."""
    return sum(step.chosen.estimate.instructions or 0 for step in steps)


class Tally(NamedTuple):
    """Of a choice of kernels the time, as far as it is known, and the bytes of flash."""

    time: float
    flash: int

    @staticmethod
    def of(steps: Sequence[Step]) -> Tally:
        """Of the chosen kernels; functions that they share count once."""
        chosen = [_Option.of(step.chosen) for step in steps]
        functions = {each.function: each.code for each in chosen}
        return Tally(sum(each.time for each in chosen), sum(each.data for each in chosen) + sum(functions.values()))

    def product(self, weight: float) -> float:
        """The logarithm of time * flash ** weight."""
        return math.log(max(self.time, 1.0)) + weight * math.log(max(self.flash, 1))


_Function = tuple[str, str | int]


class _Option(NamedTuple):
    """What is weighed of a candidate."""

    function: _Function
    """What layers that share code have in common, the kernel's name first; code in C is each layer's own."""
    code: int
    data: int
    time: float
    """Zero where it is not known."""
    is_known: bool

    @staticmethod
    def of(candidate: Candidate) -> _Option:
        estimate = candidate.estimate
        function = candidate.kernel.name, candidate.text or id(candidate)
        is_known = estimate.time < float("inf")
        return _Option(function, estimate.code, estimate.data, estimate.time if is_known else 0.0, is_known)


_User = tuple[int, int]
"""A step by its index, and one of its candidates by its number: 0 is the one chosen at first."""


class Change(NamedTuple):
    """Other kernels in some steps, and what all kernels come to with them."""

    tally: Tally
    others: tuple[_User, ...]


class Choice:
    """The kernels of all steps as they are chosen now, and the ways to choose others."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._given = steps
        self._options = [[_Option.of(each) for each in (step.chosen, *step.rejected)] for step in steps]
        self._order = [[*range(len(options))] for options in self._options]
        """The numbers of each step's candidates, that of the chosen one first."""
        self._uses = Counter(options[0].function for options in self._options)
        self._users = _users_in_assembly(steps, self._options)
        self.tally = Tally.of(steps)

    @property
    def steps(self) -> tuple[Step, ...]:
        """With the kernels that are chosen now."""
        return tuple(step.in_order(order) for step, order in zip(self._given, self._order, strict=True))

    def weigh(self, weight: float) -> None:
        """Make the change that lowers time * flash ** weight most, until none does."""
        while weight:
            best = min(self.changes(), key=lambda change: change.tally.product(weight), default=None)
            if best is None or best.tally.product(weight) >= self.tally.product(weight) - 1e-9:
                break
            self.make(best)

    def save(self, budget: int) -> None:
        """While flash is over the budget: make the change that saves a byte for the least time."""
        while (now := self.tally).flash > budget:
            saving = [change for change in self.changes() if change.tally.flash < now.flash]
            if not saving:
                break
            self.make(min(saving, key=lambda change: (change.tally.time - now.time) / (now.flash - change.tally.flash)))

    def make(self, change: Change) -> None:
        """Choose what the change has."""
        self.tally = change.tally
        for index, number in change.others:
            options, order = self._options[index], self._order[index]
            self._uses[options[order[0]].function] -= 1
            self._uses[options[number].function] += 1
            order.remove(number)
            order.insert(0, number)

    def changes(self) -> Iterator[Change]:
        """Those that are weighed, as far as they lower time or flash."""
        yield from self._single()
        for others in self._together():
            yield from self._growing(others, len(others))
        for others in self._sharable():
            yield from self._growing(others, 2)

    def _single(self) -> Iterator[Change]:
        """Another kernel in one step."""
        now, uses = self.tally, self._uses
        for index, (options, order) in enumerate(zip(self._options, self._order, strict=True)):
            last, code, data, time, _ = options[order[0]]
            is_alone = uses[last] == 1
            rest_time, rest_flash = now.time - time, now.flash - data - is_alone * code
            for number in order[1:]:
                function, code, data, time, is_known = options[number]
                is_there = uses[function] > (is_alone and function == last)
                after = rest_time + time, rest_flash + data + (0 if is_there else code)
                if is_known and (after[0] < now.time or after[1] < now.flash):
                    yield Change(Tally(*after), ((index, number),))

    def _growing(self, others: Sequence[_User], least: int) -> Iterator[Change]:
        """Other kernels in the first `least` of these steps, and in those and the next, and so on."""
        now_time, now_flash = time, flash = self.tally
        uses: dict[_Function, int] = {}
        for count, (index, number) in enumerate(others, 1):
            options = self._options[index]
            last, old_code, old_data, old_time, _ = options[self._order[index][0]]
            function, code, data, new_time, _ = options[number]
            time += new_time - old_time
            flash += data - old_data
            uses[last] = left = uses.get(last, self._uses[last]) - 1
            if left == 0:
                flash -= old_code
            uses[function] = users = uses.get(function, self._uses[function]) + 1
            if users == 1:
                flash += code
            if count >= least and (time < now_time or flash < now_flash):
                yield Change(Tally(time, flash), tuple(others[:count]))

    def _together(self) -> Iterator[list[_User]]:
        """Another kernel in all steps that share a function."""
        sharing: dict[_Function, list[int]] = {}
        for index, order in enumerate(self._order):
            sharing.setdefault(self._options[index][order[0]].function, []).append(index)
        for group in sharing.values():
            if len(group) > 1:
                of_kernel = [(index, self._by_kernel(index)) for index in group]
                for kernel in of_kernel[0][1]:
                    others = [(index, numbers[kernel]) for index, numbers in of_kernel if kernel in numbers]
                    if all(self._options[index][number].is_known for index, number in others):
                        yield others

    def _by_kernel(self, index: int) -> Mapping[str, int]:
        """Of a step's candidates that are not chosen, the first of each kernel."""
        found: dict[str, int] = {}
        for number in self._order[index][1:]:
            found.setdefault(self._options[index][number].function[0], number)
        return found

    def _sharable(self) -> Iterator[list[_User]]:
        """For each function in assembly, the steps that could share it, those first that lose the least time by it."""

        def lost(user: _User) -> float:
            index, number = user
            now: float = self._options[index][self._order[index][0]].time
            return self._options[index][number].time - now

        for users in self._users:
            yield sorted((user for user in users if self._order[user[0]][0] != user[1]), key=lost)


def _users_in_assembly(steps: Sequence[Step], options: Sequence[Sequence[_Option]]) -> list[list[_User]]:
    """For each function in assembly that several candidates are, these."""
    users: dict[_Function, list[_User]] = {}
    for index, (step, those) in enumerate(zip(steps, options, strict=True)):
        for number, (candidate, option) in enumerate(zip((step.chosen, *step.rejected), those, strict=True)):
            if candidate.text and option.is_known:
                users.setdefault(option.function, []).append((index, number))
    return [those for those in users.values() if len(those) > 1]


def within_ram(steps: Sequence[Step], limit: int, needs: Needs) -> tuple[Step, ...]:
    """All nodes with those kernels that need no more than the limit; where none does, with those that need least."""
    narrowed = []
    for index, step in enumerate(steps):
        needed = [(needs(index, each), each) for each in (step.chosen, *step.rejected)]
        bound = max(limit, min(need for need, _ in needed))
        first, *others = sorted((each for need, each in needed if need <= bound), key=time_of)
        narrowed.append(dataclasses.replace(step, chosen=first, rejected=tuple(others)))
    return tuple(narrowed)
