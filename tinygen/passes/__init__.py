"""Graph to graph: one pass per file, listed in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.ir import Graph
from tinygen.options import Options
from tinygen.passes.fold_curves import fold_curves
from tinygen.passes.fuse_dilation import fuse_dilation
from tinygen.passes.remove_unused import remove_unused
from tinygen.passes.strip_interface import strip_interface

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (fuse_dilation, fold_curves, remove_unused)
_STRIPPING: tuple[Pass, ...] = (strip_interface, remove_unused)


def wanted(options: Options) -> tuple[Pass, ...]:
    """All passes over a model that is read with these options."""
    return (*PASSES, *(_STRIPPING if options.io == "int8" else ()))
