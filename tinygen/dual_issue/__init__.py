"""Cores that issue two instructions in a cycle, in order: what pairs, what that costs, and code arranged for it."""

from tinygen.dual_issue.pipeline import cycles
from tinygen.dual_issue.text import arranged

__all__ = ["arranged", "cycles"]
