"""How a peer does, from sample to sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.difference import Difference

_KEPT_DIFFERENCES = 20


@dataclass(frozen=True)
class Tally:
    """After some samples."""

    samples: int = 0
    differing: int = 0
    """Samples that differ."""
    differences: tuple[Difference, ...] = ()
    """The first of them, one for each sample."""
    layers: tuple[int, ...] = ()
    """That were compared, by index."""
    stack_bytes: int | None = None
    """That an invoke has used at most, where the peer can tell."""

    def after(self, layers: Sequence[int], difference: Difference | None, stack_bytes: int | None) -> Tally:
        """With one sample more."""
        kept = self.differences
        if difference is not None and len(kept) < _KEPT_DIFFERENCES:
            kept = (*kept, difference)
        return Tally(
            samples=self.samples + 1,
            differing=self.differing + (difference is not None),
            differences=kept,
            layers=tuple(sorted({*self.layers, *layers})),
            stack_bytes=max(filter(None, (self.stack_bytes, stack_bytes)), default=None),
        )
