"""DEPTHWISE_CONV_2D with windows of three rows: channels are taken apart, and SMLAD works on pairs of rows.

For four channels at a time, bytes of two rows are interleaved to words (see `row_pairs`), less the zero point, in
scratch memory; so what lies outside the image counts as zero, and is left out. Then each channel's weights stay in
registers while its outputs are computed in blocks of up to four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing
from tinygen.ir import Shape
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form
from tinygen.kernels.armv7em.depthwise_form import halves, words
from tinygen.kernels.armv7em.finishing import Floats, channel_runs
from tinygen.kernels.armv7em.parting import Groups, Parting
from tinygen.kernels.armv7em.row_blocks import Line, Plane, line
from tinygen.kernels.armv7em.row_pairs import Bands, Rows
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.window import Window
from tinygen.proofs.high_product import HighProduct


class Style(NamedTuple):
    """What memory and code may be spent on speed."""

    scratch: int
    """Bytes that bands are made to fit into, where the width of the image leaves the choice."""
    columns: int
    """Of outputs, at most, that a loop along a row computes each time."""
    groups: tuple[int, ...] = (4,)
    """How many channels to take at a time, the first of these that fits."""


_SMALL, _FAST, _LEAN = Style(4096, columns=4), Style(12288, columns=8), Style(640, columns=4, groups=(4, 2, 1))


_FARTHEST = 4095
"""The greatest offset of LDR and STR."""


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
    parting: Parting
    head: Line | None
    main: Line | None
    tail: Line | None

    @property
    def scratch(self) -> int:
        """Bytes."""
        return 4 * self.parting.groups.group * self.width * self.bands.pairs

    @property
    def encodable(self) -> bool:
        """Whether the offsets fit into the instructions."""
        lines = [part for part in (self.head, self.main, self.tail) if part is not None]
        return self.parting.encodable and all(part.encodable for part in lines)


@lru_cache(maxsize=256)
def _layout(x: Shape, y: Shape, window: Window, style: Style) -> Layout | None:
    """For these shapes, in as few bands as the memory allows; None if there is none."""
    rows = Rows.of(window.rows, x[1])
    if x[0] != 1 or rows is None or not 1 <= window.columns.taps <= 3 or window.columns.dilation != 1:
        return None
    choices = [
        (group, bands)
        for group in style.groups
        for bands in dict.fromkeys(Bands.of(rows, steps) for steps in range(max(rows.count, 1), 0, -1))
    ]
    fitting = [choice for choice in choices if _bytes(x, *choice) <= style.scratch]
    smallest_first = sorted(choices, key=lambda choice: _bytes(x, *choice))
    for group, bands in fitting + smallest_first:
        for interleaved in (False, True):
            found = _with(x, y, window, rows, bands, style.columns, group, interleaved)
            if found is not None and found.encodable:
                return found
    return None


def _bytes(x: Shape, group: int, bands: Bands) -> int:
    """Of a group's pairs."""
    return 4 * min(group, x[3]) * x[2] * bands.pairs


def _with(
    x: Shape, y: Shape, window: Window, rows: Rows, bands: Bands, most: int, group: int, interleaved: bool
) -> Layout | None:
    _, height, width, channels = x
    across = 4 * bands.pairs
    column_step, channel_step = (across * min(group, channels), across) if interleaved else (across, across * width)
    plane = Plane(width, channels, y[2], window.columns, column_step)
    if any(not plane.taps(column) for column in range(y[2])):
        return None

    def lines(kind: str, on: int) -> Line | None:
        return line(plane, kind, most if on else 4, on) if kind else None

    return Layout(
        height=height,
        width=width,
        channels=channels,
        out_width=y[2],
        rows=rows,
        bands=bands,
        plane=plane,
        parting=Parting.of(width, Groups(channels, channel_step, group), column_step),
        head=lines(rows.head, 0),
        main=lines(rows.kind if rows.count else "", 4),
        tail=lines(rows.tail, 0),
    )


def _found(site: Site, style: Style) -> Layout | None:
    op: DepthwiseConv2D = site.op
    return _layout(site.inputs[0].shape, site.outputs[0].shape, op.window, style)


