"""The operators' own cases, enumerated from the registry."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

from building import BOARD, Built, build_bytes
from case_files import case_file

from tinygen import pipeline
from tinygen.goal import STYLES, Goal
from tinygen.ir import Graph, Node
from tinygen.layout import lay_out
from tinygen.ops import registry
from tinygen.ops.case import ONNX, Case
from tinygen.options import OF_FORMAT
from tinygen.select import candidates, site_of, usable, worthwhile
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
    profile: str = OF_FORMAT,
    kernel: str | None = None,
    overlap: bool = True,
) -> Built:
    """The output folder of a case's model; with the kernel, wherever it can be used."""
    name, data = case_file(case)
    return build_bytes(
        data, folder, objective=objective, board=board, profile=profile, kernel=kernel, overlap=overlap, file=name
    )


def kernels_of(name: str, core: Core = HOST) -> frozenset[str]:
    """The kernels that can be used for a named case on a core, for any objective, and leave code for it."""
    return _kernels_of(name, core.features)


@cache
def _kernels_of(name: str, features: frozenset[str]) -> frozenset[str]:
    graph, coded = _graph(name)
    core = replace(HOST, features=features)
    return frozenset(
        kernel.name
        for node in coded
        for objective in STYLES
        for site in [site_of(graph, node, core, objective)]
        for kernel in worthwhile(usable(site), site)
    )


@cache
def _graph(name: str) -> tuple[Graph, list[Node]]:
    """A named case, and those of its nodes that leave code."""
    file, data = case_file(NAMED[name])
    graph = pipeline.decode(data, file).graph
    steps = candidates(graph, HOST, Goal(), portable=True)
    aliased = lay_out(graph, steps).aliased
    coded = [step.node for index, step in enumerate(steps) if len(aliased[index]) < len(step.site.inputs)]
    if NAMED[name].suffix == ONNX:  # what changes layouts and edges is of other families
        own = {kernel.op for kernel in FAMILIES[name.partition("-")[0]].KERNELS}
        coded = [node for node in coded if type(node.op) in own]
    return graph, coded


def cases_of_each_kernel(cases: Collection[str], core: Core = HOST) -> dict[tuple[str, str], list[str]]:
    """Each kernel, for each dtype of its input: those of the cases that it can be used for, in order."""
    chosen: dict[tuple[str, str], list[str]] = {}
    for name in cases:
        dtype = next(tensor.dtype for tensor in NAMED[name].inputs if tensor is not None)
        for kernel in sorted(kernels_of(name, core)):
            chosen.setdefault((kernel, dtype), []).append(name)
    return chosen
