"""The choices that move the least, from the nodes as they are on: each step is less work than the one before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tinygen.arranging.choices import Choice, Choices, Key, Situation
from tinygen.arranging.cut import FIRST, SECOND, Cut, Vertex
from tinygen.arranging.movement import NOTHING, Moved
from tinygen.ir import Node

Gifts = frozenset[tuple[str, Key, Key]]
"""Roots, with the order that they are in and one that they are also read in, for which nothing has to be moved."""


def arranged(situation: Situation, gifts: Gifts) -> Choices:
    """The choice of every node.

    Wherever a root is read in another order than its own, all around is tried in the one and in the other, as far as
    operators can; of these nodes, as many take part as a minimum cut says. That is repeated as long as it saves work,
    of which there is a whole number, and moves no more bytes than at first.
    """
    choices: Choices = {node: situation.as_it_is(node) for node in situation.nodes}
    least = at_first = _all_moved(situation, choices, gifts)
    before = None
    while before != least:
        before = least
        for root in situation.readers:
            keys = _keys(situation, choices, root)
            for key in sorted(keys) if len(keys) > 1 else ():
                found = _improved(situation, choices, gifts, situation.around(root, situation.order(key)))
                cost = _all_moved(situation, found, gifts)
                if cost.work < least.work and cost.bytes <= at_first.bytes:
                    choices, least = found, cost
    return choices


def _stored(situation: Situation, choices: Choices, root: str) -> Key:
    """The order that a root is in."""
    writer = situation.writers.get(root)
    return (choices[writer].writes if writer is not None else None) or situation.plain[root]


def _copied(situation: Situation, gifts: Gifts, root: str, own: Key, wanted: Key) -> Moved:
    return NOTHING if (root, own, wanted) in gifts else situation.copied(root, own, wanted)


def _all_moved(situation: Situation, choices: Choices, gifts: Gifts) -> Moved:
    """What copies move, one for each order in which a root is read beside its own, and what operators do."""
    total = NOTHING
    for choice in choices.values():
        total = total.plus(choice.moves)
    for root, key in situation.fixed.union(*(choice.reads for choice in choices.values())):
        total = total.plus(_copied(situation, gifts, root, _stored(situation, choices, root), key))
    return total


def _keys(situation: Situation, choices: Choices, root: str) -> set[Key]:
    """The order that a root is in, and all others in which it is read."""
    fixed = {key for name, key in situation.fixed if name == root}
    return {_stored(situation, choices, root), *fixed, *_readers(situation, choices, root)}


def _readers(situation: Situation, choices: Choices, root: str) -> Mapping[Key, set[Node]]:
    """By the order in which they read a root."""
    found: dict[Key, set[Node]] = defaultdict(set)
    for node, _ in situation.readers[root]:
        for name, key in choices[node].reads:
            if name == root:
                found[key].add(node)
    return found


def _improved(situation: Situation, choices: Choices, gifts: Gifts, others: Mapping[Node, Choice]) -> Choices:
    """Some of the `others` in place of the choices: those that a minimum cut takes.

    What it counts is exact where roots have two orders, and else no less than what is moved.
    """
    cut = Cut()
    both = {**choices, **others}
    for node, other in others.items():
        cut.costs(FIRST, [node], other.moves.work)
        cut.costs_back(SECOND, [node], choices[node].moves.work)
    roots = {name for node in others for name, _ in choices[node].reads} | {node.outputs[0] for node in others}
    for root in roots:
        _add_copies(cut, situation, choices, both, gifts, root)
    seconds = cut.seconds()
    return {**choices, **{node: other for node, other in others.items() if node in seconds}}


def _add_copies(cut: Cut, situation: Situation, choices: Choices, others: Choices, gifts: Gifts, root: str) -> None:
    """What each order costs in which the root can be read, by choices or by others."""
    writer = situation.writers.get(root)
    owns = [_stored(situation, ways, root) for ways in (choices, others)]
    fixed = {key for name, key in situation.fixed if name == root}
    before, after = (_readers(situation, ways, root) for ways in (choices, others))
    for key in {*fixed, *before, *after}:
        costs = [_copied(situation, gifts, root, own, key).work for own in owns]
        always = before[key] & after[key]
        first: list[Vertex] = [*(before[key] - always), *([FIRST] if always or key in fixed else [])]
        second: list[Vertex] = [*(after[key] - always), *([SECOND] if always or key in fixed else [])]
        # Where writer and readers cost together only if they go the same way, the readers are taken to cost alone.
        cut.costs(writer if writer is not None and not costs[1] else FIRST, second, max(costs))
        cut.costs_back(writer if writer is not None and not costs[0] else SECOND, first, max(costs))
