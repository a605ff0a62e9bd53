"""DEPTHWISE_CONV_2D with windows of 3x3, in little code that layers of any size share: what differs is data.

One channel at a time is put into a plane of words, each of two rows that lie one below the other, with a border of zero
points. The words at three columns of two rows of words hold the windows of two outputs, one below the other, so that
pairs of weights (w0, w1) and (w1, w2) of a column are all that either needs: of the first output, SMLAD of the upper
word and SMLABT of the lower one; of the second one, SMLATB and SMLAD. Weights are bytes that are expanded for each
channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.ir import Shape
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form
from tinygen.kernels.armv7em.depthwise_form import halves, words
from tinygen.kernels.armv7em.finishing import Floats
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.window import Window
from tinygen.proofs.high_product import HighProduct

_TAPS = 3
_MOST_SCRATCH = 16384
"""Bytes: the plane is not split."""
_FARTHEST = 4095
"""The greatest constant that ADD takes."""


@dataclass(frozen=True)
class _Plane:
    """Where a channel of an image (height, width) lies in words of two rows; sizes in bytes if not said otherwise."""

    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    window: Window
    turns: int
    """How often a row of words, and the one below it, make outputs: one row, or two where windows overlap so."""

    @staticmethod
    def of(x: Shape, y: Shape, window: Window) -> _Plane:
        turns = y[1] if window.rows.stride == 2 else -(-y[1] // 2)
        return _Plane(x[1], x[2], x[3], y[1], y[2], window, turns)

    @property
    def row(self) -> int:
        """From a row of words to the next."""
        reached = (self.out_width - 1) * self.window.columns.stride + _TAPS
        return 4 * max(reached, self.window.columns.before + self.width)

    @property
    def bytes(self) -> int:
        """Of the whole plane."""
        return self.row * max(self.turns + 1, -(-(self.window.rows.before + self.height) // 2))

    def place(self, row: int) -> int:
        """Of the first halfword of a row of the image."""
        above, half = divmod(self.window.rows.before + row, 2)
        return self.row * above + 2 * half + 4 * self.window.columns.before

    @property
    def step(self) -> int:
        """From the window of an output to that of its neighbour."""
        return 4 * self.window.columns.stride

    def head(self) -> list[int]:
        """What the function reads of this layer before the channels."""
        return [
            self.bytes // 4,
            self.place(0),
            self.place(1),
            self.width * self.channels,
            self.row - 4 * self.width,
            self.height,
            self.channels,
            self.out_width * self.channels,
            self.row - self.out_width * self.step,
            self.row,
            self.out_height,
        ]

    def runs(self, in_float: int) -> dict[str, int]:
        """How often its blocks run, with so many channels that are requantised in float32."""
        columns = self.turns * self.out_width
        return {
            "plane_words": self.bytes // 4,
            "channels": self.channels,
            "row_pairs": self.channels * -(-self.height // 2),
            "pixel_pairs": self.channels * -(-self.height // 2) * self.width,
            "turns": self.channels * self.turns,
            "columns": self.channels * columns,
            "float_columns": in_float * columns,
            "line_columns": (self.channels - in_float) * columns,
        }


def _plane(site: Site) -> _Plane:
    return _Plane.of(site.inputs[0].shape, site.outputs[0].shape, site.op.window)


def _accepts(site: Site) -> bool:
    op: DepthwiseConv2D = site.op
    rows, columns = op.window.rows, op.window.columns
    return (
        depthwise_form.is_int8(site)
        and site.inputs[0].shape[3] == site.outputs[0].shape[3]
        and rows.taps == columns.taps == _TAPS
        and rows.dilation == columns.dilation == 1
        and rows.stride in (1, 2)
        and _plane(site).step <= _FARTHEST
        and _plane(site).bytes <= _MOST_SCRATCH
        and depthwise_form.form(site) is not None
    )


def _bytes_of_weights(site: Site, form: HighProduct) -> npt.NDArray[np.int64]:
    """(3, channels): for each column of the window its three weights, and above those of the first one the scale."""
    weights = site.inputs[1].data
    assert weights is not None
    taps = weights[0].astype(np.int64) & 0xFF
    columns = taps[0] | taps[1] << 8 | taps[2] << 16
    columns[0] |= np.asarray(form.scale, np.int64) << 24
    return np.asarray(columns)


def _stream(site: Site, form: HighProduct) -> npt.NDArray[np.uint32]:
    op: DepthwiseConv2D = site.op
    zero = np.array(op.zero_point)
    starts = depthwise_form.starts(site, form, folded=True)
    steps = [] if form.step is None else [form.step]
    channels = np.stack([form.multiplier, form.addend, starts, *steps, *_bytes_of_weights(site, form)])
    return np.concatenate([words(halves(zero, zero)), words(np.array(_plane(site).head())), words(channels.T)])


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    form, plane = depthwise_form.form(site), _plane(site)
    assert form is not None
    return Body(
        {"form": form, "floats": Floats.of(form), "step": plane.step, "two_rows": op.window.rows.stride == 1},
        {"data": _stream(site, form)},
        variant=f"stride_{op.window.rows.stride}",
        proof=form.describe(),
        runs=plane.runs(int(form.in_float.sum())),
    )


KERNELS = (
    Kernel(
        "depthwise_conv_2d.3x3_small",
        DepthwiseConv2D,
        _prepare,
        requires=frozenset({"thumb2", "unaligned", "dsp", "fpu"}),
        accepts=_accepts,
        overlaps=lambda site: {0: depthwise_form.at_once(site, groups=site.inputs[0].shape[3])},
        assembly=True,
        scratch=lambda site: _plane(site).bytes,
    ),
)
