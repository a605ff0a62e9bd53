"""DEPTHWISE_CONV_2D of 3x3 windows, two outputs at a time in the halves of a word (see `lane_plane`).

A product of a word with a weight is two products. The nine taps are cut into groups whose weights come to no more than
255 in magnitude, so that a group's sums lie within 16 bits each, whatever the input, and the word can be taken apart.
A group is a row of taps, two rows, or a part of a row: each filter has the cut that takes least. There are some cuts;
for each of them the products are written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, by_channels, spacing
from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing
from tinygen.kernels.armv6m.lane_plane import TURN, LanePlane, lane_plane
from tinygen.ops.common import INT8
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.proofs.short_product import ShortProduct

_MOST = 255
"""Magnitudes of a group's weights, together."""
_WORDS = 1024
"""Of a plane."""
_STORED = 12
"""Bytes of a filter's weights: the tenth says which cut it has."""
_TAPS = 3
"""In a row of taps, of which there are as many."""
_FREE = ("r0", "r2", "r4", "r5", "r6", "r7")
"""For constants; the first one is the sum's, too."""
_RESULTS = 4
"""At a time: two neighbours in each half."""


@dataclass(frozen=True)
class Cut:
    """How the taps are cut into groups."""

    name: str
    split: tuple[bool, bool, bool]
    """For each row of taps, whether its first two are a group and the last is one; else all three are."""
    joined: int | None = None
    """The row that is one group with the row below it."""

    @property
    def text(self) -> str:
        """In words."""
        return self.name.replace("_", " ")

    def groups(self) -> list[list[int]]:
        """The taps of each, in the order of rows."""
        rows = [list(range(first, first + _TAPS)) for first in range(0, _TAPS * _TAPS, _TAPS)]
        found: list[list[int]] = []
        for number, row in enumerate(rows):
            if self.joined is not None and number == self.joined + 1:
                found[-1] += row
            else:
                found += [row[:2], row[2:]] if self.split[number] else [row]
        return found

    def fits(self, weights: Array) -> npt.NDArray[np.bool_]:
        """(filters,): whether no group comes to more than it may; weights (taps, filters)."""
        magnitudes = np.abs(weights.astype(np.int64))
        fits: npt.NDArray[np.bool_] = np.all(
            [magnitudes[group].sum(axis=0) <= _MOST for group in self.groups()], axis=0
        )
        return fits


_WHOLE = (False, False, False)
CUTS = (
    Cut("first_rows", _WHOLE, joined=0),
    Cut("last_rows", _WHOLE, joined=1),
    Cut("first_split", (True, False, False)),
    Cut("last_split", (False, False, True)),
    Cut("middle_split", (False, True, False)),
    Cut("all_split", (True, True, True)),
    Cut("rows", _WHOLE),
)
"""The last one goes on to the results without a branch: most filters have it."""


def cuts_of(weights: Array) -> npt.NDArray[np.int64] | None:
    """(filters,): which cut each filter has, by index; None where some filter has none; weights (taps, filters)."""
    groups = np.array([len(cut.groups()) for cut in CUTS])
    taken = np.where([cut.fits(weights) for cut in CUTS], groups[:, np.newaxis], _TAPS * _TAPS)
    found: npt.NDArray[np.int64] = taken.argmin(axis=0)
    return None if (taken.min(axis=0) == _TAPS * _TAPS).any() else found


@dataclass(frozen=True)
class Way:
    """How sums become results: the products of all cuts are written out for each of these."""

    finish: finishing.Finish
    name: str

    @property
    def pairs(self) -> str:
        """What counts two windows in each half."""
        return f"pairs_{self.name}"

    @property
    def rows(self) -> str:
        """What counts rows of windows."""
        return f"rows_{self.name}"

    @property
    def next_pairs(self) -> str:
        """What counts two windows that are not a row's last."""
        return f"next_pairs_{self.name}"

    def cut(self, cut: Cut) -> str:
        """What counts two windows with this cut."""
        return f"{self.pairs}_{cut.name}"


def _plane(site: Site) -> LanePlane | None:
    op: DepthwiseConv2D = site.op
    return lane_plane(site.inputs[0].shape, site.outputs[0].shape, op.window, _WORDS)


