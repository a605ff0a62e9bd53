"""Which bytes a kernel's rows of values are: pixels, the rows of a dense layer, or windows over an image.

Where windows reach over the border, the rows of the image under a row of results are copied into a strip first, with
the zero point around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.access import Order, rows
from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.ir import Array, Tensor
from tinygen.kernel import Site
from tinygen.kernels.armv7em.matrix_shape import geometry
from tinygen.kernels.armv7em.plane import Plane

AT_ONCE = 8
"""Bytes that are copied, or filled, in a turn of the loop."""


@dataclass(frozen=True)
class Strip:
    """The rows under a row of results; distances are in bytes."""

    taps: int
    """Rows of a window."""
    pitch: int
    """From a row of the strip to the next."""
    lead: int
    """From a row's beginning to what is copied."""
    copied: int
    """Of a row of the image, from its beginning."""
    height: int
    """Rows of the image."""
    before: int
    """Rows of padding above the image."""
    stride: int
    dilation: int
    image_row: int
    zero_point: int
    inside: int
    """Rows that are copied for all results."""
    outside: int
    """Rows of padding likewise."""

    @property
    def bytes(self) -> int:
        """Whole words."""
        return -(-self.taps * self.pitch // 4) * 4

    @property
    def is_padded(self) -> bool:
        """Whether there is padding beside what is copied."""
        return self.pitch > self.copied

    @property
    def copy_turns(self) -> int:
        """Of the loop that copies a row, or fills it."""
        return self.copied // AT_ONCE

    @property
    def rest(self) -> int:
        """What no loop copies."""
        return self.copied % AT_ONCE

    @property
    def zero_byte(self) -> int:
        """The zero point, unsigned."""
        return self.zero_point & 0xFF


@dataclass(frozen=True, eq=False)
class Windows:
    """Lines of windows, and what each of them consists of; distances are in bytes."""

    lines: int
    columns: int
    step: int
    """From a window to the next in its line."""
    line: int
    """From where the next window of a line would be to the first of the next line, in the image."""
    offsets: IntArray
    """(values,) from a window's first byte to each value, in the order of the weights."""
    order: Order
    """In which the image is read, and results are written, of a byte for each filter."""
    strip: Strip | None

    @property
    def count(self) -> int:
        """Windows in all."""
        return self.lines * self.columns

    @property
    def extent(self) -> int:
        """Of a line: from its first window to where the next one after the last would be."""
        return self.columns * self.step

    def order_in_parts(self, firsts: Sequence[int], results: int) -> Order:
        """Where a window is read again for the `results` that begin with each of `firsts`; of windows in the image."""
        order, parts = self.order, len(firsts)
        written = np.repeat(order.writes_from, parts) + np.tile(np.asarray(firsts, np.int64), self.count)
        return Order(np.repeat(order.reads_from, parts), np.repeat(order.reads_to, parts), written, written + results)

    @staticmethod
    def of(site: Site) -> Windows:
        """Those of a dense layer, or of a convolution of one image and one group."""
        weights = site.inputs[1].data
        assert weights is not None
        sizes = geometry(site)
        if sizes is None:
            return _of_convolution(site)
        offsets = np.arange(sizes.depth, dtype=np.int64)
        if sizes.steps is None:
            lines, columns, step, line = 1, sizes.rows, sizes.depth, 0
        else:
            columns, step, line = sizes.steps.columns, sizes.steps.step, sizes.steps.line
            lines = sizes.rows // columns
        order = _by_window(lines, columns, step, line, sizes.depth, sizes.filters)
        return Windows(lines, columns, step, line, offsets, order, None)


def flat_weights(site: Site) -> Array:
    """(filters, values)."""
    return flat_array(site.inputs[1])


def flat_array(weights: Tensor) -> Array:
    """(filters, values) of these weights."""
    assert weights.data is not None
    return weights.data.reshape(len(weights.data), -1)


def value_bounds(site: Site) -> Interval:
    """What each value of a window lies in, in the order of the weights; with the zero point around the image."""
    x, depth = site.inputs[0], flat_weights(site).shape[1]
    found = x.bounds or Interval.full(x.dtype, x.shape)
    if Windows.of(site).strip is not None:
        zero_point = np.asarray(site.op.zero_point)
        found = found.hull(Interval(zero_point, zero_point))
    if depth % found.low.size:  # rows end within pixels: channels are not told apart
        return found.over((depth,))
    return Interval(np.resize(found.low, depth), np.resize(found.high, depth))


def _of_convolution(site: Site) -> Windows:
    plane = Plane.of(site)
    in_rows, in_columns = plane.in_rows, plane.in_columns
    image_row = plane.width * plane.channels
    step = plane.columns.stride * plane.channels
    fits = in_rows.min() >= 0 and in_rows.max() < plane.height
    fits &= in_columns.min() >= 0 and in_columns.max() < plane.width
    if fits:
        pitch = image_row
        between, strip = plane.rows.stride * image_row - plane.out_width * step, None
    else:
        strip = _strip(site, plane, in_rows)
        pitch, between = strip.pitch, 0
    row = pitch if strip else plane.rows.dilation * pitch
    taps = np.arange(plane.rows.taps)[:, None, None] * row
    across = np.arange(plane.columns.taps)[:, None] * plane.columns.dilation * plane.channels
    offsets = (taps + across + np.arange(plane.channels)).reshape(-1).astype(np.int64)
    written = plane.out_width * plane.filters
    if strip:
        order = rows(
            plane.out_height,
            image_row,
            plane.rows.extent,
            plane.rows.stride,
            plane.rows.before,
            plane.height,
            written,
        )
    else:
        extent = int(offsets[-1]) + 1
        order = _by_window(plane.out_height, plane.out_width, step, between, extent, plane.filters)
    lines, columns = plane.out_height, plane.out_width
    if between == 0 and strip is None:
        lines, columns = 1, lines * columns
    return Windows(lines, columns, step, between, offsets, order, strip)


def _strip(site: Site, plane: Plane, in_rows: IntArray) -> Strip:
    before = plane.columns.before
    pixels = (plane.out_width - 1) * plane.columns.stride + plane.columns.extent
    copied = min(plane.width, pixels - before)
    inside = int(np.count_nonzero((in_rows >= 0) & (in_rows < plane.height)))
    return Strip(
        taps=plane.rows.taps,
        pitch=pixels * plane.channels,
        lead=before * plane.channels,
        copied=copied * plane.channels,
        height=plane.height,
        before=plane.rows.before,
        stride=plane.rows.stride,
        dilation=plane.rows.dilation,
        image_row=plane.width * plane.channels,
        zero_point=site.op.zero_point,
        inside=inside,
        outside=in_rows.size - inside,
    )


def _by_window(lines: int, columns: int, step: int, line: int, extent: int, filters: int) -> Order:
    """Each window is gathered before its first result is written."""
    window = np.arange(lines * columns, dtype=np.int64)
    first = window // columns * (columns * step + line) + window % columns * step
    return Order(first, first + extent, window * filters, (window + 1) * filters)
