"""The stack in words."""

from __future__ import annotations

from tinygen.stack import Bound
from tinygen.stack_use import UNPAINTED, StackUse


def bound_text(bound: Bound) -> str:
    """What no call can exceed."""
    if bound.bytes is None:
        return f"without a bound for all inputs: {bound.path[-1]}, {bound.reason}"
    return f"for no input more than {bound.bytes:,} (in {bound.path[-1]}); what interrupts push comes on top"


def stack_text(use: StackUse) -> str:
    """What a function used, and what it cannot exceed, in a sentence."""
    if use.used is None:
        used = "the board cannot tell what was used"
    else:
        used = f"{use.used:,} bytes used" if use.used > UNPAINTED else f"no more than {UNPAINTED} bytes used"
        used += ", those of interrupts among them" if use.has_interrupts else ""
    return f"Stack of {use.invoke}(): {used}, {bound_text(use.bound)}."
