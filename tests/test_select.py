"""Which kernels are chosen: by objective, under budgets, with functions that layers share."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from operator_cases import NAMED, build
from tflite_builder import build_case

from tinygen import choice, pipeline
from tinygen.errors import DoesNotFit, UsageError
from tinygen.estimate import Estimate
from tinygen.goal import OBJECTIVES, Goal
from tinygen.ir import Node
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.activations import Abs
from tinygen.plan import plan
from tinygen.select import Candidate, Step
from tinygen.target import load_core

M4 = load_core("cortex-m4")


def candidate(name: str, time: int, code: int, data: int = 0, scratch: int = 0, text: str = "") -> Candidate:
    kernel = Kernel(name, Abs, lambda site: Body({}), assembly=bool(text))
    return Candidate(kernel, Body({}), Estimate(time, None, code, data, scratch), text)


def step(index: int, *candidates: Candidate) -> Step:
    first, *others = candidates
    return Step(Node(f"node {index}", None, (), ()), Site(None, (), (), "speed"), first, tuple(others))  # type: ignore[arg-type]


def weighed(steps: list[Step]) -> list[Step]:
    """By the product of time and flash."""
    found = choice.Choice(steps)
    found.weigh(1.0)
    return list(found.steps)


def within_flash(steps: list[Step], budget: int) -> list[Step]:
    """Of the fastest kernels on, as much less flash as that."""
    found = choice.Choice(steps)
    found.save(budget)
    return list(found.steps)


def names(steps: list[Step]) -> list[str]:
    return [step.kernel.name for step in steps]


def test_layers_that_share_a_function_pay_for_it_once() -> None:
    alike = [step(i, candidate("a", 10, code=100, data=7, text="t")) for i in range(3)]
    other = step(3, candidate("a", 10, code=50, data=7, text="u"))
    in_c = [step(i, candidate("c", 10, code=30)) for i in (4, 5)]
    assert choice.flash_bytes([*alike, other, *in_c]) == 100 + 50 + 4 * 7 + 2 * 30


def shared(rng: np.random.Generator, j: int) -> Candidate:
    """A random candidate in assembly, whose text others have, too."""
    time, data = int(rng.integers(1, 99)), int(rng.integers(9))
    return candidate(f"k{rng.integers(2)}{j}", time, code=50, data=data, text="ab"[j % 2])


def test_changes_one_after_the_other_come_to_the_same_as_counting_anew() -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(50):
        steps = [step(index, *(shared(rng, j) for j in range(3))) for index in range(4)]
        for change in choice.Choice(steps).changes():
            changed = choice.Choice(steps)
            changed.make(change)
            assert change.tally == changed.tally == choice.Tally.of(changed.steps)
            assert [each.chosen for each in changed.steps] != [each.chosen for each in steps]
            lengths.add(len(change.others))
    assert lengths == {1, 2, 3, 4}


def test_changes_hold_each_that_takes_another_kernel_in_one_step_and_lowers_something() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        steps = [step(index, *(shared(rng, j) for j in range(3))) for index in range(4)]
        now = choice.Tally.of(steps)
        found = {change.others for change in choice.Choice(steps).changes()}
        for index, each in enumerate(steps):
            for number, other in enumerate(each.rejected, 1):
                after = choice.Tally.of([*steps[:index], each.with_kernel(other), *steps[index + 1 :]])
                assert (((index, number),) in found) == (after.time < now.time or after.flash < now.flash)


def test_balanced_finds_no_better_product_by_any_single_change() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        steps = [
            step(i, *(candidate(f"k{j}", int(rng.integers(1, 1000)), int(rng.integers(1, 1000))) for j in range(3)))
            for i in range(3)
        ]
        chosen = weighed(steps)
        tally = choice.Tally.of(chosen)
        assert all(
            after.time * after.flash >= tally.time * tally.flash * (1 - 1e-6)
            for after, _ in choice.Choice(chosen).changes()
        )
        best = min(
            sum(c.estimate.time for c in choice) * sum(c.estimate.flash for c in choice)
            for choice in itertools.product(*((s.chosen, *s.rejected) for s in steps))
        )
        assert tally.time * tally.flash <= 1.2 * best  # a local optimum, near the global one


def test_balanced_takes_a_function_that_pays_only_where_layers_share_it() -> None:
    alike = [step(i, candidate("own", 100, code=100), candidate("shared", 110, 100, text="t")) for i in range(3)]
    dear = step(3, candidate("own", 100, code=100), candidate("shared", 1000, 100, text="t"))
    assert names(weighed([alike[0], dear])) == ["own", "own"]
    assert names(weighed([*alike, dear])) == ["shared", "shared", "shared", "own"]


def test_a_flash_budget_gives_up_the_least_time_for_each_byte() -> None:
    dear = step(0, candidate("fast", 10, 1000), candidate("slow", 1000, 900))
    cheap = step(1, candidate("fast", 10, 1000), candidate("slow", 20, 800))
    assert names(within_flash([dear, cheap], 2000)) == ["fast", "fast"]
    assert names(within_flash([dear, cheap], 1999)) == ["fast", "slow"]
    assert names(within_flash([dear, cheap], 1700)) == ["slow", "slow"]
    assert names(within_flash([dear, cheap], 1)) == ["slow", "slow"]


def scratch(index: int, candidate: Candidate) -> int:
    return candidate.estimate.scratch


def test_within_a_limit_of_ram_the_fastest_come_first() -> None:
    a, b, c = candidate("a", 1, 1, scratch=9), candidate("b", 3, 1, scratch=0), candidate("c", 2, 1, scratch=8)
    for limit, expected in ((9, "acb"), (8, "cb"), (7, "b"), (0, "b")):
        (found,) = choice.within_ram([step(0, a, b, c)], limit, scratch)
        assert "".join(each.kernel.name for each in (found.chosen, *found.rejected)) == expected


def test_where_no_kernel_meets_the_limit_of_ram_the_one_that_needs_least_is_left() -> None:
    a, b = candidate("a", 1, 1, scratch=9), candidate("b", 3, 1, scratch=5)
    (found,) = choice.within_ram([step(0, a, b)], 4, scratch)
    assert (found.chosen, found.rejected) == (b, ())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_kernel_is_taken_that_the_core_has_not_the_instructions_for(objective: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(build_case(NAMED["conv_2d-pointwise"]))
    graph = pipeline.read(path).graph
    for core in ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"):
        features = load_core(core).features
        for found in plan(graph, load_core(core), Goal(objective)).steps:
            assert all(c.kernel.requires <= features for c in (found.chosen, *found.rejected))


def test_portable_kernels_alone_for_the_host(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(build_case(NAMED["activations-hard_swish"]))
    chosen = plan(pipeline.read(path).graph, M4, Goal("speed"), portable=True)
    assert all(found.kernel.portable for found in chosen.steps)


def test_budgets_that_cannot_be_met_are_said_with_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(build_case(NAMED["conv_2d-pointwise"]))
    graph = pipeline.read(path).graph
    for goal, word in ((Goal(ram_budget=10), "RAM"), (Goal(flash_budget=10), "flash")):
        with pytest.raises(DoesNotFit, match=rf"needs [\d,]+ bytes of {word}, the budget is 10"):
            plan(graph, M4, goal)


def test_a_preferred_kernel_is_taken_and_an_unknown_one_refused(tmp_path: Path) -> None:
    built = build(NAMED["activations-hard_swish"], tmp_path, kernel="lookup.table")
    assert [layer.kernel for layer in built.manifest.layers] == ["lookup.table"]
    assert "--kernel lookup.table" in built.board_source.read_text()
    with pytest.raises(UsageError, match=r"lookup\.tabel"):
        build(NAMED["activations-hard_swish"], tmp_path, kernel="lookup.tabel")
