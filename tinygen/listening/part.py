"""What comes into a model's library beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COUNTER_BYTES = 4
"""Of a variable that is no array."""


@dataclass(frozen=True)
class LibraryPart:
    """Files in the library's folder, by path; their static RAM and tables in bytes."""

    files: Mapping[str, str]
    ram_bytes: int
    const_bytes: int
