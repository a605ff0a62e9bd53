"""A channel of an image as a plane of words of two pixels each: of the left and the right half of the outputs.

A word is `left + 65536 * right`, of pixels as far apart as the windows of an output in the left half and of that in the
right half. Windows are 3x3. Rows of words are written whole, with the zero point where a half's windows reach over the
border; rows above and below the image are those of a `WordPlane`, as the bands are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tinygen.access import Order
from tinygen.ir import Shape
from tinygen.kernels.armv6m.word_plane import WordPlane
from tinygen.ops.window import Axis, Window

_TAPS = 3
LANE = 1 << 16
"""What the right pixel is multiplied with."""
_TURN = 4
"""Words that a turn of the loop makes; the second half of them alone where a row has two more."""
_HALF_TURN_BYTES = 22
"""Of the code for two words."""
HEAD = 6
"""Words of the layer's data that every layer has, after those that are read once."""


@dataclass(frozen=True)
class LanePlane:
    """All that follows from shapes."""

    words: WordPlane
    """Its image is as wide as a row of words, its output as one half."""
    width: int
    """Of the image."""
    left: int
    """Words of a row, none or one, in which the left pixel is beyond the border."""
    right: int
    """Likewise for the right pixel."""

    @staticmethod
    def of(x: Shape, y: Shape, window: Window, most_words: int) -> LanePlane | None:
        """With bands as large as `most_words` allow; None where windows or shapes are others than it is made for."""
        rows, columns = window.rows, window.columns
        (_, height, width, channels), (_, out_height, out_width, filters) = x, y
        if not (
            rows.taps == columns.taps == _TAPS
            and rows.dilation == columns.dilation == 1
            and columns.stride <= 2
            and filters == channels
            and out_width % 4 == 0
        ):
            return None
        half = out_width // 2
        pitch = (half - 1) * columns.stride + _TAPS
        right = max(pitch - columns.before + half * columns.stride - width, 0)
        plane = WordPlane(height, pitch, channels, 1, out_height, half, rows, Axis(_TAPS, columns.stride), out_height)
        found = LanePlane(plane, width, columns.before, right)
        if columns.before > 1 or right > 1 or found.inner < 2 or found.inner % 2 or plane.used_rows < 1:
            return None
        banded = plane.banded(most_words)
        return None if banded is None else LanePlane(banded, width, columns.before, right)

    @property
    def inner(self) -> int:
        """Words of a row of which both pixels are inside."""
        return self.words.pitch - self.left - self.right

    @property
    def stride(self) -> int:
        """From an output to the next in its row."""
        return self.words.columns.stride

    def order(self) -> Order:
        """For one channel, in bytes of whole pixels: each band is read, then written."""
        plane = self.words
        return plane.order_of(self.width * plane.channels, 2 * plane.out_width * plane.channels)

    def runs(self) -> Mapping[str, int]:
        """How often the blocks of the kernel run, but those of products."""
        plane = self.words
        rows = plane.channels * plane.used_rows
        turns = -(-self.inner // _TURN)
        rows_of_windows = plane.channels * plane.out_height
        return {
            **plane.runs(),
            "turns": rows * turns,
            "whole_turns": rows * (self.inner // _TURN),
            "pairs": rows_of_windows * plane.out_width // 2,
            "next_pairs": rows_of_windows * (plane.out_width // 2 - 1),
            "next_rows": rows_of_windows - plane.channels * len(plane.bands),
        }

    @property
    def head_moved(self) -> int:
        """Where in the layer's data, in bytes, it says how much is moved."""
        return 4 * (HEAD + bool(self.words.fills_above))

    @property
    def head_of_bands(self) -> int:
        """Where the bands begin."""
        return self.head_moved + 4 * bool(self.words.moved)

    def head(self, zero_point: int) -> list[int]:
        """What the kernel reads of this layer before the filters, in the order that its template says."""
        plane, pixel, across = self.words, self.words.channels, self.stride
        pitch, half = 4 * plane.pitch, plane.out_width
        read, step, row = 4 * (across + _TAPS), 8 * across, 4 * half * across
        once = [
            4 * plane.words,
            pixel,
            zero_point * (1 + LANE),
            pitch * plane.rows.stride - row,
            row,
            pitch - read,
            step - 2 * pitch - read,
            pixel,
            pixel * half,
        ]
        layer = [
            pixel,
            pixel * half * across,
            4 * self.inner,
            0 if self.inner % _TURN == 0 else _HALF_TURN_BYTES,
            pixel * (self.width - self.inner),
            pitch,
            *plane.head_end,
        ]
        return [4 * (1 + len(once) + len(layer)), *once, *layer]


@lru_cache(maxsize=256)
def lane_plane(x: Shape, y: Shape, window: Window, most_words: int) -> LanePlane | None:
    """As `LanePlane.of`, found once."""
    return LanePlane.of(x, y, window, most_words)
