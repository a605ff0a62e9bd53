"""Windows of a convolution, counted in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tinygen.kernel import Site
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m.values import Values


@dataclass(frozen=True, eq=False)
class WindowBytes:
    """A layer's image and windows, whatever the size of its values."""

    plane: Plane
    """Its channels are bytes."""
    size: int
    """Of a value."""

    @classmethod
    def of(cls, site: Site) -> Self:
        """Those of a layer."""
        values = Values.of(site)
        return cls(values.plane(site), values.size)

    @property
    def run(self) -> int:
        """Bytes of a row of a window."""
        return self.plane.columns.taps * self.plane.channels

    @property
    def depth(self) -> int:
        """Bytes of a window."""
        return self.plane.rows.taps * self.run
