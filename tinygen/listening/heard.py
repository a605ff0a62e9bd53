"""What samples brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.listening.detector import NOTHING


@dataclass(frozen=True)
class Heard:
    """A result."""

    outputs: Sequence[bytes]
    """All outputs of the model."""
    word: int = NOTHING
    """The index of the word that is heard with it."""
    after: int | None = None
    """Samples since the last reset, where that is known."""
