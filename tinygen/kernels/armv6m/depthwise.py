"""DEPTHWISE_CONV_2D channel by channel: a plane of words, and windows of any size that slide over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, by_channels, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing
from tinygen.kernels.armv6m.word_plane import WordPlane, word_plane
from tinygen.ops.common import INT8
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D

_MOST_TAPS = 48
"""So many are written out, and fit with the filter's constants into the immediate of an addition."""
_TAPS = 3
"""Taps that are multiplied at a time."""
_NEAR_TAPS = 24
"""So many instructions conditional branches reach over."""
_WORDS = 512
"""Of a plane: with so many rows bands cost little."""
_FEW_WORDS = 96


class Taps(NamedTuple):
    """Neighbours in a row that are multiplied at a time."""

    words: int
    ends_row: bool


class Weight(NamedTuple):
    """A byte that becomes a word."""

    register: str
    offset: int


class Group(NamedTuple):
    """Weights that become words at a time; then the pointer advances."""

    weights: tuple[Weight, ...]
    advance: int

    @property
    def registers(self) -> str:
        """In a list."""
        return ", ".join(weight.register for weight in self.weights)


def _plane(site: Site, most_words: int) -> WordPlane | None:
    op: DepthwiseConv2D = site.op
    return word_plane(site.inputs[0].shape, site.outputs[0].shape, op.window, most_words)


def _accepts(site: Site, most_words: int) -> bool:
    op: DepthwiseConv2D = site.op
    x, weights, _ = site.inputs
    if not (
        x.dtype == INT8
        and x.shape[0] == 1
        and weights.dtype == INT8
        and not weights.packed
        and op.weight_zero_point == 0
        and op.window.taps <= _MOST_TAPS
    ):
        return False
    plane, usual = _plane(site, most_words), _plane(site, _WORDS)
    is_distinct = most_words == _WORDS or plane != usual
    return plane is not None and is_distinct and plane.filters <= 255 and finishing.proved(site) is not None


def _groups(taps: int, stored: int) -> Sequence[Group]:
    """The filter's weights, `stored` bytes of which the last may be none; the pointer goes on before offsets end."""
    found = []
    offset = 0
    for first in range(0, taps, _TAPS):
        count = min(_TAPS, taps - first)
        weights = tuple(Weight(f"r{4 + index}", offset + index) for index in range(count))
        offset += count
        is_last = first + count == taps
        advance = offset + (stored - taps) if is_last else offset if offset + _TAPS > 32 else 0
        offset = 0 if advance else offset
        found.append(Group(weights, advance))
    return found


def _runs(plane: WordPlane) -> Sequence[Taps]:
    lengths = [min(_TAPS, plane.columns.taps - first) for first in range(0, plane.columns.taps, _TAPS)]
    row = [Taps(length, index == len(lengths) - 1) for index, length in enumerate(lengths)]
    return row * plane.rows.taps


def _prepare(site: Site, most_words: int) -> Body:
    op: DepthwiseConv2D = site.op
    plane, form = _plane(site, most_words), finishing.proved(site)
    weights, bias = site.inputs[1].data, site.inputs[2].data
    assert plane is not None and form is not None and weights is not None and bias is not None
    taps = op.window.taps
    stored = -(-taps // 4) * 4
    data = np.zeros((weights.shape[3], stored), np.int8)
    data[:, :taps] = weights.reshape(taps, -1).T
    short = finishing.is_short(form)
    constants = finishing.constants(form, op.folded_bias(weights, bias), short)
    filters = np.hstack([data.view("<u4"), constants])
    stream: npt.NDArray[np.uint32] = np.concatenate(
        [streams.words(np.array(plane.head(op.zero_point))), filters.reshape(-1)]
    )
    return Body(
        {
            "p": plane,
            "f": finishing.Finish(form, ("r2", "r3", "r4", "r6", "r7")),
            "frame": 4 * (taps + constants.shape[1] + short),
            "short": short,
            "groups": _groups(taps, stored),
            "constants": _lists(constants.shape[1] - short),
            "taps": _runs(plane),
            "is_long": taps > _NEAR_TAPS,
            "quads": plane.width >= 4,
            "rest": plane.width % 4,
        },
        {"data": stream},
        variant=f"{plane.rows.taps}x{plane.columns.taps}",
        proof=form.describe(),
        runs=plane.runs(),
        apart=form.near is not None,
    )


def _lists(words: int) -> Sequence[str]:
    """Registers that words are copied through, as few times as can be."""
    names = [f"r{number}" for number in (1, 3, 4, 5, 6, 7)]
    return [", ".join(names[: min(len(names), words - first)]) for first in range(0, words, len(names))]


def _scratch(site: Site, most_words: int) -> int:
    plane, form = _plane(site, most_words), finishing.proved(site)
    assert plane is not None and form is not None
    return int(4 * (plane.words + site.op.window.taps + finishing.constants(form, form.origin).shape[1]))


def _overlaps(site: Site, most_words: int) -> Mapping[int, Spacing]:
    """Where a channel has several filters, its outputs are not in its place."""
    plane = _plane(site, most_words)
    assert plane is not None
    if plane.filters > 1:
        return {}
    return {0: spacing(plane.order()) if plane.channels == 1 else by_channels(plane.order())}


KERNELS = tuple(
    Kernel(
        name,
        DepthwiseConv2D,
        partial(_prepare, most_words=most_words),
        requires=finishing.FEATURES,
        accepts=partial(_accepts, most_words=most_words),
        overlaps=partial(_overlaps, most_words=most_words),
        assembly=True,
        scratch=partial(_scratch, most_words=most_words),
    )
    for name, most_words in (
        ("depthwise_conv_2d.word_plane", _WORDS),
        ("depthwise_conv_2d.word_plane_lean", _FEW_WORDS),
    )
)
"""The second where it needs less memory: with shorter bands."""
