"""Rows of activations times filters: 1x1 convolutions, whose rows are pixels, and fully connected layers.

Blocks of two or three rows are expanded into the scratch memory (see `expansion`), and multiplied with all filters,
two at a time (see `dot`), or four at a time with a single row: each loaded word is used by as many products as
registers allow. The weights come as one stream of words, in the order in which they are used. Blocks come in the order
of rows, or, so that results may lie above the rows that they replace, in the reverse order. The stream:

    the zero point, where filters are in float32
    for each two filters (four with a single row, one where code is to be small), and for those left over:
        start values of the sums
        for each group of four values of a row: the packed weights of each filter
        multiplier, addend and, in the form with a step, step of each filter's requantisation; where all filters have
        the same, these are the first words of the stream instead

`templates/armv7em/matrix.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.kernel import Body, Kernel, ScratchOverlaps, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em import finishing, packing
from tinygen.kernels.armv7em.dot import Block
from tinygen.kernels.armv7em.expansion import Expansion
from tinygen.kernels.armv7em.matrix_blocks import FilterGroup, Frame, Section, Walk, numbered, runs_of
from tinygen.kernels.armv7em.matrix_shape import Geometry, geometry
from tinygen.kernels.contracts import is_plain
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import HighProduct

FEATURES = frozenset({"thumb2", "unaligned", "dsp"})


@dataclass(frozen=True)
class Unrolling:
    """How many groups of a dot product are written out at most: where most of the work is, and elsewhere."""

    often: int
    seldom: int
    copies: int
    """How many groups of a dot product there may be when all of them are written out for several filters in turn."""
    most: int = 3
    """Rows of a block at most."""
    alone: bool = False
    """Whether filters are taken one by one."""
    backwards: bool = False
    """Whether the last rows come first."""

    def geometry(self, site: Site) -> Geometry | None:
        """The layer's, cut accordingly."""
        found = geometry(site)
        if found is None:
            return None
        return replace(found, most=self.most, alone=self.alone, backwards=self.backwards)


def form(site: Site) -> HighProduct | None:
    """The requantisation."""
    return finishing.proved_for_words(site)


def accepts(site: Site) -> bool:
    """int8, a matrix product, and a proved requantisation."""
    if not is_plain(site):
        return False
    sizes = geometry(site)
    if sizes is None or (sizes.steps and sizes.steps.columns > 0xFFFF):
        return False
    return form(site) is not None


def _accepts_several(site: Site) -> bool:
    """Also: so many rows that smaller blocks take less memory."""
    sizes = geometry(site) if accepts(site) else None
    return sizes is not None and sizes.rows > 2


def _accepts_backwards(site: Site) -> bool:
    """Also: rows that follow one after the other."""
    sizes = geometry(site) if _accepts_several(site) else None
    return sizes is not None and sizes.steps is None


def scratch(unrolling: Unrolling, site: Site) -> int:
    """Bytes for the expanded activations of a block."""
    sizes = unrolling.geometry(site)
    assert sizes is not None
    return sizes.scratch


def overlaps(unrolling: Unrolling, site: Site) -> Mapping[int, Spacing]:
    """Blocks follow each other in input and output."""
    sizes = unrolling.geometry(site)
    assert sizes is not None
    return {0: spacing(sizes.order)}


def scratch_overlaps(unrolling: Unrolling, site: Site) -> ScratchOverlaps:
    """Where there is only one block, its rows may lie at the end of what they are expanded to."""
    sizes = unrolling.geometry(site)
    assert sizes is not None
    (lanes, count), *others = sizes.blocks
    if count > 1 or others or sizes.steps:
        return ScratchOverlaps()
    return ScratchOverlaps({0: spacing(_expansion(lanes, sizes, site).order)})


def prepare(unrolling: Unrolling, site: Site) -> Body:
    """The plan of all blocks, and the stream."""
    sizes, requantisation = unrolling.geometry(site), form(site)
    assert sizes is not None and requantisation is not None
    packed = _packed(site)
    sections = tuple(
        Section(
            lanes,
            count,
            _expansion(lanes, sizes, site),
            sizes.path(i),
            tuple(
                _filter_group(first, *group, lanes, sizes, requantisation, packed, unrolling, often=not (i or j))
                for j, (first, group) in enumerate(numbered(sizes.filter_groups))
            ),
        )
        for i, (lanes, count) in enumerate(sizes.blocks)
    )
    uniform = finishing.uniform(requantisation)
    values = {
        "sizes": sizes,
        "sections": sections,
        "packed": packed,
        "scale": requantisation.scale,
        "stepped": requantisation.step is not None,
        "frame": Frame((2 if requantisation.step is None else 3) if uniform else 0, sizes.steps is not None),
    }
    variant = f"{sizes.depth}x{sizes.filters}_{sizes.rows}"
    return Body(
        values,
        {"data": _stream(site, sizes, requantisation)},
        variant=variant,
        proof=requantisation.describe(),
        runs=runs_of((group for section in sections for group in section.groups), requantisation),
    )


