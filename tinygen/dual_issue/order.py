"""The order of instructions between two branches: what must stay before what, and an order that takes fewer cycles."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.dual_issue.effects import LANES, Effects
from tinygen.dual_issue.pipeline import Pipeline


def predecessors(listed: Sequence[Effects]) -> list[dict[int, bool]]:
    """For each instruction those that must come before it, and whether it waits for their results.

    What one reads, the last that writes it comes before, and the next that writes it behind; loads change places with
    each other, and stores with nothing that accesses memory: no two addresses are taken to differ.
    """
    found: list[dict[int, bool]] = [{} for _ in listed]
    writer: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    store: int | None = None
    loads: list[int] = []
    for index, each in enumerate(listed):
        before = found[index]
        for name in each.writes:
            before.update(dict.fromkeys(readers.get(name, ()), False))
            if name in writer:
                before[writer[name]] = False
        if each.is_load or each.is_store:
            if store is not None:
                before[store] = False
            if each.is_store:
                before.update(dict.fromkeys(loads, False))
                store, loads = index, []
            else:
                loads.append(index)
        for name in each.reads:
            if name in writer:
                before[writer[name]] = True
            readers.setdefault(name, []).append(index)
        for name in each.writes:
            writer[name], readers[name] = index, []
        before.pop(index, None)
    return found


def cycles(listed: Sequence[Effects]) -> float:
    """Modelled, one after the other."""
    pipeline = Pipeline()
    for each in listed:
        pipeline.issue(each)
    return pipeline.end


def arranged(listed: Sequence[Effects]) -> list[int]:
    """The indices of the instructions in an order in which each can be issued when it comes, as far as one is found.

    Of those that could be issued soonest: first what has one place only, then what most has to wait for.
    """
    before = predecessors(listed)
    waiting = [len(each) for each in before]
    behind: list[list[int]] = [[] for _ in listed]
    for index, each in enumerate(before):
        for other in each:
            behind[other].append(index)
    length = _lengths(listed, before, behind)
    free = [index for index, count in enumerate(waiting) if not count]
    pipeline, found = Pipeline(), []
    while free:
        best = min(free, key=lambda i: (pipeline.when(listed[i]), listed[i].kind != LANES, -length[i], i))
        free.remove(best)
        pipeline.issue(listed[best])
        found.append(best)
        for index in behind[best]:
            waiting[index] -= 1
            if not waiting[index]:
                free.append(index)
    return found


def _lengths(listed: Sequence[Effects], before: list[dict[int, bool]], behind: list[list[int]]) -> list[float]:
    """For each instruction the cycles that results take to the last that waits for them."""
    length = [0.0] * len(listed)
    for index in reversed(range(len(listed))):
        own = listed[index].latency + listed[index].is_load
        length[index] = max(
            (length[other] + (own if before[other][index] else 0) for other in behind[index]), default=0.0
        )
    return length
