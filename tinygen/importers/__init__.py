"""Model files to graphs: one module per format, each with `read` and `outline`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OutlineRow:
    """One operator of a model file as it is, supported or not, in words."""

    label: str
    operator: str
    inputs: str
    outputs: str
