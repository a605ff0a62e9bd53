"""Constant arrays of the generated C, and those that all front ends have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen import c_text
from tinygen.audio import fft
from tinygen.audio.description import FrontEnd
from tinygen.audio.filter_bank import WEIGHT_BITS, Filters
from tinygen.audio.log_scale import corrections
from tinygen.c_text import C_TYPES
from tinygen.ir import Array


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array of the library; pairs of int16 may be read as complex numbers."""

    name: str
    comment: str
    array: Array
    is_complex: bool = False

    @property
    def c_type(self) -> str:
        """Of an element."""
        return C_TYPES[str(self.array.dtype)]

    @property
    def dimensions(self) -> str:
        """In brackets."""
        return "".join(f"[{length}]" for length in self.array.shape)

    @property
    def lines(self) -> Sequence[str]:
        """Its rows, or all elements in lines."""
        if self.array.ndim == 1:
            return c_text.array_lines(self.array)
        return [f"{{{', '.join(map(str, row))}}}," for row in self.array.tolist()]


def pairs(front_end: FrontEnd) -> int:
    """Pairs of samples in a window, the last one perhaps with a zero."""
    return (front_end.window + 1) // 2


def lowest_bin(front_end: FrontEnd, filters: Filters) -> int:
    """The lowest frequency whose energy is needed, or whose mirror's is."""
    return min(filters.first, front_end.fft_size // 2 - (filters.first + filters.bins - 1))


def common_tables(
    front_end: FrontEnd, window: npt.NDArray[np.int16], window_bits: int, filters: Filters
) -> list[Table]:
    """Window, transform, filters and logarithm."""
    points = front_end.fft_size // 2
    places = fft.order(points)
    padded = np.zeros(2 * pairs(front_end), np.int16)
    padded[: front_end.window] = window
    # Three factors for each value of the first quarter of a block, in the last pass.
    index = np.arange(points // 4)[:, np.newaxis] * np.arange(1, 4)
    factors = fft.twiddles(points)[index].reshape(-1)
    turns = fft.turns(points)[lowest_bin(front_end, filters) - 1 :].reshape(-1)
    found = [
        Table("window", f"The window, in {window_bits} fraction bits.", padded, True),
        Table("places", "Where the first pass wants each pair.", places.astype(_smallest(places.max()))),
        Table("factors", "exp(-2 pi i k / n), its square and its cube, in 15 fraction bits.", factors, True),
        Table("turns", "exp(-pi i (k / n + 1 / 2)), in 15 fraction bits.", turns, True),
        Table("widths", "Frequencies in each band.", np.array(filters.widths, _smallest(max(filters.widths)))),
        Table(
            "falling_weights",
            f"Weight of each frequency in the channel that falls, in {WEIGHT_BITS} fraction bits.",
            filters.falling.astype(np.uint16),
        ),
    ]
    if not filters.is_complementary:
        found.append(Table("rising_weights", "And in the one that rises.", filters.rising.astype(np.uint16)))
    return found


def log_table() -> Table:
    """What logarithms are computed from."""
    return Table("log_corrections", "log2(1 + x) - x for x = k / 128, in 16 fraction bits.", corrections())


def _smallest(largest: int) -> str:
    return "uint8" if largest <= 255 else "uint16"
