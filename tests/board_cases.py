"""The operators' own cases, as far as they fit on a board."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from building import Built
from operator_cases import NAMED, build

from tinygen.errors import DoesNotFit
from tinygen.goal import STYLES
from tinygen.ops.case import Case, CaseTensor


def those_that_fit(
    board: str, kernel: str, names: list[str], folder: Path, overlap: bool = True
) -> Iterator[tuple[str, Built]]:
    """Those of the cases that fit on the board and use the kernel there, each for the first objective that does."""
    for name in names:
        for objective in STYLES:
            out = folder / kernel / objective / name
            try:
                built = build(few_rows(NAMED[name]), out, objective, board, kernel=kernel, overlap=overlap)
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
