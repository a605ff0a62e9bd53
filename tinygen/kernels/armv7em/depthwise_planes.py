"""DEPTHWISE_CONV_2D with windows of any size: channels are taken apart into planes, with a border of zeros around.

A plane holds a channel column by column, int16 after int16, so that a word at any halfword is a pair of neighbouring
rows; and a column of a window is a few such words, multiplied by as many words of weights (a last one, of an odd number
of rows, has a zero). Up to four outputs of a column are computed together: where their windows share a word, it is
loaded once, so that of stride 1 it is every other output that goes together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing
from tinygen.ir import Shape
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form
from tinygen.kernels.armv7em.depthwise_form import halves, words
from tinygen.kernels.armv7em.finishing import Floats, channel_runs
from tinygen.kernels.armv7em.parting import Groups, Parting
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.window import Window
from tinygen.proofs.high_product import HighProduct

_ACCUMULATORS = ("r8", "r9", "r10", "r11")
_WEIGHTS = ("r0", "r1", "r2", "r3", "r4", "r5")
"""Of these, r5 is the pointer to the weights where there are more than six words."""
_DATA = ("r6", "r7")

_MOST_SCRATCH = 16384
"""Bytes: planes are not split, and there are cheaper ways than this to use much memory."""
_MOST_CODE = 600
"""Instructions of the blocks that are written out."""
_FARTHEST = 4095
"""The greatest offset of LDR."""


@dataclass(frozen=True)
class Product:
    """SMLAD of a word of the plane and one of weights; the addend differs from the accumulator at its start."""

    accumulator: str
    data: str
    weights: str
    addend: str


@dataclass(frozen=True)
class Load:
    """Words of the plane that are loaded together, and what they are multiplied by."""

    words: tuple[tuple[str, int], ...]
    """Register and offset."""
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Part:
    """A column of the window, or a part of it: the registers that its weights are loaded into (none: they stay)."""

    weights: tuple[str, ...]
    loads: tuple[Load, ...]


@dataclass(frozen=True)
class Outputs:
    """A block of outputs of one column: accumulators, and offsets of their bytes."""

    parts: tuple[Part, ...]
    results: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Column:
    """A column of outputs: blocks in a loop, blocks that follow, and how far the loop moves the pointers each time."""

    looped: tuple[Outputs, ...]
    times: int
    rest: tuple[Outputs, ...]
    move_x: int
    move_y: int


@dataclass(frozen=True)
class Planes:
    """All of a kernel that follows from shapes."""

    parting: Parting
    height: int
    filters: int
    """Of each channel."""
    out_height: int
    out_width: int
    column_step: int
    first: int
    """Bytes from a plane's beginning to the image's."""
    bordered: bool
    scratch: int
    stays: bool
    """Whether all weights of a filter are kept in registers."""
    column: Column
    next_column: int
    """Bytes of the plane between the windows of neighbouring outputs."""

    @property
    def encodable(self) -> bool:
        """Whether offsets fit into the instructions, and what is written out into a reasonable size."""
        blocks = (*self.column.looped, *self.column.rest)
        loads = [load for block in blocks for part in block.parts for load in part.loads]
        offsets = [offset for load in loads for _, offset in load.words]
        code = sum(len(load.words) + len(load.products) for load in loads)
        return self.parting.encodable and max(offsets) <= _FARTHEST and code <= _MOST_CODE


@lru_cache(maxsize=256)
def _planes(x: Shape, y: Shape, window: Window) -> Planes | None:
    if x[0] != 1 or window.rows.dilation != 1:
        return None
    found = (_with(x, y, window, interleaved) for interleaved in (False, True))
    return next((planes for planes in found if planes.encodable and planes.scratch <= _MOST_SCRATCH), None)


def _with(x: Shape, y: Shape, window: Window, interleaved: bool) -> Planes:
    _, height, width, channels = x
    rows, columns = window.rows, window.columns
    pairs = -(-rows.taps // 2)
    # Rows begin at a word where that costs nothing: of stride 2, windows should.
    top = rows.before if rows.stride == 2 else rows.before + rows.before % 2
    start = top - rows.before
    below = start + (y[1] - 1) * rows.stride + rows.taps
    length = max(start + (y[1] - 1) * rows.stride + 2 * pairs, top + 2 * -(-height // 2))
    column_bytes = 2 * (length + length % 2)
    reached = (y[2] - 1) * columns.stride + columns.extent
    plane_width = max(columns.before + width, reached)
    group = min(4, channels)
    column_step, channel_step = (
        (column_bytes * group, column_bytes) if interleaved else (column_bytes, column_bytes * plane_width)
    )
    stays = columns.taps * pairs <= len(_WEIGHTS)
    out_row = y[2] * y[3]
    column = _column(window, y[1], pairs, start, column_step * columns.dilation, out_row, stays)
    return Planes(
        parting=Parting.of(width, Groups(channels, channel_step), column_step),
        height=height,
        filters=y[3] // channels,
        out_height=y[1],
        out_width=y[2],
        column_step=column_step,
        first=columns.before * column_step + 2 * top,
        bordered=max(rows.before, columns.before) > 0 or below > top + height or reached > columns.before + width,
        scratch=column_bytes * plane_width * group,
        stays=stays,
        column=column,
        next_column=columns.stride * column_step,
    )


def _column(window: Window, height: int, pairs: int, start: int, tap_step: int, out_row: int, stays: bool) -> Column:
    """Every other output goes together where the stride is odd."""
    stride = window.rows.stride
    sets = 2 if stride == 1 else 1
    count = len(_ACCUMULATORS) * sets
    times = height // count if height >= 2 * count else 0

    def blocks(rows: range) -> tuple[Outputs, ...]:
        alike = [rows[first::sets] for first in range(sets)]
        fours = [part[index : index + 4] for part in alike for index in range(0, len(part), 4)]
        return tuple(_block(window, part, pairs, start, tap_step, out_row, stays) for part in fours)

    return Column(
        looped=blocks(range(count)) if times else (),
        times=times,
        rest=blocks(range(height - times * count)),
        move_x=2 * stride * count,
        move_y=out_row * count,
    )


def _block(window: Window, rows: range, pairs: int, start: int, tap_step: int, out_row: int, stays: bool) -> Outputs:
    registers = dict(zip(rows, _ACCUMULATORS, strict=False))
    last = list(registers.values())[-1]
    started: set[str] = set()
    most = len(_WEIGHTS) if stays else len(_WEIGHTS) - 1
    parts = []
    for tap in range(window.columns.taps):
        for first in range(0, pairs, most):
            chunk = range(first, min(first + most, pairs))
            kept = _WEIGHTS[tap * pairs :] if stays else _WEIGHTS
            used: dict[int, list[tuple[str, str]]] = {}
            for row, register in registers.items():
                for place, pair in enumerate(chunk):
                    offset = tap * tap_step + 2 * (start + row * window.rows.stride + 2 * pair)
                    used.setdefault(offset, []).append((register, kept[place]))
            loads = []
            offsets = sorted(used)
            for index in range(0, len(offsets), len(_DATA)):
                loaded = tuple(zip(_DATA, offsets[index : index + len(_DATA)], strict=False))
                products = []
                for data, offset in loaded:
                    for register, weights in used[offset]:
                        products.append(Product(register, data, weights, register if register in started else last))
                        started.add(register)
                loads.append(Load(loaded, tuple(products)))
            parts.append(Part(() if stays else _WEIGHTS[: len(chunk)], tuple(loads)))
    return Outputs(tuple(parts), tuple((register, row * out_row) for row, register in registers.items()))


def _found(site: Site) -> Planes | None:
    op: DepthwiseConv2D = site.op
    return _planes(site.inputs[0].shape, site.outputs[0].shape, op.window)


def _accepts(site: Site) -> bool:
    return depthwise_form.is_int8(site) and _found(site) is not None and depthwise_form.form(site) is not None


def _stream(site: Site, form: HighProduct) -> npt.NDArray[np.uint32]:
    """The zero point's negative twice in a word; for each filter the requantisation, the start, and its weights."""
    op: DepthwiseConv2D = site.op
    taps = depthwise_form.weights(site, form)
    if taps.shape[0] % 2:
        taps = np.concatenate([taps, np.zeros_like(taps[:1])])
    pairs = halves(taps[0::2], taps[1::2])  # (pairs, columns, filters)
    weights = pairs.transpose(1, 0, 2).reshape(-1, taps.shape[2])
    starts = depthwise_form.starts(site, form, folded=False)
    steps = [] if form.step is None else [form.step]
    zero = np.array(-op.zero_point)
    filters = np.stack([form.multiplier, form.addend, starts, *steps, *weights])
    return np.concatenate([words(halves(zero, zero)), words(filters.T)])


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    planes, form = _found(site), depthwise_form.form(site)
    assert planes is not None and form is not None
    groups = planes.parting.groups
    weight_words = -(-op.window.rows.taps // 2) * op.window.columns.taps
    return Body(
        {
            "p": planes,
            "parting": planes.parting,
            "groups": groups,
            "form": form,
            "floats": Floats.of(form),
            "count": groups.channels * planes.filters,
            "whole_pairs": planes.height // 2,
            "odd": planes.height % 2,
            "clear": -(-planes.scratch // 4),
            "weight_words": weight_words,
            "kept": "{" + ", ".join(_WEIGHTS[:weight_words]) + "}",
        },
        {"data": _stream(site, form)},
        variant=f"{planes.height}x{planes.parting.width}x{groups.channels}",
        proof=form.describe(),
        runs=channel_runs(form),
    )


def _scratch(site: Site) -> int:
    planes = _found(site)
    assert planes is not None
    return planes.scratch


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    """Where a channel has several filters, its outputs are not in its place."""
    planes = _found(site)
    assert planes is not None
    groups = planes.parting.groups.groups
    return {0: depthwise_form.at_once(site, groups)} if planes.filters == 1 or groups == 1 else {}


KERNELS = (
    Kernel(
        "depthwise_conv_2d.planes",
        DepthwiseConv2D,
        _prepare,
        requires=frozenset({"thumb2", "unaligned", "dsp", "fpu"}),
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=_scratch,
    ),
)
