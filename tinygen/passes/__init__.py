"""Graph to graph: one pass per file, listed in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.ir import Graph
from tinygen.options import Options
from tinygen.passes.arrange import arrange
from tinygen.passes.channels_last import channels_last
from tinygen.passes.copy_late import copy_late
from tinygen.passes.drop_idle import drop_idle
from tinygen.passes.fold_activations import fold_activations
from tinygen.passes.fold_curves import fold_curves
from tinygen.passes.fold_padding import fold_padding
from tinygen.passes.fuse_dilation import fuse_dilation
from tinygen.passes.order_channels import order_channels
from tinygen.passes.remove_dead_channels import remove_dead_channels
from tinygen.passes.remove_unused import remove_unused
from tinygen.passes.strip_interface import strip_interface
from tinygen.passes.widen_single_channel import widen_single_channel

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (fuse_dilation, fold_curves, widen_single_channel, remove_unused)
PROOFS: tuple[Pass, ...] = (fold_padding, fold_activations, drop_idle, remove_dead_channels, order_channels, copy_late)
"""Passes that take work or memory away where that is proved to be without effect, after all others."""
_STRIPPING: tuple[Pass, ...] = (strip_interface, remove_unused)


def wanted(options: Options) -> tuple[Pass, ...]:
    """All passes over a model that is read with these options."""
    first = channels_last if options.layout == "nhwc" else arrange
    return (first, *PASSES, *(_STRIPPING if options.io == "int8" else ()))
