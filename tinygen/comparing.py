"""Several models on several boards: how good their answers are, and what an answer costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinygen import bench, manifest, output, pipeline, staging
from tinygen.errors import TinygenError, ToolMissing, UnsupportedModel
from tinygen.goal import Goal
from tinygen.interpreter.backend import CBackend, compiled
from tinygen.ir import Array, Tensor
from tinygen.options import Options
from tinygen.quantize import reading
from tinygen.quantize.data import FloatPort
from tinygen.quantize.measure import Score, score
from tinygen.quantize.quantising import Progress
from tinygen.quantize.runner import Scaling
from tinygen.target import Board, counts_what_it_runs, list_boards, load_board

MODELLED = "modelled"
"""From what kernels are expected to cost, of boards whose core is not emulated."""


@dataclass(frozen=True)
class Costs:
    """What one answer takes of a board: instructions, and bytes of the model's library."""

    instructions: int | None
    """None where not all kernels say what they cost."""
    ram_bytes: int
    flash_bytes: int
    how: str
    """The emulated board of the same core where they were counted, in the linked firmware; or MODELLED."""


@dataclass(frozen=True)
class Entry:
    """A model on a board."""

    model: str
    board: str
    score: Score | None
    """None where the model's answers are not known."""
    costs: Costs | None
    refusal: str
    """Why there are no costs, or no score; empty where there are both."""
    is_on_front: bool = False
    """Whether no other model on this board is at least as good in everything, and better in something."""


def compare(
    models: Sequence[Path],
    board_names: Sequence[str],
    wish: reading.Wish,
    goal: Goal,
    options: Options,
    progress: Progress | None = None,
) -> tuple[Entry, ...]:
    """Each model on each board, in that order. Without labels, scores are the share of the first model's answers.

    Samples of integers are those behind the inputs of the first model; each model gets what its own stand for. Models
    that cannot be built, and boards that they do not fit on, are entries with the reason. Raises BoardError, and
    ToolMissing where a board cannot be built for.
    """
    progress = progress or Progress()
    boards = {name: load_board(name) for name in board_names}
    entries: list[Entry] = []
    behind: list[Scaling | None] | None = None
    first: Array | None = None
    for path, called in zip(models, names_of(models), strict=True):
        try:
            model = pipeline.read(path, options)
            behind = behind or [scaling_of(model.graph.tensors[name]) for name in model.graph.inputs]
            answers, labels = _answers(model, wish, behind, progress)
        except TinygenError as error:
            entries += [Entry(called, board.name, None, None, reason(error)) for board in boards.values()]
            continue
        first = answers.argmax(axis=1) if first is None else first
        found = score(answers, labels) if labels is not None else Score(AGREEMENT, _share(answers, first))
        for name, board in boards.items():
            progress.stage(f"{called} on {board.name}")
            try:
                entries.append(Entry(called, board.name, found, _costs(model, name, board, goal), ""))
            except ToolMissing:
                raise
            except TinygenError as error:
                entries.append(Entry(called, board.name, found, None, reason(error)))
    return tuple(replace(entry, is_on_front=_is_on_front(entry, entries)) for entry in entries)


def names_of(models: Sequence[Path]) -> list[str]:
    """The files' names; those of files that are called the same, with as many folders as tell them apart."""
    paths = [path.absolute().parts for path in models]
    names = []
    for parts in paths:
        others = {other for other in paths if other != parts}
        length = next(
            (count for count in range(1, len(parts)) if all(other[-count:] != parts[-count:] for other in others)),
            len(parts),
        )
        names.append(Path(*parts[-length:]).as_posix())
    return names


AGREEMENT = "agreement"
"""The kind of a score without labels: share of the samples for which the first model's largest element is largest."""


def _share(answers: Array, first: Array) -> float:
    largest = answers.argmax(axis=1)
    return float(np.mean(largest == first)) if len(largest) == len(first) else 0.0


