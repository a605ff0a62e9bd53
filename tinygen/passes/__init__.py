"""Graph to graph: one pass per file, listed in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.ir import Graph
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.remove_unused import remove_unused

PASSES: tuple[Callable[[Graph], Graph], ...] = (fold_constants, remove_unused)
