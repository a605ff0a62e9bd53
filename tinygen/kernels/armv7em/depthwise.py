"""DEPTHWISE_CONV_2D with windows of three rows: channels are taken apart, and SMLAD works on pairs of rows.

For four channels at a time, bytes of two rows are interleaved to words (see `row_pairs`), less the zero point, in
scratch memory; so what lies outside the image counts as zero, and is left out. Then each channel's weights stay in
registers while its outputs are computed in blocks of up to four.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray, RealRequant, Requant
from tinygen.ir import Shape
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.row_blocks import Line, Plane, line
from tinygen.kernels.armv7em.row_pairs import Bands, Rows
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.window import Window
from tinygen.proofs.high_product import HighProduct, prove_high_product

_SCALES = (1, 2, 3, 4, 5, 7, 9, 11, 13, 16, 19, 23, 29, 37, 47, 59, 73, 91, 113, 127, 149, 181, 211, 251)
"""What the weights of a channel may be multiplied by to make its requantisation provable."""

_SCRATCH = 4096
"""Bytes that bands are made to fit into, where the width of the image leaves the choice."""

_FARTHEST = 4095
"""The greatest offset of LDR, LDRSB and STR."""

_STRAIGHT = 6
"""Columns of rows that are taken apart without a loop."""


@dataclass(frozen=True)
class Parting:
    """How the columns of two rows are taken apart: `times` a run of `columns` in a loop, then the `rest`."""

    columns: int
    times: int
    rest: int

    @staticmethod
    def of(width: int) -> Parting:
        """Few columns at once; of several numbers of them, the one that leaves the least rest."""
        if width <= _STRAIGHT:
            return Parting(0, 0, width)
        columns = min(range(_STRAIGHT, 2, -1), key=lambda number: width % number)
        return Parting(columns, width // columns, width % columns)


@dataclass(frozen=True)
class Layout:
    """All of a kernel that follows from shapes."""

    height: int
    width: int
    channels: int
    out_width: int
    rows: Rows
    bands: Bands
    plane: Plane
    channel_step: int
    """Bytes from a channel's pairs to the next channel's, in the scratch memory."""
    parting: Parting
    head: Line | None
    main: Line | None
    tail: Line | None

    @property
    def group(self) -> int:
        """Channels that are taken apart at a time."""
        return min(4, self.channels)

    @property
    def groups(self) -> int:
        """How many; the last begins earlier where they do not come out even."""
        return -(-self.channels // self.group)

    @property
    def scratch(self) -> int:
        """Bytes."""
        return 4 * self.group * self.width * self.bands.pairs

    @property
    def encodable(self) -> bool:
        """Whether the offsets fit into the instructions."""
        columns = max(self.parting.columns, self.parting.rest)
        stored = (self.group - 1) * self.channel_step + (columns - 1) * self.plane.column_step
        loaded = columns * self.channels
        lines = [part for part in (self.head, self.main, self.tail) if part is not None]
        return max(stored, loaded) <= _FARTHEST and all(part.encodable for part in lines)


@lru_cache(maxsize=256)
def _layout(x: Shape, y: Shape, window: Window, body: int) -> Layout | None:
    """For these shapes, with `body` blocks in a loop: as few bands as the memory allows; None if there is none."""
    rows = Rows.of(window.rows, x[1])
    if x[0] != 1 or rows is None or not 1 <= window.columns.taps <= 3 or window.columns.dilation != 1:
        return None
    smallest = None
    for steps in range(max(rows.count, 1), 0, -1):
        for interleaved in (False, True):
            found = _with(x, y, window, rows, Bands.of(rows, steps), body, interleaved)
            if found is not None and found.encodable:
                smallest = found
                if found.scratch <= _SCRATCH:
                    return found
    return smallest


def _with(x: Shape, y: Shape, window: Window, rows: Rows, bands: Bands, body: int, interleaved: bool) -> Layout | None:
    _, height, width, channels = x
    across = 4 * bands.pairs
    column_step, channel_step = (across * min(4, channels), across) if interleaved else (across, across * width)
    plane = Plane(width, channels, y[2], window.columns, column_step)
    if any(not plane.taps(column) for column in range(y[2])):
        return None

    def lines(kind: str, on: int) -> Line | None:
        return line(plane, kind, body, on) if kind else None

    return Layout(
        height=height,
        width=width,
        channels=channels,
        out_width=y[2],
        rows=rows,
        bands=bands,
        plane=plane,
        channel_step=channel_step,
        parting=Parting.of(width),
        head=lines(rows.head, 0),
        main=lines(rows.kind if rows.count else "", 4),
        tail=lines(rows.tail, 0),
    )


def _found(site: Site, body: int) -> Layout | None:
    op: DepthwiseConv2D = site.op
    return _layout(site.inputs[0].shape, site.outputs[0].shape, op.window, body)


def _form(site: Site) -> HighProduct | None:
    """The requantisation, with weights that are scaled by as much as int16 allows or less."""
    op: DepthwiseConv2D = site.op
    weights = site.inputs[1].data
    assert weights is not None
    low, high = op.reach(site.inputs)
    most = 32767 // max(1, int(np.abs(weights.astype(np.int64)).max()))
    return _proved(op.requant, op.output_zero_point, op.clamp, tuple(low.tolist()), tuple(high.tolist()), most)


@lru_cache(maxsize=64)
def _proved(
    requant: Requant | RealRequant,
    zero_point: int,
    clamp: Clamp,
    low: tuple[int, ...],
    high: tuple[int, ...],
    most: int,
) -> HighProduct | None:
    scales = [scale for scale in _SCALES if scale <= most]
    return prove_high_product(requant, zero_point, clamp, np.array(low), np.array(high), scale=scales)


def _accepts(site: Site) -> bool:
    op: DepthwiseConv2D = site.op
    x, weights, _ = site.inputs
    return (
        x.dtype == INT8
        and weights.dtype == INT8
        and not weights.packed
        and op.weight_zero_point == 0
        and weights.shape[3] == x.shape[3]
        and _found(site, 1) is not None
        and _form(site) is not None
    )


def _stream(site: Site, form: HighProduct) -> npt.NDArray[np.uint32]:
    """The zero point's negative twice in a word; then for each channel weights, multiplier, addend, start and step."""
    op: DepthwiseConv2D = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    taps = weights.data[0].astype(np.int64) * form.scale  # (rows, columns, channels)
    start = bias.data.astype(np.int64) * form.scale + form.start
    steps = [] if form.step is None else [form.step]
    words = np.stack(
        [*_halves(taps[0], taps[1]), *_halves(taps[1], taps[2]), form.multiplier, form.addend, start, *steps]
    )
    zero = np.array([-op.zero_point & 0xFFFF]) * 0x10001
    return np.concatenate([zero, words.T.reshape(-1) & 0xFFFFFFFF]).astype(np.uint32)


