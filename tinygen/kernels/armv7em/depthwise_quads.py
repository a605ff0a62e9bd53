"""DEPTHWISE_CONV_2D without memory for itself: four channels at a time, straight from the interleaved bytes.

Words of two taps are interleaved by PKHBT and PKHTB, and extended to four pairs of values, one for each channel. Taps
outside of the image are words of the zero point, so that all windows have the same weights. Nothing is kept from one
output to the next: best where windows overlap little, where there are few rows, and where the output is to follow
closely behind the input in one memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.fixedpoint import IntArray
from tinygen.interval import BoolArray
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form, finishing
from tinygen.kernels.armv7em.depthwise_form import halves, words
from tinygen.kernels.armv7em.finishing import Counts, Floats, Marking
from tinygen.kernels.armv7em.saturation import in_each_byte
from tinygen.kernels.armv7em.window_order import window_order
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.window import Axis
from tinygen.proofs.high_product import HighProduct

_GROUP = 4
_MOST_TAPS = 96
"""Of all kinds of windows together, which are written out: 3x3 on all sides of the border and inside are 81."""
_FARTHEST = 4095
"""The greatest offset of LDR."""


@dataclass(frozen=True)
class Taps:
    """Two taps, or one: offsets of their words from the pointer, which before moves on by so many bytes.

    None: the tap is outside of the image.
    """

    move: int
    offsets: tuple[int | None, ...]


@dataclass(frozen=True)
class Outputs:
    """So many neighbouring outputs of a row whose windows reach equally far over the border."""

    count: int
    steps: tuple[Taps, ...]


@dataclass(frozen=True)
class Rows:
    """So many rows of outputs that are alike."""

    count: int
    runs: tuple[Outputs, ...]


def _positions(axis: Axis, size: int) -> IntArray:
    """(outputs, taps): input positions, those beyond the border, too."""
    first = np.arange(axis.output_size(size)) * axis.stride - axis.before
    return np.asarray(first[:, None] + np.arange(axis.taps) * axis.dilation)


def _alike(axis: Axis, size: int) -> list[tuple[int, BoolArray]]:
    """Runs of outputs: how many, and which of their taps are inside."""
    positions = _positions(axis, size)
    inside = (positions >= 0) & (positions < size)
    return [(len(list(run)), np.array(taps)) for taps, run in itertools.groupby(map(tuple, inside.tolist()))]


def _rows(site: Site) -> tuple[Rows, ...]:
    op: DepthwiseConv2D = site.op
    _, height, width, _ = site.inputs[0].shape
    columns = _alike(op.window.columns, width)
    offsets = _offsets(site)
    return tuple(
        Rows(
            count,
            tuple(
                Outputs(times, _steps(offsets, np.logical_and.outer(down, across).reshape(-1).tolist()))
                for times, across in columns
            ),
        )
        for count, down in _alike(op.window.rows, height)
    )


def _steps(offsets: list[int], inside: list[bool]) -> tuple[Taps, ...]:
    """Of all taps, in their order; the pointer moves alike for all windows."""
    steps = []
    base = 0
    for index in range(0, len(offsets), 2):
        two = offsets[index : index + 2]
        move = two[0] - base if two[-1] - base > _FARTHEST else 0
        base += move
        taps = zip(two, inside[index:], strict=False)
        steps.append(Taps(move, tuple(offset - base if is_inside else None for offset, is_inside in taps)))
    return tuple(steps)


def _offsets(site: Site) -> list[int]:
    """Bytes from a window's first tap to each, row by row."""
    op: DepthwiseConv2D = site.op
    _, _, width, channels = site.inputs[0].shape
    rows, columns = op.window.rows, op.window.columns
    return [
        (row * rows.dilation * width + column * columns.dilation) * channels
        for row in range(rows.taps)
        for column in range(columns.taps)
    ]


