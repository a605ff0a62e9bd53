"""A case of every kernel on emulated boards: the compiled firmware's bytes are the reference's.

The boards have different cores; the cases are too small to tell boards with the same core apart.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from building import Built, differences, varied
from emulated_bench import Bench
from operator_cases import FAMILIES, NAMED, build, cases_of_each_kernel, named_cases

from tinygen.errors import DoesNotFit
from tinygen.target import load_core

BOARDS = ("qemu-mps2-an386", "microbit")
SAMPLES = 4


@pytest.fixture(scope="module", params=BOARDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(request.param, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_gives_the_references_bytes_on_the_board(bench: Bench, family: str, tmp_path: Path) -> None:
    features = load_core(bench.board.core).features
    for kernel, names in cases_of_each_kernel(named_cases(family), tmp_path, features).items():
        name, built = first_that_fits(bench, names, tmp_path)
        if not built.manifest.layers:
            continue  # the output is the input's memory: no code
        found = differences(built, varied(built, SAMPLES), bench.running(built))
        assert found == [], f"{kernel}: {name}"


def first_that_fits(bench: Bench, names: list[str], folder: Path) -> tuple[str, Built]:
    for name in names:
        try:
            return name, build(NAMED[name], folder / name, board=bench.board.name)
        except DoesNotFit:
            continue
    raise AssertionError(f"none of {', '.join(names)} fits on {bench.board.name}: add a smaller case")


def test_the_bench_compares(bench: Bench, tmp_path: Path) -> None:
    built = build(NAMED["add-same_shape"], tmp_path, board=bench.board.name)
    text = built.source.read_text()
    changed = text.replace("b - 12)", "b - 11)")
    assert changed != text
    built.source.write_text(changed)
    (first, *_) = differences(built, varied(built, SAMPLES), bench.running(built))
    assert first.startswith(f"{bench.board.name}: layer 0 ADD")
