"""Filters in the halves of a word: the stream, followed as the instructions do, gives each filter's own sum."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from operator import mul
from typing import NamedTuple

import numpy as np
import pytest
from drawn_layers import weights_and_bounds
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.kernels.armv6m import finishing, grouping, pairs
from tinygen.kernels.armv6m.expansion import Expansion
from tinygen.kernels.armv6m.finishing import Finish
from tinygen.kernels.armv6m.grouping import Groups
from tinygen.proofs.short_product import prove_short_product
from tinygen.rescaling import Requant


class Layer(NamedTuple):
    """Weights (filters, values), groups of them, and what each value lies in."""

    weights: IntArray
    groups: Groups
    bounds: Interval


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Of some filters and values, in groups of one size or of any."""
    weights, bounds = weights_and_bounds(draw, 13, 50)
    values = weights.shape[1]
    most = draw(st.sampled_from([None, 1, 8, 64]))
    if draw(st.booleans()):
        return Layer(weights, grouping.of_any_size(weights, bounds, most), bounds)
    return Layer(weights, grouping.of_one_size(weights, bounds, lambda size: (most or values) // size), bounds)


@given(layers())
def test_every_value_is_in_one_group_in_which_no_sum_leaves_int16(case: Layer) -> None:
    weights, groups, bounds = case
    assert sorted(value for value in groups.order if value != grouping.NONE) == list(range(weights.shape[1]))
    assert groups.slots == groups.turns * sum(groups.sizes)
    ends = np.cumsum(groups.sizes * groups.turns)
    order = np.array(groups.order)
    for part in np.split(order, ends[:-1]):
        inside = part[part != grouping.NONE]
        products = np.stack([weights[:, inside] * end[inside] for end in (bounds.low, bounds.high)])
        assert products.max(axis=0).sum(axis=1).max() < 2**15
        assert products.min(axis=0).sum(axis=1).min() >= -(2**15)


def followed(groups: Groups, stream: IntArray, filters: int, x: IntArray, in_bytes: bool, constants: int) -> IntArray:
    """The sums of all filters, with registers of 32 bits, and results where the stream has them.

    Words of bytes are not taken apart, but what they have too much, and a mask, is taken off the sum of each group.
    """

    def signed(value: int) -> int:
        return (value + 2**31) % 2**32 - 2**31

    row = [int(x[value]) if value != grouping.NONE else 99 for value in groups.order]
    sums = np.full(filters, 2**40)
    words = iter(stream.tolist())
    place, advance = 0, 1
    while advance:
        total, upper = [0, 0], [0, 0]
        slots = iter(row)
        for size in groups.sizes * groups.turns:
            inside = [next(slots) for _ in range(size)]
            if in_bytes:
                column = [next(words) for _ in range(size)]
                k = -0x00800080 * sum(inside)
                high = k + sum(value * (word >> 8 & 0xFF00FF) for value, word in zip(inside, column, strict=True))
                low = k + 256 * k + sum(map(mul, inside, column)) - 256 * high
                group = [signed(low), signed(high)]
            else:
                pair = [(next(words), next(words)) for _ in range(size)]
                group = [signed(sum(map(mul, inside, column))) for column in zip(*pair, strict=True)]
            total = [signed(a + b) for a, b in zip(total, group, strict=True)]
            upper = [a + (signed(b + 0x8000) >> 16) for a, b in zip(upper, group, strict=True)]
        found = [half for t, h in zip(total, upper, strict=True) for half in (signed(t - (h << 16)), h)]
        count = min(filters, pairs.TOGETHER)
        sums[place : place + count] = found[:count]
        for _ in range(count * constants):
            next(words)
        advance = next(words) if filters > pairs.TOGETHER else 0
        place += advance
    assert next(words, None) is None
    return sums


@settings(max_examples=60)
@given(layers(), st.booleans(), st.sampled_from(["random", "least", "most", "worst"]))
def test_the_stream_gives_every_filters_sum(case: Layer, in_bytes: bool, kind: str) -> None:
    weights, groups, (low, high) = case.weights, case.groups, (case.bounds.low, case.bounds.high)
    filters, values = weights.shape
    x = {
        "random": np.random.default_rng(values).integers(low, high + 1),
        "least": low,
        "most": high,
        "worst": np.where(weights[0] > 0, high, low),
    }[kind]
    reach = 128 * np.abs(weights).sum(axis=1) + 1
    form = prove_short_product(Requant.from_scales([0.01] * filters), -128, (-128, 127), -reach, reach)
    assert form is not None
    bias = np.arange(filters)
    stream = pairs.stream(groups, weights.astype(np.int8), form, bias, in_bytes).astype(np.int64)
    constants = finishing.constants(form, bias).shape[1]
    assert np.array_equal(followed(groups, stream, filters, x, in_bytes, constants), weights @ x)


@settings(max_examples=40)
@given(layers(), st.integers(1, 8), st.integers(0, 10_000), st.booleans())
def test_expanded_blocks_are_the_stream_of_all_filters(case: Layer, larger: int, room: int, short: bool) -> None:
    """Bytes become the words that they stand for; results go from four filters to four, to the next window, and on."""

    def constants(count: int) -> Iterator[int]:
        """Of a filter, the last two of which are one word if they are short."""
        yield from (next(words) for _ in range(count - 2))
        if expansion.short:
            both = next(words)
            yield from (both % 2**finishing.FACTOR_BITS, both >> finishing.FACTOR_BITS)
        else:
            yield from (next(words), next(words))

    weights = np.repeat(case.weights, larger, axis=0)
    groups, filters = case.groups, len(weights)
    reach = 128 * np.abs(weights).sum(axis=1) + 1
    form = prove_short_product(Requant.from_scales([0.01] * filters), -128, (-128, 127), -reach, reach)
    assert form is not None
    bias = np.arange(filters)
    short = short and finishing.is_short(form)
    expansion = Expansion(filters, groups.slots, finishing.constants(form, bias).shape[1], short, room)
    words = iter(expansion.stream(groups, weights.astype(np.int8), form, bias).tolist())
    covered: set[int] = set()
    begin = 0
    for _ in range(expansion.blocks):
        place = begin
        for _ in range(expansion.fours):
            of_bytes = [next(words) for _ in range(groups.slots)]
            pair = [[(w & 0xFF00FF) - 0x800080, (w >> 8 & 0xFF00FF) - 0x800080] for w in of_bytes]
            expected = pairs.four(groups, weights.astype(np.int8), form, bias, place, in_bytes=False)
            assert (np.array(pair).reshape(-1) & 0xFFFFFFFF).tolist() == expected[0].tolist()
            four = [constants(expansion.constants) for _ in range(min(filters, pairs.TOGETHER))]
            assert [*itertools.chain(*four)] == expected[1].tolist()
            covered |= {*range(place, place + pairs.TOGETHER)}
            place += next(words)
        assert place == begin + filters
        begin = (begin + next(words) + 2**31) % 2**32 - 2**31
    assert next(words, None) is None and begin == 0
    assert covered >= set(range(filters)) and (filters < pairs.TOGETHER or max(covered) < filters)


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("scale", [0.003, 2e-5])
@pytest.mark.parametrize("exceptions", [0, 1, 3])
@pytest.mark.parametrize("registers", [3, 4, 5])
def test_constants_are_loaded_in_the_order_of_the_stream(
    stepped: bool, scale: float, exceptions: int, registers: int
) -> None:
    """No register is lost that is still to be used, and none is used that holds nothing."""
    scales = scale * np.linspace(1, 1.9, 7)
    ends = (-300 / scales).astype(np.int64), (300 / scales).astype(np.int64)
    form = prove_short_product(Requant.from_scales(scales), 0 if stepped else -128, (-128, 127), *ends)
    assert form is not None and (form.step is not None) == stepped
    form = dataclasses.replace(form, exceptions=((form.most + 1, np.zeros(7, np.int64)),) * exceptions)
    free = tuple(f"r{index}" for index in range(1, registers + 1))
    stream = list(range(finishing.constants(form, np.zeros(7, np.int64)).shape[1]))
    held: dict[str, int] = {}
    used, addends = [], []
    for step in Finish(form, free).steps:
        if step.kind == "load":
            assert list(step.registers) == sorted(step.registers) and not set(step.registers) & held.keys()
            held |= {register: stream.pop(0) for register in step.registers}
        elif step.kind in ("border", "exception"):
            used += [held.pop(register) for register in step.registers[:2]]
            addends += [held[register] for register in step.registers[2:]]
        elif step.kind in ("part", "top"):
            factor, *others = step.registers
            addends += [held.pop(others.pop(0))] if step.kind == "top" else []
            used += [held.pop(register) for register in others]
            used.append(held[factor])
        else:
            assert step.kind != "clamp" or step.left == len(stream)
            used.append(held.pop(step.registers[0]))
    assert not stream and held.keys() == {factor}
    assert len(set(addends)) == 1
    constants = sorted([*dict.fromkeys(used), addends[0]])
    assert [number for number in constants if number != addends[0]] == list(dict.fromkeys(used))
    assert constants == list(range(len(constants)))


def finished(finish: Finish, total: int, words: list[int]) -> int:
    """What the instructions make of a sum, with registers of 32 bits."""
    held: dict[str, int] = {}
    for step in finish.steps:
        names = step.registers
        if step.kind == "load":
            held |= {name: words.pop(0) for name in names}
        elif step.kind == "origin":
            total = (total + held[names[0]]) % 2**32
        elif step.kind == "clamp" and total > held[names[0]]:
            return finish.lowest + (0 if total >> 31 else finish.range)
        elif step.kind == "exception" and total == held[names[0]]:
            total = (total + held[names[1]]) % 2**32
        elif step.kind == "border" and total < held[names[0]]:
            held[names[2]] = (held[names[2]] - held[names[1]]) % 2**32
        elif step.kind == "split":
            held[names[0]] = held[names[1]] % 2**finishing.FACTOR_BITS
            held[names[1]] >>= finishing.FACTOR_BITS
        elif step.kind == "part":
            held[names[0]] = held[names[0]] * total + sum(held[name] for name in names[1:]) >> finish.bits
        elif step.kind == "top":
            total = (total * held[names[0]] + sum(held[name] for name in names[1:])) % 2**32 >> 24
    assert not words
    return total


def test_a_word_behind_the_constants_is_carried_and_products_with_zero_are_left_out() -> None:
    scales = 8e-3 * np.linspace(1, 1.9, 40)
    ends = (-300 / scales).astype(np.int64), (300 / scales).astype(np.int64)
    form = prove_short_product(Requant.from_scales(scales), -128, (-128, 127), *ends)
    assert form is not None and finishing.is_plain(form)
    single = form.parts[1] == 0
    assert 0 < np.count_nonzero(single) < len(single)
    words = finishing.constants(form, np.zeros(40, np.int64))
    sums = np.linspace(*ends, 100).astype(np.int64)
    expected = form.apply(sums)
    for channel, row in itertools.product(range(40), range(len(sums))):
        finish = Finish(form, tuple("abcdef"), carried=True, single=bool(single[channel]))
        (load,) = (step for step in finish.steps if step.kind == "load")
        assert load.registers == tuple("abcdef") and finish.carrier == "f"
        assert ("part" in [step.kind for step in finish.steps]) is not finish.single
        byte = finished(finish, int(sums[row, channel]), [*words[channel].tolist(), 99])
        assert byte % 256 == expected[row, channel] % 256


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("registers", [4, 5])
def test_two_factors_in_one_word_give_the_same_results(stepped: bool, registers: int) -> None:
    scales = 6e-4 * np.linspace(1, 1.9, 7)
    ends = (-300 / scales).astype(np.int64), (300 / scales).astype(np.int64)
    form = prove_short_product(Requant.from_scales(scales), 0 if stepped else -128, (-128, 127), *ends)
    assert form is not None and finishing.is_short(form) and (form.step is not None) == stepped
    words = finishing.constants(form, np.zeros(7, np.int64), short=True)
    assert words.shape[1] + 1 == finishing.constants(form, np.zeros(7, np.int64)).shape[1]
    finish = Finish(form, tuple(f"r{index}" for index in range(1, registers + 1)), short=True)
    sums = np.linspace(*ends, 200).astype(np.int64)
    expected = form.apply(sums)
    for row, channel in itertools.product(range(len(sums)), range(7)):
        byte = finished(finish, int(sums[row, channel]), words[channel].tolist())
        assert byte % 256 == expected[row, channel] % 256
