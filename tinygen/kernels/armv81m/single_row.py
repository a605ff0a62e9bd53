"""One row of activations times filters, eight filters at a time: each vector of the row is loaded once for all of them.

The stream has for each eight filters, and for those left over:
    for each vector of the row: 16 weights of each filter, of int16 8
    requantisation, four words a line, for the filters of even number of the eight, then for those of odd number:
        B; in the form with a step T and D; then M

`templates/armv81m/single_row.S.j2` prints it; the compact form, `single_row_compact.S.j2`, has a vector of the row in a
loop, and what makes results of sums once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.finishing import Finish, VectorForm
from tinygen.kernels.armv81m.values import LANES, Values, are_plain
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted

_TOGETHER = 8
"""Filters."""
_LONGEST = 8
"""Vectors of the row that are written out, at most."""


@dataclass(frozen=True)
class Row:
    """`depth` bytes, times `filters`."""

    depth: int
    filters: int
    turn: int = _LONGEST
    """Vectors of a turn of a loop over them; as many are written out without one."""

    @property
    def groups(self) -> int:
        """Of eight filters."""
        return self.filters // _TOGETHER

    @property
    def left(self) -> int:
        """Filters left over."""
        return self.filters % _TOGETHER

    @property
    def vectors(self) -> int:
        """Of the row."""
        return -(-self.depth // LANES)

    @property
    def turns(self) -> int:
        """Of a loop over vectors that follow one after the other; zero: all are written out."""
        return self.depth // LANES // self.turn if self.vectors > self.turn else 0

    @property
    def straight(self) -> int:
        """Vectors that are written out and follow one after the other."""
        return self.depth // LANES - self.turns * self.turn

    @property
    def last(self) -> int | None:
        """Where a last vector begins that does not: bytes from where the others end. None: there is none.

        No byte beyond the row is read: a vector that is not whole overlaps with the one before, or, if there is none,
        is loaded under a predicate.
        """
        if self.depth % LANES == 0:
            return None
        return 0 if self.predicated else self.depth % LANES - LANES

    @property
    def predicated(self) -> bool:
        """Whether the row is shorter than a vector."""
        return self.depth < LANES

    def in_vectors(self, rows: Array) -> Array:
        """(filters, vectors, 16) int8 of (filters, depth), a weight for each byte.

        Zero where vectors overlap or end beyond the row.
        """
        whole = self.depth // LANES * LANES
        found = np.zeros((len(rows), self.vectors * LANES), np.int8)
        found[:, :whole] = rows[:, :whole]
        rest = self.depth - whole
        if rest:
            first = whole if self.predicated else whole + LANES - rest
            found[:, first : first + rest] = rows[:, whole:]
        return found.reshape(len(rows), -1, LANES)


def _row(site: Site) -> Row | None:
    sizes = pointwise.blocks(site)
    return Row(sizes.depth, sizes.filters) if sizes is not None and sizes.rows == 1 else None


def _accepts(site: Site) -> bool:
    """One row, and a proved requantisation."""
    return are_plain(site) and _row(site) is not None and finishing.proved(site) is not None


def _accepts_compact(site: Site) -> bool:
    """The same, where there is something to loop over."""
    row = _row(site)
    return row is not None and row.depth // LANES > 1 and _accepts(site)


def _prepare(turn: int, site: Site) -> Body:
    v, found, form = Values.of(site), _row(site), finishing.proved(site)
    assert found is not None and form is not None
    row = replace(found, turn=turn)
    finish = Finish.of(form)
    group_words = _TOGETHER * (v.lanes // 4 * row.vectors + (4 if finish.stepped else 2))
    passes = row.groups + (row.left > 0)
    values = {"v": v, "row": row, "finish": finish, "groups_bytes": 4 * group_words * row.groups, "passes": passes}
    return Body(values, {"data": _stream(site, row, form)}, variant=f"{row.depth}x{row.filters}", proof=form.describe())


def _stream(site: Site, row: Row, form: VectorForm) -> streams.Words:
    op: Weighted = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    values = Values.of(site)
    vectors = values.of_vectors(row.in_vectors(values.by_byte(weights.data.reshape(row.filters, -1))))
    start = form.start + (op.folded_bias(weights.data, bias.data) << form.scale_bits)
    steps = [] if form.step is None else [form.threshold, form.step]
    constants = streams.words(np.stack([start, *steps, form.multiplier]))
    parts = []
    for first in range(0, row.filters, _TOGETHER):
        group = slice(first, first + _TOGETHER)
        parts.append(np.ascontiguousarray(vectors[group].swapaxes(0, 1)).reshape(-1).view("<u4").astype(np.uint32))
        padded = np.zeros((len(constants), _TOGETHER), np.uint32)
        padded[:, : constants[:, group].shape[1]] = constants[:, group]
        start_words, *step_words, multipliers = padded.reshape(-1, _TOGETHER // 2, 2).transpose(0, 2, 1)
        parts.append(start_words.reshape(-1))
        # The steps of even filters come together, then those of odd ones.
        parts += [each[half] for half in (0, 1) for each in step_words]
        parts.append(multipliers.reshape(-1))
    return np.concatenate(parts)


def _kernel(name: str, op: type[Weighted], turn: int, accepts: Callable[[Site], bool]) -> Kernel:
    prepare: Callable[[Site], Body] = partial(_prepare, turn)
    return Kernel(name, op, prepare, requires=finishing.FEATURES, accepts=accepts, assembly=True)


KERNELS = (
    _kernel("fully_connected.vectors_8x1", FullyConnected, _LONGEST, _accepts),
    _kernel("fully_connected.vectors_8x1_compact", FullyConnected, 1, _accepts_compact),
    _kernel("conv_2d.vectors_8x1", Conv2D, _LONGEST, _accepts),
    _kernel("conv_2d.vectors_8x1_compact", Conv2D, 1, _accepts_compact),
)