def in_scale(site: Site) -> bool:
    """Whether sums fit with packing.SCALE: packed weights have no other."""
    requantisation = form(site)
    return requantisation is not None and requantisation.scale == packing.SCALE


def _packed(site: Site) -> bool:
    return in_scale(site) and packing.packs(_rows(site))


def _expansion(lanes: int, sizes: Geometry, site: Site) -> Expansion:
    requantisation = form(site)
    assert requantisation is not None and isinstance(requantisation.scale, int)
    return Expansion(lanes, sizes.depth, _packed(site), requantisation.scale)


def _rows(site: Site) -> npt.NDArray[np.int8]:
    """(filters, groups * 4)."""
    weights = site.inputs[1].data
    assert weights is not None
    return np.asarray(packing.ending_together(weights.reshape(weights.shape[0], -1)))


def _filter_group(
    first: int,
    filters: int,
    count: int,
    lanes: int,
    sizes: Geometry,
    requantisation: HighProduct,
    packed: bool,
    unrolling: Unrolling,
    *,
    often: bool,
) -> FilterGroup:
    longest, copies = (unrolling.often, unrolling.copies) if often else (unrolling.seldom, 0)
    walk = Walk.of(-(-sizes.depth // 4), longest, 1 + filters * (lanes - 1))
    return FilterGroup.of(count, Block.of(filters, lanes, packed), walk, requantisation, first, sizes.filters, copies)


def _stream(site: Site, sizes: Geometry, requantisation: HighProduct) -> npt.NDArray[np.uint32]:
    op: Weighted = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    rows = _rows(site)
    packed = _packed(site)
    start = requantisation.scale * op.folded_bias(weights.data, bias.data) + requantisation.start
    if packed:
        start = start - packing.excess(rows)
    words = packing.packed_words(rows) if packed else packing.plain_words(rows)
    return stream(streams.words(start), words, requantisation, sizes.filter_groups)


def stream(
    starts: npt.NDArray[np.uint32],
    words: npt.NDArray[np.uint32],
    requantisation: HighProduct,
    filter_groups: Iterable[tuple[int, int]],
) -> npt.NDArray[np.uint32]:
    """The stream, given start values (filters,), words of weights (filters, groups), and (filters, count) in turn."""
    constants = finishing.constants(requantisation)
    uniform = finishing.uniform(requantisation)
    parts = [constants[0]] if uniform else []
    first = 0
    for filters, count in filter_groups:
        for _ in range(count):
            these = slice(first, first + filters)
            parts += [starts[these], words[these].T.reshape(-1)]
            parts += [] if uniform else [constants[these].reshape(-1)]
            first += filters
    return finishing.with_zero_point(requantisation, np.concatenate(parts))


_UNROLLED = Unrolling(often=32, seldom=8, copies=16)
_COMPACT = Unrolling(often=8, seldom=2, copies=0)
_BACKWARDS = Unrolling(often=32, seldom=8, copies=16, backwards=True)
_SMALL = Unrolling(often=4, seldom=4, copies=0, most=1, alone=True)
_ONE_BY_ONE = Unrolling(often=16, seldom=4, copies=0, most=1)
_IN_TWOS = Unrolling(often=16, seldom=4, copies=0, most=2)


def _kernel(name: str, op: type[Weighted], unrolling: Unrolling, accepts: Callable[[Site], bool] = accepts) -> Kernel:
    body: Callable[[Site], Body] = partial(prepare, unrolling)
    memory: Callable[[Site], int] = partial(scratch, unrolling)
    return Kernel(
        name,
        op,
        body,
        requires=FEATURES,
        accepts=accepts,
        overlaps=partial(overlaps, unrolling),
        assembly=True,
        scratch=memory,
        scratch_overlaps=partial(scratch_overlaps, unrolling),
    )


KERNELS = (
    _kernel("conv_2d.pointwise_2x3", Conv2D, _UNROLLED),
    _kernel("conv_2d.pointwise_2x3_compact", Conv2D, _COMPACT),
    _kernel("conv_2d.pointwise_2x3_backwards", Conv2D, _BACKWARDS, _accepts_backwards),
    _kernel("conv_2d.pointwise_2x2_compact", Conv2D, _IN_TWOS, _accepts_several),
    _kernel("conv_2d.pointwise_4x1_compact", Conv2D, _ONE_BY_ONE, _accepts_several),
    _kernel("conv_2d.pointwise_1x1_small", Conv2D, _SMALL),
    _kernel("fully_connected.4x1", FullyConnected, _UNROLLED),
    _kernel("fully_connected.4x1_compact", FullyConnected, _COMPACT),
    _kernel("fully_connected.1x1_small", FullyConnected, _SMALL),
)
