"""A case of every kernel on emulated boards: the compiled firmware's bytes are the reference's.

The boards have different cores; the cases are too small to tell boards with the same core apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import Built, differences, varied
from emulated_bench import Bench
from operator_cases import FAMILIES, NAMED, build, cases_of_each_kernel, named_cases

from tinygen.errors import DoesNotFit
from tinygen.goal import OBJECTIVES
from tinygen.ops import registry
from tinygen.ops.case import Case, CaseTensor
from tinygen.target import load_core

# A Cortex-M4F, a Cortex-M55, and a Cortex-M0 that, as the real one, faults on unaligned access.
BOARDS = ("qemu-mps2-an386", "qemu-mps3-an547", "microbit")
SAMPLES = 4
PORTABLE = {kernel.name for kernel in registry.KERNELS if kernel.portable}


@pytest.fixture(scope="module", params=BOARDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(request.param, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_gives_the_references_bytes_on_the_board(bench: Bench, family: str, tmp_path: Path) -> None:
    core = load_core(bench.board.core)
    for (kernel, _), names in cases_of_each_kernel(named_cases(family), tmp_path, core).items():
        tried = 0
        for name, built in those_that_fit(bench, kernel, names, tmp_path):
            found = differences(built, varied(built, SAMPLES), bench.running(built))
            assert found == [], f"{kernel}: {name}"
            tried += 1
            if kernel in PORTABLE:  # compared on the host for all cases
                break
        assert tried, f"{kernel} fits on {bench.board.name} in none of {', '.join(names)}: add a smaller case"


def those_that_fit(bench: Bench, kernel: str, names: list[str], folder: Path) -> Iterator[tuple[str, Built]]:
    """Those of the cases that fit on the board and use the kernel there, each for the first objective that does."""
    for name in names:
        for objective in OBJECTIVES:
            out = folder / kernel / objective / name
            try:
                built = build(few_rows(NAMED[name]), out, objective, bench.board.name, kernel=kernel)
            except DoesNotFit:
                continue
            if kernel in {layer.kernel for layer in built.manifest.layers}:
                yield name, built
                break


def few_rows(case: Case) -> Case:
    """Where all tensors are alike, as of activations, three rows do: with all values of int16, few boards have room."""
    tensors = [tensor for tensor in (*case.inputs, *case.outputs) if tensor is not None]
    shape = tensors[0].shape
    if (
        math.prod(shape) <= 1000
        or None in case.inputs
        or any(tensor.shape != shape or tensor.data is not None for tensor in tensors)
    ):
        return case

    def shortened(given: tuple[CaseTensor, ...]) -> tuple[CaseTensor, ...]:
        return tuple(dataclasses.replace(tensor, shape=(*shape[:-2], 3, shape[-1])) for tensor in given)

    return dataclasses.replace(case, inputs=shortened(case.inputs), outputs=shortened(case.outputs))


def test_the_bench_compares(bench: Bench, tmp_path: Path) -> None:
    built = build(NAMED["add-same_shape"], tmp_path, board=bench.board.name)
    text = built.board_source.read_text()
    changed = text.replace("b - 12)", "b - 11)")
    assert changed != text
    built.board_source.write_text(changed)
    (first, *_) = differences(built, varied(built, SAMPLES), bench.running(built))
    assert first.startswith(f"{bench.board.name}: layer 0 ADD")
