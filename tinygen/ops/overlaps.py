"""How the outputs of kernels in C may overlap their inputs: the order in which their loops read and write.

A compiler keeps that order where the two may be in one place: where they are of one type, or one of them is of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from tinygen.access import Order, Spacing, evenly, spacing
from tinygen.ir import Array, Tensor
from tinygen.kernel import Site
from tinygen.ops.traits import Moving
from tinygen.ops.window import Axis, Window


def side_by_side(site: Site) -> Mapping[int, Spacing]:
    """A loop over all elements, each read of every input before it is written; inputs have as many as the output.

    The same for rows that are looked through first, and then gone through element by element.
    """
    (y,) = site.outputs
    return {index: spacing(evenly(y.elements, x.dtype.itemsize, y.dtype.itemsize)) for index, x in _near(site)}


def by_broadcast(site: Site) -> Mapping[int, Spacing]:
    """Loops over the output's elements; an operand's are repeated where the other has more."""
    (y,) = site.outputs
    return {
        index: _of_elements(np.broadcast_to(np.arange(x.elements).reshape(x.shape), y.shape), x, y)
        for index, x in _near(site)
    }


def by_copy(site: Site) -> Mapping[int, Spacing]:
    """Loops over the output's elements, each of which is an input's, or a constant."""
    op: Moving = site.op
    (y,) = site.outputs
    starts = np.cumsum([0, *(x.elements for x in site.inputs)])
    numbered = [np.arange(x.elements).reshape(x.shape) + start for x, start in zip(site.inputs, starts, strict=False)]
    source = op.moved(*numbered)
    return {
        index: _of_elements(np.where(source < starts[index + 1], source - starts[index], -1), x, y)
        for index, x in _near(site)
    }


def by_reduction(site: Site, axes: tuple[int, ...]) -> Mapping[int, Spacing]:
    """Loops over the output's elements, and inside them over the input's axes that are reduced."""
    (y,) = site.outputs
    found = {}
    for index, x in _near(site):
        numbers = np.arange(x.elements).reshape(x.shape)
        first, last = (np.reshape(ends, -1) * x.dtype.itemsize for ends in (numbers.min(axes), numbers.max(axes) + 1))
        found[index] = spacing(_in_turn(first, last, y.dtype.itemsize))
    return found


def by_row(site: Site, read: int, written: int) -> Mapping[int, Spacing]:
    """A loop over rows, of `read` elements of the input, gone through for each of `written` elements of the output."""
    (y,) = site.outputs
    return {
        index: spacing(
            evenly(y.elements // written, read * x.dtype.itemsize, written * y.dtype.itemsize, buffered=written == 1)
        )
        for index, x in _near(site)
    }


class Reach(NamedTuple):
    """Of each position along an axis of the output, the first and the last position of the input that it is made of.

    int64. Where the last is before the first, it is made of nothing.
    """

    first: Array
    last: Array

    @staticmethod
    def of(axis: Axis, size: int) -> Reach:
        """The taps inside the input, with a window that slides over it."""
        position = np.arange(axis.output_size(size))[:, np.newaxis] * axis.stride - axis.before
        taps = position + np.arange(axis.taps) * axis.dilation
        return Reach._of(np.broadcast_to(taps, taps.shape), (taps >= 0) & (taps < size), size)

    @staticmethod
    def of_scattered(axis: Axis, size: int, wanted: int) -> Reach:
        """The same backwards: the positions of the input that have a tap at each of `wanted` positions."""
        source, phase = np.divmod(np.arange(wanted)[:, np.newaxis] + axis.before - np.arange(axis.taps), axis.stride)
        return Reach._of(source, (phase == 0) & (source >= 0) & (source < size), size)

    @staticmethod
    def _of(positions: Array, counts: Array, size: int) -> Reach:
        return Reach(np.where(counts, positions, size).min(axis=1), np.where(counts, positions, -1).max(axis=1))


def by_window(site: Site, window: Window, channelwise: bool) -> Mapping[int, Spacing]:
    """As `by_pixel`, for a window that slides over the image."""
    _, height, width, _ = site.inputs[0].shape
    return by_pixel(site, Reach.of(window.rows, height), Reach.of(window.columns, width), channelwise)


def by_pixel(site: Site, rows: Reach, columns: Reach, channelwise: bool) -> Mapping[int, Spacing]:
    """A loop over the pixels of the output (n, h, w, c), each made of some rows and columns of the image.

    These are read again for each channel of the output. `channelwise`: there are as many as the image has, and before
    one is written only the same one is read.
    """
    (y,) = site.outputs
    written = y.shape[3] * y.dtype.itemsize
    at = np.arange(y.elements // y.shape[3]) * written
    found = {}
    for index, x in _near(site):
        batch, height, width, channels = x.shape
        above = (np.arange(batch)[:, np.newaxis, np.newaxis] * height) * width
        first = above + rows.first[:, np.newaxis] * width + columns.first
        last = above + rows.last[:, np.newaxis] * width + columns.last
        is_made = (rows.last >= rows.first)[:, np.newaxis] & (columns.last >= columns.first)
        pixel = channels * x.dtype.itemsize
        reads_from, reads_to = ((ends * pixel * is_made).reshape(-1) for ends in (first, last + 1))
        whole = Order(reads_from, reads_to, at, at + written, buffered=y.shape[3] == 1)
        found[index] = spacing(_split(whole, pixel, x.dtype.itemsize) if channelwise else whole)
    return found


def _split(order: Order, pixel: int, channel: int) -> Order:
    """Pixels of as many bytes in two steps, the first channel and the others: these are as far apart as that."""
    return Order(
        _alternating(order.reads_from, order.reads_from + channel),
        _alternating(order.reads_to - pixel + channel, order.reads_to),
        _alternating(order.writes_from, order.writes_from + channel),
        _alternating(order.writes_from + channel, order.writes_to),
    )


def _alternating(a: Array, b: Array) -> Array:
    return np.stack([a, b], axis=-1).reshape(-1)


def _of_elements(source: Array, x: Tensor, y: Tensor) -> Spacing:
    """For each element of the output in turn, the number of the input's element that is read; negative: none."""
    numbers = source.reshape(-1).astype(np.int64)
    reads_from = np.maximum(numbers, 0) * x.dtype.itemsize
    reads_to = (numbers + 1).clip(0) * x.dtype.itemsize
    return spacing(_in_turn(reads_from, reads_to, y.dtype.itemsize))


def _in_turn(reads_from: Array, reads_to: Array, written: int) -> Order:
    at = np.arange(len(reads_from)) * written
    return Order(reads_from, reads_to, at, at + written)


def _near(site: Site) -> Iterator[tuple[int, Tensor]]:
    """The inputs that a compiler lets the output overlap."""
    (y,) = site.outputs
    for index, x in enumerate(site.inputs):
        if x.data is None and (x.dtype == y.dtype or 1 in (x.dtype.itemsize, y.dtype.itemsize)):
            yield index, x
