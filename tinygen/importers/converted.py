"""What the importers of all formats have in common: an operator that was converted, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.ir import Op, State, Tensor

LARGEST_TENSOR = 2**30
"""Bytes; the generated C counts in int32."""


class Refused(Exception):
    """An operator that cannot be built; carries the reason and a remedy."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Converted:
    """An operator, and the tensors that it reads and writes in the order in which it wants them."""

    op: Op
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] | None = None
    """None: those of the call."""
    states: tuple[State, ...] = ()
    """Variable tensors that it reads, and its outputs that are their next values."""


def as_parts(converted: Converted | Sequence[Converted]) -> Sequence[Converted]:
    """The operators that one operator of a file became, in their order."""
    return [converted] if isinstance(converted, Converted) else converted