def _accepts(site: Site, style: Style) -> bool:
    return (
        depthwise_form.is_int8(site)
        and site.inputs[1].shape[3] == site.inputs[0].shape[3]
        and _is_distinct(site, style)
        and depthwise_form.form(site) is not None
    )


def _is_distinct(site: Site, style: Style) -> bool:
    """Whether there is a layout, and one that gains something where it is not the usual one."""
    found, usual = _found(site, style), _found(site, _SMALL)
    if found is None or usual is None:
        return False
    return style == _SMALL or (found.scratch < usual.scratch if style == _LEAN else found != usual)


def _stream(site: Site, form: HighProduct) -> npt.NDArray[np.uint32]:
    """The zero point's negative twice in a word; then for each channel weights, multiplier, addend, start and step."""
    op: DepthwiseConv2D = site.op
    taps = depthwise_form.weights(site, form)
    rows = [*halves(taps[0], taps[1]), *halves(taps[1], taps[2])]
    starts = depthwise_form.starts(site, form, folded=False)
    steps = [] if form.step is None else [form.step]
    zero = np.array(-op.zero_point)
    channels = np.stack([*rows, form.multiplier, form.addend, starts, *steps])
    return np.concatenate([words(halves(zero, zero)), words(channels.T)])


def _prepare(site: Site, style: Style) -> Body:
    layout, form = _found(site, style), depthwise_form.form(site)
    assert layout is not None and form is not None
    rows, bands, groups = layout.rows, layout.bands, layout.parting.groups
    out_row = layout.out_width * layout.channels
    kept_words = groups.group * layout.width
    last_whole = bands.last_pairs - rows.odd
    whole = bands.steps + 1 if bands.count > 1 else last_whole
    return Body(
        {
            "l": layout,
            "rows": rows,
            "bands": bands,
            "plane": layout.plane,
            "parting": layout.parting,
            "groups": groups,
            "in_row": layout.width * layout.channels,
            "out_row": out_row,
            "pair_runs": (rows.pairs - rows.odd) * groups.groups,
            "whole_pairs": whole,
            "last_whole": last_whole,
            "kept_words": kept_words,
            "kept_at_once": 4 if kept_words % 4 == 0 and 16 * bands.pairs <= _FARTHEST else 1,
            "weights": _registers(layout.plane.columns.taps),
            "form": form,
            "floats": Floats.of(form),
        },
        {"data": _stream(site, form)},
        variant=f"{layout.height}x{layout.width}x{layout.channels}",
        proof=form.describe(),
        runs=channel_runs(form),
    )


def _registers(taps: int) -> str:
    """Those of the weights."""
    names = [f"r{first + column}" for first in (0, 3) for column in range(taps)]
    return "{" + ", ".join(names) + "}"


def _scratch(site: Site, style: Style) -> int:
    layout = _found(site, style)
    assert layout is not None
    return layout.scratch


def _overlaps(site: Site, style: Style) -> Mapping[int, Spacing]:
    layout = _found(site, style)
    assert layout is not None
    row = layout.width * layout.channels, layout.out_width * layout.channels
    order = layout.bands.order(layout.rows, layout.height, *row)
    return {0: depthwise_form.in_groups(order, layout.parting.groups.groups)}


def _kernel(name: str, style: Style) -> Kernel:
    return Kernel(
        f"depthwise_conv_2d.{name}",
        DepthwiseConv2D,
        partial(_prepare, style=style),
        requires=frozenset({"thumb2", "unaligned", "dsp", "fpu"}),
        accepts=partial(_accepts, style=style),
        overlaps=partial(_overlaps, style=style),
        assembly=True,
        scratch=partial(_scratch, style=style),
    )


KERNELS = (
    _kernel("row_pairs", _SMALL),
    _kernel("row_pairs_unrolled", _FAST),
    _kernel("row_pairs_lean", _LEAN),
)
"""The second for wide images only: the same with fewer bands, which need more memory, and longer loops. The third has
more bands, or takes fewer channels at a time, and needs little memory."""
