"""Windows over an image as walks of one pointer: pixels in the order of the output, with all distances worked out.

Where windows reach over the border they have fewer taps. The output falls into rectangles of pixels whose windows have
the same taps; in each, the pointer goes from pixel to pixel by the same step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinygen.ops.window import Axis, Window


@dataclass(frozen=True)
class Run:
    """Output positions along an axis whose windows have the same `taps`; the first one's begins at input `start`."""

    count: int
    start: int
    taps: int
    step: int


def runs(axis: Axis, size: int) -> tuple[Run, ...]:
    """The fewest runs of all output positions along an axis of `size` inputs. The window's dilation is 1."""
    found: list[Run] = []
    for index in range(axis.output_size(size)):
        first = index * axis.stride - axis.before
        start, stop = max(first, 0), min(first + axis.taps, size)
        last = found[-1] if found else None
        if last and last.taps == stop - start and start == last.start + last.count * last.step:
            found[-1] = Run(last.count + 1, last.start, last.taps, last.step)
        else:
            found.append(Run(1, start, stop - start, axis.stride))
    return tuple(found)


@dataclass(frozen=True)
class Image:
    """Rows and columns of pixels of `channels` bytes."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Pixels:
    """A run of output pixels in a row."""

    count: int
    """In one row."""
    runs: int
    """In all rows."""
    taps: int
    height: int
    """Rows of taps."""
    width: int
    """Taps in a row."""
    offsets: tuple[int, ...]
    """Bytes from a window's first tap to all others, then zero."""
    step: int
    """Bytes from where the channels of a pixel's first tap end to the next pixel's first tap."""
    leave: int
    """Bytes from where that leads after the last pixel to what follows in the row, or to the next row."""

    @property
    def pairs(self) -> tuple[tuple[int, ...], ...]:
        """The offsets, two and two: a load right after another takes one cycle less."""
        return tuple(self.offsets[first : first + 2] for first in range(0, self.taps, 2))


@dataclass(frozen=True)
class PixelRows:
    """Rows of output pixels that are alike."""

    count: int
    pixels: tuple[Pixels, ...]
    leave: int
    """Bytes from where the pointer is after the last of them to the first pixel of the next such rows."""


@dataclass(frozen=True)
class Walk:
    """All pixels; the pointer starts at the first byte of the image."""

    rows: tuple[PixelRows, ...]
    image: Image

    @staticmethod
    def of(window: Window, height: int, width: int, channels: int) -> Walk:
        """Of a window over an image."""
        columns = runs(window.columns, width)
        if len(columns) == 1 and columns[0].count == 1 and columns[0].taps == width:
            # Rows that are covered wholly are one long row.
            tall = runs(window.rows, height)
            return _walk(
                (Run(1, 0, 1, 1),), tuple(_times(run, width) for run in tall), Image(1, height * width, channels)
            )
        return _walk(runs(window.rows, height), columns, Image(height, width, channels))

    @property
    def pixels(self) -> Iterator[Pixels]:
        """Of all rows."""
        return (pixels for rows in self.rows for pixels in rows.pixels)

    @property
    def counts(self) -> frozenset[int]:
        """The numbers of taps that occur."""
        return frozenset(pixels.taps for pixels in self.pixels)


def _times(run: Run, factor: int) -> Run:
    return Run(run.count, run.start * factor, run.taps * factor, run.step * factor)


def _walk(rows: tuple[Run, ...], columns: tuple[Run, ...], image: Image) -> Walk:
    pitch = image.width * image.channels
    found = []
    for row, following in zip(rows, (*rows[1:], None), strict=True):
        pixels = tuple(
            _pixels(row, run, after, columns[0], image)
            for run, after in zip(columns, (*columns[1:], None), strict=True)
        )
        reached = row.start + row.count * row.step
        found.append(PixelRows(row.count, pixels, (following.start - reached) * pitch if following else 0))
    return Walk(tuple(found), image)


def _pixels(row: Run, run: Run, after: Run | None, first: Run, image: Image) -> Pixels:
    pitch = image.width * image.channels
    offsets = [y * pitch + x * image.channels for y in range(row.taps) for x in range(run.taps)]
    reached = (run.start + run.count * run.step) * image.channels
    following = after.start * image.channels if after else first.start * image.channels + row.step * pitch
    return Pixels(
        count=run.count,
        runs=run.count * row.count,
        taps=row.taps * run.taps,
        height=row.taps,
        width=run.taps,
        offsets=(*offsets[1:], 0),
        step=(run.step - 1) * image.channels,
        leave=following - reached,
    )
