"""In which order kernels read and write that make an image of windows, pixel by pixel."""

from __future__ import annotations

import numpy as np

from tinygen.access import Order
from tinygen.fixedpoint import IntArray
from tinygen.ops.overlaps import Reach
from tinygen.ops.window import Window


def window_order(window: Window, image: tuple[int, int, int], first: IntArray, count: IntArray) -> Order:
    """A step for each output pixel and group of channels: it reads them of all taps inside, and writes as many.

    `image`: height, width and channels, of a byte each; `first` and `count`: channels of each group, in order.
    """
    height, width, channels = image
    rows, columns = Reach.of(window.rows, height), Reach.of(window.columns, width)
    is_made = ((rows.last >= rows.first)[:, None] & (columns.last >= columns.first))[..., None]
    taps_from, taps_to = (
        ((down[:, None] * width + across) * channels)[..., None]
        for down, across in ((rows.first, columns.first), (rows.last, columns.last))
    )
    pixels = np.arange(is_made.size).reshape(is_made.shape)
    steps = (taps_from + first) * is_made, (taps_to + first + count) * is_made, pixels * channels + first
    reads_from, reads_to, writes_from = (ends.reshape(-1) for ends in steps)
    return Order(reads_from, reads_to, writes_from, writes_from + np.tile(count, is_made.size))
