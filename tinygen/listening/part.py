"""What comes into a model's library beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.part_sizes import PartSizes

COUNTER_BYTES = 4
"""Of a variable that is no array."""


@dataclass(frozen=True)
class LibraryPart:
    """Files in the library's folder, by path, and what they take."""

    files: Mapping[str, str]
    sizes: PartSizes