def _accepts(site: Site) -> bool:
    op: DepthwiseConv2D = site.op
    _, height, width, channels = site.inputs[0].shape
    kinds = len(_alike(op.window.rows, height)) * len(_alike(op.window.columns, width))
    offsets = _offsets(site)
    return (
        depthwise_form.is_int8(site)
        and site.inputs[1].shape[3] == channels
        and channels >= _GROUP
        and kinds * op.window.taps <= _MOST_TAPS
        and all(right - left <= _FARTHEST for left, right in zip(offsets[::2], offsets[1::2], strict=False))
        and depthwise_form.form(site) is not None
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    """The last four channels of an output may have some of those before again."""
    op: DepthwiseConv2D = site.op
    _, height, width, channels = site.inputs[0].shape
    groups = _first_channels(channels)
    return {0: spacing(window_order(op.window, (height, width, channels), groups, np.full_like(groups, _GROUP)))}


def _first_channels(channels: int) -> IntArray:
    """Of each group; the last begins earlier where channels do not come out even."""
    return np.minimum(np.arange(-(-channels // _GROUP)) * _GROUP, channels - _GROUP)


def _stream(site: Site, form: HighProduct) -> npt.NDArray[np.uint32]:
    """For each group: starts, weights of two taps in a word for each channel, a last tap's, then the requantisation."""
    taps = depthwise_form.weights(site, form)
    channels = taps.shape[2]
    first = _first_channels(channels)
    of_group = first[:, None] + np.arange(_GROUP)
    flat = taps.reshape(-1, channels)[:, of_group]  # (taps, groups, 4)
    even, odd = flat[0 : len(flat) // 2 * 2 : 2], flat[1::2]
    last = flat[len(flat) // 2 * 2 :]
    single = halves(last[..., :2], last[..., 2:])  # channels 0 and 2, channels 1 and 3
    starts = depthwise_form.starts(site, form, folded=True)[of_group]
    requantisation = finishing.constants(form)[of_group]
    parts = [starts, *halves(even, odd), *single, requantisation.reshape(len(first), -1)]
    return words(np.concatenate(parts, axis=1))


_COUNTS = tuple(Counts.every(_GROUP, channel) for channel in range(_GROUP))


def _runs(form: HighProduct) -> dict[str, int]:
    """How many channels of each of four are in float32, and how many are not; some count in two groups."""
    if Floats.of(form) is None:
        return {}
    first = _first_channels(len(form.start))
    runs = [counts.among(form.in_float[first + channel]) for channel, counts in enumerate(_COUNTS)]
    return dict(item for each in runs for item in each.items())


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    form = depthwise_form.form(site)
    assert form is not None
    _, _, width, channels = site.inputs[0].shape
    _, out_height, out_width, _ = site.outputs[0].shape
    rows, columns = op.window.rows, op.window.columns
    kinds = _rows(site)
    return Body(
        {
            "form": form,
            "floats": Floats.of(form),
            "marking": Marking.of(form),
            "counts": _COUNTS,
            "rows": kinds,
            "bordered": any(None in step.offsets for row in kinds for run in row.runs for step in run.steps),
            "outside": in_each_byte(op.zero_point & 255),
            "moved": sum(step.move for step in kinds[0].runs[0].steps),
            "outputs": out_height * out_width,
            "channels": channels,
            "groups": -(-channels // _GROUP),
            "whole": channels // _GROUP * _GROUP,
            "skipped": -channels % _GROUP,
            "first": -(rows.before * width + columns.before) * channels,
            "next_column": (columns.stride - 1) * channels,
            "next_row": (rows.stride * width - out_width * columns.stride) * channels,
        },
        {"data": _stream(site, form)},
        variant=f"{rows.taps}x{columns.taps}x{channels}",
        proof=form.describe(),
        runs=_runs(form),
    )


KERNELS = (
    Kernel(
        "depthwise_conv_2d.quads",
        DepthwiseConv2D,
        _prepare,
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
    ),
)
