"""Where a peer differs from the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array


@dataclass(frozen=True)
class Difference:
    """The first element in which a peer differs from the reference, for one sample."""

    sample: str
    place: str
    """The first differing layer, or the output."""
    element: tuple[int, ...]
    expected: float
    found: float
    count: int
    """How many elements of that tensor differ."""
    of: int

    def __str__(self) -> str:
        return (
            f"{self.place}, element {list(self.element)}: reference {self.expected:g}, found {self.found:g} "
            f"({self.count} of {self.of} elements differ; sample {self.sample})"
        )


def first_difference(sample: str, place: str, expected: Array, data: bytes) -> Difference:
    """The first element that differs from what is expected, given the bytes that were found."""
    found = np.frombuffer(data, expected.dtype).reshape(expected.shape)
    # Compared as bits, so that NaN equals NaN and -0 differs from 0.
    bits = f"u{expected.dtype.itemsize}"
    differs = np.ascontiguousarray(expected).view(bits) != found.view(bits)
    if not differs.any():
        return Difference(f"{sample}; its checksum differed, its bytes do not", place, (), 0, 0, 0, expected.size)
    element = tuple(int(i) for i in np.argwhere(differs)[0])
    return Difference(
        sample, place, element, float(expected[element]), float(found[element]), int(differs.sum()), expected.size
    )