def _halves(below: IntArray, above: IntArray) -> IntArray:
    return np.asarray(below & 0xFFFF | (above & 0xFFFF) << 16)


def _prepare(site: Site) -> Body:
    layout, form = _found(site, 1), _form(site)
    assert layout is not None and form is not None
    rows, bands = layout.rows, layout.bands
    out_row = layout.out_width * layout.channels
    last_whole = bands.last_pairs - rows.odd
    whole = bands.steps + 1 if bands.count > 1 else last_whole
    return Body(
        {
            "l": layout,
            "rows": rows,
            "bands": bands,
            "plane": layout.plane,
            "parting": layout.parting,
            "group": layout.group,
            "skipped": (layout.group - layout.channels) % layout.group,
            "in_row": layout.width * layout.channels,
            "out_row": out_row,
            "pair_runs": ((bands.count - 1) * whole + last_whole) * layout.groups,
            "whole_pairs": whole,
            "last_whole": last_whole,
            "whole_channels": layout.channels // layout.group * layout.group,
            "weights": _registers(layout.plane.columns.taps),
            "form": form,
        },
        {"data": _stream(site, form)},
        variant=f"{layout.height}x{layout.width}x{layout.channels}",
    )


def _registers(taps: int) -> str:
    """Those of the weights."""
    names = [f"r{first + column}" for first in (0, 3) for column in range(taps)]
    return "{" + ", ".join(names) + "}"


KERNELS = (
    Kernel(
        "depthwise_conv_2d.row_pairs",
        DepthwiseConv2D,
        _prepare,
        requires=frozenset({"thumb2", "unaligned", "dsp", "fpu"}),
        accepts=_accepts,
        assembly=True,
        scratch=lambda site: layout.scratch if (layout := _found(site, 1)) is not None else 0,
    ),
)