def _answers(
    model: pipeline.Model, wish: reading.Wish, behind: Sequence[Scaling | None], progress: Progress
) -> tuple[Array, Array | None]:
    """The first output as reals, (samples, elements), and labels where there are any."""
    graph = model.graph
    result = graph.tensors[graph.outputs[0]]
    inputs = [FloatPort(name, graph.tensors[name].shape) for name in graph.inputs]
    data = reading.read(wish, inputs, [FloatPort(result.name, result.shape)])
    columns = [
        _as_taken(data.inputs[name], data.integers.get(name), graph.tensors[name], given)
        for name, given in zip(graph.inputs, behind, strict=False)
    ]
    found = np.empty((len(data), result.elements))
    scaling = scaling_of(result)
    with staging.temporary("work") as folder:
        backend = CBackend(compiled(model, "balanced", folder))
        for index, step in enumerate(zip(*columns, strict=True)):
            backend.reset()
            value = backend.run([np.ascontiguousarray(array) for array in step])[result.name]
            found[index] = (value if scaling is None else scaling.real(value)).ravel()
            progress.count(f"answers of {model.file}", index + 1, len(data))
    return found, data.labels


def _as_taken(samples: Array, integers: str | None, tensor: Tensor, behind: Scaling | None) -> Array:
    """Samples as an input takes them, from float32 ones, or from integers of the dtype `integers`."""
    scaling = scaling_of(tensor)
    reals = behind.real(samples) if integers and behind is not None and integers == behind.dtype else samples
    return reals.astype(tensor.dtype) if scaling is None else scaling.quantised(reals)


def scaling_of(tensor: Tensor) -> Scaling | None:
    """What the integers of a tensor stand for; None where they are none, or stand for themselves."""
    if tensor.quant is None or tensor.dtype.kind not in "iu":
        return None
    return Scaling(float(tensor.quant.scale[0]), int(tensor.quant.zero_point[0]), tensor.dtype.name)


def _costs(model: pipeline.Model, name: str, board: Board, goal: Goal) -> Costs:
    built = pipeline.build(model, name, "network", goal)
    counting = board.name if _is_counted(board) else _emulated(board.core)
    if counting is None:
        layers = [layer.estimate for layer in built.manifest.layers]
        counts = [estimate.instructions for estimate in layers]
        return Costs(
            instructions=None if None in counts else sum(filter(None, counts)),
            ram_bytes=built.manifest.arena_bytes + built.manifest.state_bytes + built.manifest.scratch_bytes,
            flash_bytes=built.manifest.const_bytes + sum(estimate.flash for estimate in layers),
            how=MODELLED,
        )
    with staging.temporary("work") as folder:
        out = folder / "out"
        output.write(built.files, out)
        with bench.for_board(out, manifest.load(out), counting) as (project, moved):
            count = bench.count(project, moved)
    return Costs(count.total.instructions, count.ram_bytes, count.flash_bytes, counting)


def _is_counted(board: Board) -> bool:
    return board.emulator is not None and counts_what_it_runs(board.emulator.program)


def _emulated(core: str) -> str | None:
    """The board of a core with the most flash that is emulated and counted: code takes as many instructions on each."""
    boards = [board for board in map(load_board, list_boards()) if board.core == core and _is_counted(board)]
    return max(boards, key=lambda board: board.flash_bytes).name if boards else None


def _is_on_front(entry: Entry, entries: Sequence[Entry]) -> bool:
    if entry.costs is None or entry.score is None:
        return False
    own = _figures(entry)
    others = [_figures(other) for other in entries if other.board == entry.board and other.costs and other.score]
    return not any(
        other != own and all(theirs <= ours for theirs, ours in zip(other, own, strict=True)) for other in others
    )


def _figures(entry: Entry) -> tuple[float, ...]:
    """All of which less is better."""
    assert entry.score is not None
    assert entry.costs is not None
    costs = entry.costs
    instructions = math.inf if costs.instructions is None else costs.instructions
    return (-entry.score.value * entry.score.sign, instructions, costs.ram_bytes, costs.flash_bytes)


def reason(error: TinygenError) -> str:
    """Why something cannot be had, in one line: of many reasons the first."""
    if isinstance(error, UnsupportedModel):
        more = f" (and {len(error.problems) - 1} more reasons)" if len(error.problems) > 1 else ""
        return f"{error.problems[0]}{more}"
    lines = [line.strip().removeprefix("- ") for line in error.message.splitlines() if line.strip()]
    return " ".join(lines)
