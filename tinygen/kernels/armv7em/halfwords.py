"""Rows of int16 times filters of int8, two filters and up to three rows at a time, two products an instruction.

A row is what a filter meets: a row of a matrix, a pixel, or a window, which is several runs of neighbouring values. For
windows, the rows of the image under a row of results are copied to the scratch, with zeros around them.

SMLAD multiplies a word, two activations, by two weights. In flash weights have a byte each: of four, the second and the
third are exchanged, so that SXTB16 leaves the first two of them, and, rotated, the last two. The stream:

    for each two filters, and for those left over with the one before:
        what their sums begin with
        of each run, for each four values, and for those left over: four weights of each filter
        their multipliers
        if the number of filters is odd: bytes to the next results

`templates/armv7em/halfwords.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tinygen.access import Order, Spacing, spacing
from tinygen.fixedpoint import INT16_MAX, INT16_MIN, IntArray
from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em.matrix_shape import FARTHEST, geometry
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m.bands import Band
from tinygen.ops.common import INT16
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.proofs.halfword_product import exact_multipliers

REQUIRES = frozenset({"thumb2", "unaligned", "dsp"})
PROOF = "high half of a product of 32 bits, rounded: the formula itself"
_MOST_LANES = 3
_VALUES = 4
"""That a step multiplies, of each lane."""
_UNROLL = {"speed": 8, "balanced": 4, "size": 1}


class Section(NamedTuple):
    """So many blocks of so many lanes each."""

    lanes: int
    times: int


@dataclass(frozen=True)
class Rows:
    """`count` rows of `runs` of `depth` values each, times `filters`; of windows, that many `lines` times."""

    count: int
    depth: int
    filters: int
    most_unrolled: int
    step: int
    """Bytes from a row to the next."""
    runs: int = 1
    pitch_of_runs: int = 0
    """Bytes from a run to the next."""
    lines: int = 1

    @property
    def pitch(self) -> int:
        """Bytes of a row's results."""
        return 2 * self.filters

    @property
    def lanes(self) -> int:
        """Of a block, as far as loads and stores reach."""
        farthest = max(self.step, self.pitch)
        most = min(_MOST_LANES, self.count)
        return next(n for n in range(most, 0, -1) if n == 1 or (n - 1) * farthest + 8 <= FARTHEST)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The rows in blocks."""
        parts = (Section(self.lanes, self.count // self.lanes), Section(self.count % self.lanes, 1))
        return tuple(part for part in parts if part.lanes and part.times)

    @property
    def pairs(self) -> int:
        """Of filters; the last one begins within the one before if their number is odd."""
        return -(-self.filters // 2)

    @property
    def fours(self) -> int:
        """Steps of a run."""
        return self.depth // _VALUES

    @property
    def rest(self) -> int:
        """Values of a run that no step has."""
        return self.depth % _VALUES

    @property
    def next_run(self) -> int:
        """Bytes from where the steps of a run end to the next run."""
        return self.pitch_of_runs - 2 * _VALUES * self.fours

    @property
    def unrolled(self) -> int:
        """Steps that a turn of the loop has."""
        return min(self.most_unrolled, self.fours)

    @property
    def turns(self) -> int:
        """Of the loop, which is none if it is one."""
        return self.fours // self.unrolled if self.unrolled else 0

    @property
    def order(self) -> Order:
        """Each block reads its rows again for each two filters."""
        ends = np.minimum(np.arange(self.lanes, self.count + self.lanes, self.lanes, dtype=np.int64), self.count)
        first = np.concatenate([[0], ends[:-1]])
        return Order(first * self.step, ends * self.step, first * self.pitch, ends * self.pitch, buffered=False)

    def in_pairs(self, values: Array) -> Array:
        """Of what filters have, (filters, ...), that of both filters of each pair: (pairs, 2, ...)."""
        first = np.minimum(np.arange(self.pairs) * 2, self.filters - 2)
        return np.asarray(values[np.stack([first, first + 1], axis=1)])

    @property
    def steps(self) -> IntArray:
        """(pairs, 0 or 1): bytes from each pair's results to the next one's, where not all are the same."""
        found = np.full((self.pairs, self.filters % 2), 4, np.int64)
        found[-2:-1] = 2
        return found


def _rows(site: Site) -> Rows | None:
    sizes = geometry(site)
    if sizes is None or sizes.steps or sizes.filters < 2:
        return None
    return Rows(sizes.rows, sizes.depth, sizes.filters, _UNROLL[site.objective], 2 * sizes.depth)


def _band(site: Site) -> Band:
    """The rows under one row of results, in bytes."""
    plane = Plane.of(site)
    return Band(replace(plane, channels=2 * plane.channels), 1, 2)


def _windows(site: Site) -> Rows:
    """Of a row of results."""
    band = _band(site)
    plane = band.plane
    return Rows(
        plane.out_width,
        plane.columns.taps * plane.channels // 2,
        plane.filters,
        _UNROLL[site.objective],
        band.step,
        plane.rows.taps,
        band.pitch,
        plane.out_height,
    )


def multipliers(site: Site) -> IntArray | None:
    """(channels,): those that SMMULR takes, if it gives what the layer's requantisation does."""
    op: Weighted = site.op
    return None if op.output_zero_point else exact_multipliers(op.requant, *op.reach(site.inputs))


