"""DEPTHWISE_CONV_2D over windows inside the image: four channels at a time, straight from the interleaved bytes.

Words of two taps are interleaved by PKHBT and PKHTB, and extended to four pairs of values, one for each channel.
Nothing is kept from one output to the next: best where windows overlap little, and where there is one only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form
from tinygen.kernels.armv7em.depthwise_form import halves, words
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.proofs.high_product import HighProduct

_GROUP = 4
_MOST_TAPS = 64
"""Windows up to 8x8 are written out."""
_FARTHEST = 4095
"""The greatest offset of LDR."""


@dataclass(frozen=True)
class Taps:
    """Two taps, or one: offsets of their words from the pointer, which before moves on by so many bytes."""

    move: int
    offsets: tuple[int, ...]


def _steps(offsets: list[int]) -> tuple[Taps, ...]:
    """Of all taps, in their order."""
    steps = []
    base = 0
    for index in range(0, len(offsets), 2):
        two = offsets[index : index + 2]
        move = two[0] - base if two[-1] - base > _FARTHEST else 0
        base += move
        steps.append(Taps(move, tuple(offset - base for offset in two)))
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
    channels = site.inputs[0].shape[3]
    axes = (op.window.rows, op.window.columns)
    return (
        depthwise_form.is_int8(site)
        and site.inputs[1].shape[3] == channels
        and channels >= _GROUP
        and op.window.taps <= _MOST_TAPS
        and all(
            not segment.edge
            for axis, size in zip(axes, site.inputs[0].shape[1:3], strict=True)
            for segment in axis.segments(size)
        )
        and all(step.offsets[-1] <= _FARTHEST for step in _steps(_offsets(site)))
        and depthwise_form.form(site) is not None
    )


def _stream(site: Site, form: HighProduct) -> npt.NDArray[np.uint32]:
    """For each group: starts, weights of two taps in a word for each channel, a last tap's, then the requantisation."""
    taps = depthwise_form.weights(site, form)
    channels = taps.shape[2]
    # The last group begins earlier where channels do not come out even.
    first = np.minimum(np.arange(-(-channels // _GROUP)) * _GROUP, channels - _GROUP)
    of_group = first[:, None] + np.arange(_GROUP)
    flat = taps.reshape(-1, channels)[:, of_group]  # (taps, groups, 4)
    even, odd = flat[0 : len(flat) // 2 * 2 : 2], flat[1::2]
    last = flat[len(flat) // 2 * 2 :]
    single = halves(last[..., :2], last[..., 2:])  # channels 0 and 2, channels 1 and 3
    starts = depthwise_form.starts(site, form, folded=True)[of_group]
    constants = [form.multiplier, form.addend, *([] if form.step is None else [form.step])]
    requantisation = np.stack([values[of_group] for values in constants], axis=2)
    parts = [starts, *halves(even, odd), *single, requantisation.reshape(len(first), -1)]
    return words(np.concatenate(parts, axis=1))


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    form = depthwise_form.form(site)
    assert form is not None
    _, _, width, channels = site.inputs[0].shape
    _, out_height, out_width, _ = site.outputs[0].shape
    rows, columns = op.window.rows, op.window.columns
    steps = _steps(_offsets(site))
    groups = -(-channels // _GROUP)
    return Body(
        {
            "form": form,
            "steps": steps,
            "moved": sum(step.move for step in steps),
            "out_height": out_height,
            "out_width": out_width,
            "channels": channels,
            "groups": groups,
            "whole": channels // _GROUP * _GROUP,
            "skipped": -channels % _GROUP,
            "next_column": (columns.stride - 1) * channels,
            "next_row": (rows.stride * width - out_width * columns.stride) * channels,
        },
        {"data": _stream(site, form)},
        variant=f"{rows.taps}x{columns.taps}x{channels}",
    )


KERNELS = (
    Kernel(
        "depthwise_conv_2d.quads",
        DepthwiseConv2D,
        _prepare,
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=_accepts,
        assembly=True,
    ),
)