def _by_taps(weights: Array) -> Array:
    return weights.reshape(_TAPS * _TAPS, -1)


def _accepts(site: Site) -> bool:
    op: DepthwiseConv2D = site.op
    x, weights, _ = site.inputs
    if not (
        x.dtype == INT8
        and x.shape[0] == 1
        and weights.dtype == INT8
        and weights.data is not None
        and not weights.packed
        and op.weight_zero_point == 0
        and _plane(site) is not None
        and cuts_of(_by_taps(weights.data)) is not None
    ):
        return False
    form = finishing.proved(site)
    return form is not None and finishing.is_plain(form)


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    plane, form = _plane(site), finishing.proved(site)
    weights, bias = site.inputs[1].data, site.inputs[2].data
    assert plane is not None and form is not None and weights is not None and bias is not None
    cuts = cuts_of(_by_taps(weights))
    assert cuts is not None
    single = _single(site, form)
    taps = op.window.taps
    data = np.zeros((weights.shape[3], _STORED), np.int8)
    data[:, :taps] = _by_taps(weights).T
    data[:, taps] = 2 * (cuts + len(CUTS) * single)
    short = finishing.is_short(form)
    constants = finishing.constants(form, op.folded_bias(weights, bias), short)
    filters = np.hstack([data.view("<u4"), constants])
    stream: npt.NDArray[np.uint32] = np.concatenate(
        [streams.words(np.array(plane.head(op.zero_point))), filters.reshape(-1)]
    )
    words = constants.shape[1] + short
    runs = dict(plane.runs())
    ways = [
        Way(finishing.Finish(form, _FREE, carried=True, single=alone, decided_in=_FREE[0]), name)
        for name, alone in (("products", False), ("one_product", True))
    ]
    for way in ways:
        runs |= _runs_of(way, plane, cuts[single == way.finish.single])
    return Body(
        {
            "plane": plane,
            "p": plane.words,
            "f": ways[0].finish,
            "ways": ways if single.any() else ways[:1],
            "frame": _frame(words),
            "results": 4 * (_TAPS + 1) * _TAPS,
            "words": words,
            "short": short,
            "cuts": CUTS,
            "turn": TURN,
            "stored": _STORED,
        },
        {"data": stream},
        variant=f"stride_{plane.stride}{'_down' if plane.down else ''}",
        proof=form.describe(),
        runs=runs,
        apart=form.near is not None,
    )


def _single(site: Site, form: ShortProduct) -> npt.NDArray[np.bool_]:
    """(filters,): whose requantisation has one product and code of its own, with which other kernels do not bother."""
    parts = form.parts[-1] if len(form.parts) > 1 and site.objective == "speed" else np.ones_like(form.origin)
    return np.asarray(parts == 0)


def _runs_of(way: Way, plane: LanePlane, cuts: npt.NDArray[np.int64]) -> Mapping[str, int]:
    """How often its blocks run for filters with these cuts."""
    rows, pairs = plane.words.out_height, plane.words.out_width // 2
    return {
        way.pairs: len(cuts) * rows * pairs,
        way.rows: len(cuts) * rows,
        way.next_pairs: len(cuts) * rows * (pairs - 1),
        **{way.cut(cut): int((cuts == number).sum()) * rows * pairs for number, cut in enumerate(CUTS)},
    }


def _frame(constants: int) -> int:
    """Bytes of a filter's weights and constants in memory, with the steps that are between them."""
    return 4 * ((_TAPS + 1) * _TAPS + _RESULTS * (constants + 1) + 5)


def _scratch(site: Site) -> int:
    plane, form = _plane(site), finishing.proved(site)
    assert plane is not None and form is not None
    return 4 * plane.words.words + _frame(finishing.constants(form, form.origin).shape[1])


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    plane = _plane(site)
    assert plane is not None
    return {0: spacing(plane.order()) if plane.words.channels == 1 else by_channels(plane.order())}


KERNELS = (
    Kernel(
        "depthwise_conv_2d.lane_plane",
        DepthwiseConv2D,
        _prepare,
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=_scratch,
    ),
)
