"""Windows that slide over images: the geometry that convolutions and pools share. Images are NHWC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.interval import BoolArray
from tinygen.ir import Array
from tinygen.kernel import Site


@dataclass(frozen=True)
class Segment:
    """Output positions [start, stop); `edge`: their windows reach over the border of the input."""

    start: int
    stop: int
    edge: bool


@dataclass(frozen=True)
class Axis:
    """A window along one axis: `taps` positions `dilation` apart, moved by `stride` over the padded input."""

    taps: int
    stride: int
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        """Input positions from the first tap to the last, both included."""
        return (self.taps - 1) * self.dilation + 1

    def output_size(self, size: int) -> int:
        """Number of window positions over `size` inputs."""
        return (size + self.before + self.after - self.extent) // self.stride + 1

    def segments(self, size: int) -> tuple[Segment, ...]:
        """The output positions in order, split where windows begin or cease to reach over the border."""
        count = self.output_size(size)
        first = min(-(-self.before // self.stride), count)
        last = max(first, min((size + self.before - self.extent) // self.stride + 1, count))
        parts = (Segment(0, first, True), Segment(first, last, False), Segment(last, count, True))
        return tuple(part for part in parts if part.start < part.stop)

    def tap_sets(self, size: int) -> BoolArray:
        """Which taps lie inside of `size` inputs, (sets, taps): every set that some output position has, once."""
        positions = np.arange(self.output_size(size))[:, np.newaxis] * self.stride - self.before
        source = positions + np.arange(self.taps) * self.dilation
        return np.unique((source >= 0) & (source < size), axis=0)

    def scattered_tap_sets(self, size: int, wanted: int) -> BoolArray:
        """The same backwards: which taps bring any of `size` inputs to each of `wanted` outputs."""
        taps = np.arange(self.taps) * self.dilation
        source, phase = np.divmod(np.arange(wanted)[:, np.newaxis] + self.before - taps, self.stride)
        return np.unique((phase == 0) & (source >= 0) & (source < size), axis=0)

    def describe_padding(self) -> str:
        """Padding before and after."""
        return f"{self.before}+{self.after}"


@dataclass(frozen=True)
class Window:
    """A window over rows and columns."""

    rows: Axis
    columns: Axis

    @property
    def taps(self) -> int:
        """Number of taps."""
        return self.rows.taps * self.columns.taps

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self.rows.output_size(height), self.columns.output_size(width)

    def problems(self, x: Sequence[int]) -> Iterator[str]:
        """A problem where it finds no place in an input (n, h, w, c)."""
        if min(self.output_size(*x[1:3])) < 1:
            yield f"the {self.describe()} does not fit into the input {tuple(x)}"

    def pad(self, x: Array, value: float) -> Array:
        """The input with its border filled."""
        rows, columns = (self.rows.before, self.rows.after), (self.columns.before, self.columns.after)
        return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)

    def tap_views(self, padded: Array, height: int, width: int) -> Iterator[tuple[int, int, Array]]:
        """(row, column, view) of each tap: the padded input's values under it at all height x width outputs."""
        for ky in range(self.rows.taps):
            y = ky * self.rows.dilation
            y_stop = y + (height - 1) * self.rows.stride + 1
            for kx in range(self.columns.taps):
                x = kx * self.columns.dilation
                x_stop = x + (width - 1) * self.columns.stride + 1
                yield ky, kx, padded[:, y : y_stop : self.rows.stride, x : x_stop : self.columns.stride]

    def describe(self) -> str:
        """Kernel, stride, padding and dilation in a few words."""
        rows, columns = self.rows, self.columns
        parts = [f"kernel {rows.taps}x{columns.taps}"]
        if (rows.stride, columns.stride) != (1, 1):
            parts.append(f"stride {rows.stride}x{columns.stride}")
        if (rows.dilation, columns.dilation) != (1, 1):
            parts.append(f"dilation {rows.dilation}x{columns.dilation}")
        if any((rows.before, rows.after, columns.before, columns.after)):
            parts.append(f"padding {rows.describe_padding()} x {columns.describe_padding()}")
        return ", ".join(parts)


def same_padding(size: int, taps: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME: (before, after), the odd position goes after."""
    output = -(-size // stride)
    total = max((output - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class WindowLoops:
    """The literals that a template needs to walk a window over an image of `channels` interleaved channels."""

    rows: Axis
    columns: Axis
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    out_channels: int
    row_segments: tuple[Segment, ...]
    column_segments: tuple[Segment, ...]

    @staticmethod
    def at(site: Site) -> WindowLoops:
        """Of an operator with a window, whose first input and whose output are images."""
        window: Window = site.op.window
        _, height, width, channels = site.inputs[0].shape
        _, out_height, out_width, out_channels = site.outputs[0].shape
        return WindowLoops(
            window.rows,
            window.columns,
            height,
            width,
            channels,
            out_height,
            out_width,
            out_channels,
            window.rows.segments(height),
            window.columns.segments(width),
        )

    @property
    def has_edge(self) -> bool:
        """Whether any window reaches over the border."""
        return any(segment.edge for segment in (*self.row_segments, *self.column_segments))

    @property
    def helpers(self) -> frozenset[str]:
        """Of C, that find the taps inside the image where a window reaches over its border."""
        return frozenset({"taps"} if self.has_edge else ())

    @property
    def has_inside(self) -> bool:
        """Whether any window lies wholly inside."""
        return any(not s.edge for s in self.row_segments) and any(not s.edge for s in self.column_segments)

    @property
    def row_step(self) -> int:
        """Input elements from a window's row of taps to the next."""
        return self.rows.dilation * self.width * self.channels

    @property
    def column_step(self) -> int:
        """Input elements from a tap to the next in its row."""
        return self.columns.dilation * self.channels

    @property
    def y_step(self) -> int:
        """Input elements from one output row's windows to the next's."""
        return self.rows.stride * self.width * self.channels

    @property
    def x_step(self) -> int:
        """Input elements from one output column's window to the next's."""
        return self.columns.stride * self.channels

    @property
    def origin(self) -> int:
        """Input elements that the first window's first tap lies before the image."""
        return (self.rows.before * self.width + self.columns.before) * self.channels

    @property
    def taps(self) -> int:
        """Number of taps."""
        return self.rows.taps * self.columns.taps
