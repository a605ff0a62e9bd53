"""A channel of an image as a plane of words of two pixels each: of one half of the outputs and of the other.

A word is `first + 65536 * second`, of pixels as far apart as the windows of an output in the first half and of that in
the second half. Windows are 3x3. Halves are left and right: rows of words are written whole then, with the zero point
where a half's windows reach over the border; above and below the image are rows of a `WordPlane`, which may have bands.
Or halves are above and below: the plane is all rows under the upper half, and all of it is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinygen.access import Order
from tinygen.ir import Shape
from tinygen.kernels.armv6m.word_plane import WordPlane
from tinygen.ops.window import Axis, Window

_TAPS = 3
LANE = 1 << 16
"""What the right pixel is multiplied with."""
TURN = 4
"""Times two words are made in a turn of the loop; in a row's first one so many as make the others whole."""
_TWO_WORDS_BYTES = 22
"""Of the code for two words."""
HEAD = 6
"""Words of the layer's data that every layer has, after those that are read once."""


@dataclass(frozen=True)
class LanePlane:
    """All that follows from shapes."""

    words: WordPlane
    """Its image is all that is written of the plane, its output one half."""
    height: int
    """Of the image."""
    width: int
    """Of the image."""
    down: bool
    """Whether halves are above and below."""
    before: int
    """Words of a row, or rows, none or one, in which the first pixel is beyond the border."""
    after: int
    """Likewise for the second pixel."""

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
        ):
            return None
        if out_width % 4 == 0:
            half = out_width // 2
            pitch = (half - 1) * columns.stride + _TAPS
            after = max(pitch - columns.before + half * columns.stride - width, 0)
            across = Axis(_TAPS, columns.stride)
            plane = WordPlane(height, pitch, channels, 1, out_height, half, rows, across, out_height)
            banded = plane.banded(most_words) if plane.used_rows > 0 else None
            found = None if banded is None else LanePlane(banded, height, width, False, columns.before, after)
        elif out_width % 2 == 0 and out_height % 2 == 0:
            half = out_height // 2
            reached = (half - 1) * rows.stride + _TAPS
            after = max(reached - rows.before + half * rows.stride - height, 0)
            plane = WordPlane(reached, width, channels, 1, half, out_width, Axis(_TAPS, rows.stride), columns, half)
            found = None if plane.words > most_words else LanePlane(plane, height, width, True, rows.before, after)
        else:
            found = None
        return found if found is not None and found._is_made_for else None

    @property
    def _is_made_for(self) -> bool:
        rows = self.words.height - self.before - self.after
        is_near = self.before <= 1 and self.after <= 1 and self.inner >= 2 and self.inner % 2 == 0
        return is_near and (rows >= 1 or not self.down)

    @property
    def left(self) -> int:
        """Words of a row in which the first pixel is beyond the border."""
        return 0 if self.down else self.before

    @property
    def right(self) -> int:
        """Words of a row in which the second pixel is beyond the border."""
        return 0 if self.down else self.after

    @property
    def inner(self) -> int:
        """Words of a row that are made of pixels."""
        return self.words.width - self.left - self.right

    @property
    def _skipped(self) -> int:
        """Of a row's first turn, times two words that are not made."""
        return -(self.inner // 2) % TURN

    @property
    def apart(self) -> int:
        """Pixels from one of a word to the other."""
        plane = self.words
        return plane.out_height * plane.rows.stride * self.width if self.down else plane.out_width * self.stride

    @property
    def stride(self) -> int:
        """From an output to the next in its row."""
        return self.words.columns.stride

    def order(self) -> Order:
        """For one channel, in bytes of whole pixels: each band is read, then written."""
        plane = self.words
        if not self.down:
            return plane.order_of(self.width * plane.channels, 2 * plane.out_width * plane.channels)
        sizes = self.height * self.width, 2 * plane.out_height * plane.out_width
        nothing, read, written = (np.array([size * plane.channels]) for size in (0, *sizes))
        return Order(nothing, read, nothing, written)

    def runs(self) -> Mapping[str, int]:
        """How often the blocks of the kernel run, but those of products."""
        plane = self.words
        single = plane.channels * (self.before + self.after if self.down else 0)
        rows = plane.channels * plane.used_rows - single
        turns = -(-self.inner // (2 * TURN))
        rows_of_windows = plane.channels * plane.out_height
        return {
            **plane.runs(),
            "rows": rows,
            "single_rows": single // max(self.before + self.after, 1),
            "single_turns": single // max(self.before + self.after, 1) * (self.inner // 2),
            **{f"turns_{place}": rows * (turns - (place < self._skipped)) for place in range(TURN)},
            "next_rows": rows_of_windows - plane.channels * len(plane.bands),
        }

    @property
    def head_moved(self) -> int:
        """Where in the layer's data, in bytes, it says how much is moved."""
        return 4 * (HEAD + (3 if self.down else bool(self.words.fills_above)))

    @property
    def head_of_bands(self) -> int:
        """Where the bands begin."""
        return self.head_moved + 4 * bool(self.words.moved)

    def head(self, zero_point: int) -> list[int]:
        """What the kernel reads of this layer before the filters, in the order that its template says."""
        plane, pixel, across = self.words, self.words.channels, self.stride
        pitch, outputs = 4 * plane.pitch, plane.out_width
        read, step, row = 4 * (across + _TAPS), 8 * across, 4 * outputs * across
        once = [
            4 * plane.words,
            pixel,
            zero_point * (1 + LANE),
            pitch * plane.rows.stride - row,
            row,
            pitch - read,
            step - 2 * pitch - read,
            pixel,
            pixel * outputs * (plane.out_height if self.down else 1),
            0 if self.down else pixel * outputs,
        ]
        layer = [
            pixel,
            pixel * self.apart,
            4 * self.inner,
            _TWO_WORDS_BYTES * self._skipped,
            pixel * (self.width - self.inner),
            pitch,
            *([pitch - 4 * self.inner, pixel * self.width * self.before, pitch * self.after] if self.down else []),
            *plane.head_end,
        ]
        return [4 * (1 + len(once) + len(layer)), *once, *layer]


@lru_cache(maxsize=256)
def lane_plane(x: Shape, y: Shape, window: Window, most_words: int) -> LanePlane | None:
    """As `LanePlane.of`, found once."""
    return LanePlane.of(x, y, window, most_words)
