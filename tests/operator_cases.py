"""The operators' own cases, enumerated from the registry."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from building import BOARD, Built, build_bytes
from tflite_builder import build_case

from tinygen import pipeline
from tinygen.goal import OBJECTIVES, Goal
from tinygen.layout import lay_out
from tinygen.ops import registry
from tinygen.ops.case import Case
from tinygen.options import TFLM
from tinygen.select import select
from tinygen.target import HOST, Core


def family(module: ModuleType) -> str:
    """The name of an operator family, as cases and kernels are called."""
    return module.__name__.rpartition(".")[2]


FAMILIES = {family(module): module for module in registry.MODULES}

NAMED = {f"{name}-{case.name}": case for name, module in FAMILIES.items() for case in module.cases()}


def named_cases(name: str) -> dict[str, Case]:
    """The named cases of a family."""
    return {key: case for key, case in NAMED.items() if key.partition("-")[0] == name}


def build(
    case: Case,
    folder: Path,
    objective: str = "balanced",
    board: str = BOARD,
    profile: str = TFLM,
    kernel: str | None = None,
) -> Built:
    """The output folder of a case's model; with the kernel, wherever it can be used."""
    return build_bytes(build_case(case), folder, objective=objective, board=board, profile=profile, kernel=kernel)


def kernels_of(case: Case, folder: Path, core: Core = HOST) -> set[str]:
    """The kernels that can be used for a case on a core, for any objective, and leave code for it."""
    path = folder / "kernels.tflite"
    path.write_bytes(build_case(case))
    graph = pipeline.read(path).graph
    plans = [select(graph, core, Goal(objective)) for objective in OBJECTIVES]
    return {
        candidate.kernel.name
        for steps in plans
        for index, step in enumerate(steps)
        if len(lay_out(graph, steps).aliased[index]) < len(step.site.inputs)
        for candidate in (step.chosen, *step.rejected)
    }


def cases_of_each_kernel(cases: Collection[str], folder: Path, core: Core = HOST) -> dict[tuple[str, str], list[str]]:
    """Each kernel, for each dtype of its input: those of the cases that it can be used for, in order."""
    chosen: dict[tuple[str, str], list[str]] = {}
    for name in cases:
        dtype = next(tensor.dtype for tensor in NAMED[name].inputs if tensor is not None)
        for kernel in sorted(kernels_of(NAMED[name], folder, core)):
            chosen.setdefault((kernel, dtype), []).append(name)
    return chosen
