"""How measured values spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Distribution:
    """Of values in their own unit. Each figure is one of the values: percentiles are nearest ranks."""

    count: int
    minimum: float
    median: float
    p99: float
    maximum: float


def distribution(values: Sequence[float]) -> Distribution:
    """Of one value or more."""
    ordered = sorted(values)
    return Distribution(len(ordered), ordered[0], _rank(ordered, 50), _rank(ordered, 99), ordered[-1])


def _rank(ordered: Sequence[float], percent: int) -> float:
    """The least value that so many percent of all do not exceed."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