def saturation(clamp: tuple[int, int]) -> Mapping[str, object]:
    """For templates: the ends that saturation does not see to, and the instruction that does."""
    low, high = clamp
    return {
        "low": low if low not in (0, INT16_MIN) else None,
        "high": high if high < INT16_MAX else None,
        "saturate": "usat    %s, #15, %s" if low == 0 else "ssat    %s, #16, %s",
    }


def _is_int16(site: Site) -> bool:
    """Whether activations are int16, and weights a byte each without a zero point."""
    op: Weighted = site.op
    x, weights, _ = site.inputs
    return x.dtype == INT16 and not weights.packed and not op.weight_zero_point


def _accepts(site: Site) -> bool:
    """int16, rows one after the other, two filters or more, sums of 32 bits, and multipliers of 32 bits."""
    return _is_int16(site) and _rows(site) is not None and multipliers(site) is not None


def _accepts_windows(site: Site) -> bool:
    """The same of one image, all channels in each filter, neighbouring taps, and no zero point."""
    x, weights, _ = site.inputs
    if not _is_int16(site) or site.op.zero_point or x.shape[0] != 1 or weights.shape[3] != x.shape[3]:
        return False
    if _rows(site) is not None or weights.shape[0] < 2 or not Plane.of(site).is_dense:
        return False
    return _band(site).copied > 0 and multipliers(site) is not None


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    rows = _rows(site)
    assert rows is not None
    return {0: spacing(rows.order)}


def _prepare_rows(site: Site) -> Body:
    rows = _rows(site)
    assert rows is not None
    return _prepare(site, rows, None, f"{rows.depth}x{rows.filters}_{rows.count}")


def _prepare_windows(site: Site) -> Body:
    band = _band(site)
    return _prepare(site, _windows(site), band, band.plane.variant)


def _prepare(site: Site, rows: Rows, band: Band | None, variant: str) -> Body:
    op: Weighted = site.op
    _, weights, bias = site.inputs
    factors = multipliers(site)
    assert factors is not None and weights.data is not None and bias.data is not None
    runs = weights.data.reshape(rows.filters, rows.runs, -1)
    padded = np.pad(runs, ((0, 0), (0, 0), (0, -rows.depth % _VALUES)))
    fours = padded.reshape(rows.filters, -1, _VALUES)[..., [0, 2, 1, 3]]
    words = np.ascontiguousarray(fours).view("<u4")[..., 0].astype(np.uint32)
    start = streams.words(op.folded_bias(weights.data, bias.data))
    parts = [
        rows.in_pairs(start),
        rows.in_pairs(words).swapaxes(1, 2).reshape(rows.pairs, -1),
        rows.in_pairs(streams.words(factors)),
        streams.words(rows.steps),
    ]
    data = np.concatenate(parts, axis=1).reshape(-1)
    values = {
        "rows": rows,
        "band": band,
        "row": band.plane.width * band.plane.channels if band else 0,
        "stream_bytes": data.nbytes,
        **saturation(op.clamp),
    }
    return Body(values, {"data": data}, variant=variant, proof=PROOF)


KERNELS = (
    *(
        Kernel(
            f"{name}.halfword_pairs",
            op,
            _prepare_rows,
            requires=REQUIRES,
            accepts=_accepts,
            overlaps=_overlaps,
            assembly=True,
        )
        for name, op in (("conv_2d", Conv2D), ("fully_connected", FullyConnected))
    ),
    Kernel(
        "conv_2d.halfword_windows",
        Conv2D,
        _prepare_windows,
        requires=REQUIRES,
        accepts=_accepts_windows,
        overlaps=lambda site: {0: spacing(_band(site).order)},
        assembly=True,
        scratch=lambda site: _band(site).bytes,
    ),
)
