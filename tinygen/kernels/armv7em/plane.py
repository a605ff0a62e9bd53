"""The geometry of a convolution as kernels in assembly want it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.ir import Array
from tinygen.kernel import Site
from tinygen.ops.window import Axis


@dataclass(frozen=True, eq=False)
class Plane:
    """One image, windows that slide over it, and the filters (n, rows, columns, channels)."""

    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    rows: Axis
    columns: Axis
    weights: Array
    packs: bool = True
    """Whether the weights may be packed (see `packing`), for all that is known of their sums."""

    @staticmethod
    def of(site: Site) -> Plane:
        """That of a CONV_2D. One column is taken for one row, the same bytes: runs then are as long as can be."""
        (_, height, width, channels), (_, out_height, out_width, _) = site.inputs[0].shape, site.outputs[0].shape
        weights = site.inputs[1].data
        assert weights is not None
        window = site.op.window
        rows, columns = window.rows, window.columns
        if width == out_width == columns.taps == 1 and not columns.before:
            weights = weights.reshape(len(weights), columns.taps, rows.taps, channels)
            return Plane(width, height, channels, out_width, out_height, replace(columns, stride=1), rows, weights)
        return Plane(height, width, channels, out_height, out_width, rows, columns, weights)

    @property
    def filters(self) -> int:
        """Number of filters."""
        return len(self.weights)

    @property
    def is_dense(self) -> bool:
        """Whether taps are neighbours, down and across."""
        return all(axis.dilation == 1 or axis.taps == 1 for axis in (self.rows, self.columns))

    @property
    def variant(self) -> str:
        """For names of functions."""
        window = f"{self.rows.taps}x{self.columns.taps}x{self.channels}"
        return f"{window}_{self.filters}_{self.out_height}x{self.out_width}"

    @property
    def in_rows(self) -> IntArray:
        """(output rows, taps): the input row of each tap; outside the image, too."""
        return _positions(self.rows, self.out_height)

    @property
    def in_columns(self) -> IntArray:
        """(output columns, taps): the same for columns."""
        return _positions(self.columns, self.out_width)


def _positions(axis: Axis, count: int) -> IntArray:
    first = np.arange(count)[:, None] * axis.stride - axis.before
    return np.asarray(first + np.arange(axis.taps) * axis.dilation)
