"""Graph to graph: one pass per file, listed in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.ir import Graph
from tinygen.passes.fuse_dilation import fuse_dilation
from tinygen.passes.remove_unused import remove_unused

PASSES: tuple[Callable[[Graph], Graph], ...] = (fuse_dilation, remove_unused)
