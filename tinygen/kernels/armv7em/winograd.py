"""Exact Winograd convolution: 3x3 filters of stride 1 or 2 by fewer products than taps, in integers.

F(m x m, 3x3) computes a tile of m x m outputs from (m + 2) x (m + 2) inputs d and a filter g:

    Y = A' ((G g G') * (B' d B)) A        with * element by element, summed over the input channels

G is scaled to integers, so that Y is `scale` times the convolution, exactly: all of it is linear, and SMLAD adds modulo
2**32, so only the final value has to fit into int32. The scale disappears in the multiplier of the requantisation.
The matrices are those of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.fixedpoint import IntArray
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import finishing
from tinygen.kernels.armv7em.finishing import Counts, Floats
from tinygen.kernels.armv7em.winograd_points import (
    F2,
    F2_RUN_TIME,
    F2_STRIDE_2,
    F4,
    Transform,
    filter_pairs,
    point_words,
    room,
    stream,
    tap_words,
)
from tinygen.kernels.armv7em.winograd_shape import LONGEST_STEP, Frame, Scratch, Shape
from tinygen.ops.common import INT8
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.window import Window
from tinygen.proofs.high_product import HighProduct

_FACTORS = (16, 24, 8, 4, 2, 1)
"""What points of filters may be multiplied by to have the requantisation proved, the first choice first."""

_DOUBLINGS = (1, 4, 16, 8, 2)
"""The same where points are computed at run time."""

_POINTS_BYTES = 18 * 1024
"""So much memory is taken for points of tiles at most, unless a row of tiles needs more."""

_FEW_PAIRS = 8
"""Over so many pairs of tiles the transformation of filters costs little."""


class _Finish(NamedTuple):
    """What is in the code of the requantisation."""

    shift: int
    stepped: bool
    low: int | None
    high: int | None
    floats: Floats | None
    counts: tuple[Counts, Counts]
    """Of both filters of a pair."""


def _is_3x3(site: Site, stride: int) -> bool:
    x, weights, _ = site.inputs
    window: Window = site.op.window
    return (
        x.dtype == site.outputs[0].dtype == INT8
        and weights.dtype == INT8
        and not weights.packed
        and site.op.weight_zero_point == 0
        and x.shape[0] == 1
        and x.shape[3] == weights.shape[3]
        and all((axis.taps, axis.stride, axis.dilation) == (3, stride, 1) for axis in (window.rows, window.columns))
        and site.outputs[0].shape[3] >= 2
    )


def _points(site: Site, transform: Transform) -> IntArray:
    weights = site.inputs[1].data
    assert weights is not None
    return transform.points(weights)


def _prove(site: Site, transform: Transform, factors: Sequence[int] = _FACTORS) -> HighProduct | None:
    """The requantisation, with the filters' points multiplied by one of the factors."""
    most = room(_points(site, transform))
    scales = [transform.scale * factor for factor in factors if factor <= most]
    forms = (found(site, scale) for found in (finishing.proved, finishing.proved_or_float) for scale in scales)
    return next((form for form in forms if form is not None), None)


def _counts() -> tuple[Counts, Counts]:
    return Counts.every(2, 0), Counts.every(2, 1)


def _runs(product: HighProduct) -> dict[str, int]:
    """How many of either filter of all pairs are in float32, and how many are not, by name."""
    if Floats.of(product) is None:
        return {}
    pairs = product.in_float[np.array(filter_pairs(len(product.start)))]
    first, second = (counts.among(pairs[:, index]) for index, counts in enumerate(_counts()))
    return first | second


def _start(site: Site, product: HighProduct) -> IntArray:
    """What is added to the sums of products, which count the zero point as any value."""
    op: Conv2D = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    return np.asarray(product.scale * op.folded_bias(weights.data, bias.data) + product.start, np.int64)


def _factor(product: HighProduct, transform: Transform) -> int:
    assert isinstance(product.scale, int)
    return product.scale // transform.scale


def _finish(product: HighProduct) -> _Finish:
    ends = product.low_clamp, product.high_clamp
    return _Finish(product.shift, product.step is not None, *ends, Floats.of(product), _counts())


def _body(
    site: Site,
    transform: Transform,
    scratch: Scratch,
    product: HighProduct,
    data: npt.NDArray[np.uint32],
    **values: object,
) -> Body:
    shape = Shape.of(site, transform.tile)
    op: Conv2D = site.op
    return Body(
        {
            "s": shape,
            "m": scratch,
            "f": Frame(),
            "order": transform.order,
            "zero_word": (op.zero_point & 0xFF) * 0x01010101,
            "data_bytes": data.nbytes,
            "q": _finish(product),
            **values,
        },
        {"data": data},
        variant=f"{shape.depth}x{shape.filters}_{shape.out_height}x{shape.out_width}",
        proof=product.describe(),
        runs=_runs(product),
    )


def _with_points(site: Site, transform: Transform) -> Body:
    """Of a kernel that reads the filters' points from flash."""
    shape = Shape.of(site, transform.tile)
    product = _prove(site, transform)
    assert product is not None
    words = point_words(_points(site, transform) * _factor(product, transform), shape.product_groups)
    data = stream(words, _start(site, product), product)
    return _body(site, transform, Scratch.of(shape), product, data)


def _overlaps(tile: int, site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Shape.of(site, tile).order_of_pairs)}


def _encodes_2x2(site: Site) -> bool:
    shape = Shape.of(site, 2)
    scratch = Scratch.of(shape)
    # LDR and STR have offsets up to 4095, LDRD and STRD up to 1020.
    return (
        2 * scratch.slot + 31 <= 4095
        and 2 * scratch.block <= 4095
        and scratch.point + 32 <= 1020
        and 3 * shape.filters + 1 <= 4095
    )


def _accepts_2x2(site: Site) -> bool:
    return _is_3x3(site, 1) and _encodes_2x2(site) and _prove(site, F2) is not None


def _prepare_2x2(site: Site) -> Body:
    return _with_points(site, F2)


def _scratch_tile_2(site: Site) -> int:
    return Scratch.of(Shape.of(site, 2)).size


def _encodes_4x4(site: Site) -> bool:
    shape = Shape.of(site, 4)
    scratch = Scratch.of(shape)
    return (
        4 * scratch.slot + 23 <= 4095
        and 2 * scratch.block <= 4095
        and 2 * scratch.block + scratch.results[-1] + 15 <= 4095
        and 3 * scratch.point + 80 <= 1020
        and 7 * shape.filters + 1 <= 4095
    )


def _accepts_4x4(site: Site) -> bool:
    return _is_3x3(site, 1) and _encodes_4x4(site) and _prove(site, F4) is not None


def _prepare_4x4(site: Site) -> Body:
    return _with_points(site, F4)


def _scratch_4x4(site: Site) -> int:
    return Scratch.of(Shape.of(site, 4)).size


def _accepts_2x2_stride_2(site: Site) -> bool:
    if not _is_3x3(site, 2):
        return False
    shape = Shape.of(site, 2)
    scratch = Scratch.of(shape)
    return (
        4 * scratch.slot + 19 <= 4095
        and 2 * scratch.block + scratch.results[-1] + 15 <= 4095
        and 2 * scratch.point + 32 <= 1020
        and 3 * shape.filters + 1 <= 4095
        and _prove(site, F2_STRIDE_2) is not None
    )


def _prepare_2x2_stride_2(site: Site) -> Body:
    return _with_points(site, F2_STRIDE_2)


def _chunk_rows(shape: Shape) -> int:
    """Rows of tiles whose points are in memory at a time, where time counts."""
    row = shape.pairs * shape.size * Scratch.of(shape).block
    most = max(1, min(_POINTS_BYTES // row, -(-_FEW_PAIRS // shape.pairs)))
    return max(rows for rows in range(1, most + 1) if shape.tile_rows % rows == 0)


def _one_row(shape: Shape) -> int:
    return 1


_Rows = Callable[[Shape], int]


def _compact(shape: Shape, rows: _Rows) -> Scratch:
    return Scratch.of(shape, pairs=shape.pairs * rows(shape), filters=2)


def _accepts_2x2_compact(site: Site) -> bool:
    return (
        _is_3x3(site, 1)
        and _encodes_2x2(site)
        and Shape.of(site, 2).groups <= LONGEST_STEP
        and _prove(site, F2_RUN_TIME, _DOUBLINGS) is not None
    )


def _accepts_2x2_compact_row(site: Site) -> bool:
    return _accepts_2x2_compact(site) and _chunk_rows(Shape.of(site, 2)) > 1


def _prepare_2x2_compact(rows: _Rows, site: Site) -> Body:
    shape = Shape.of(site, 2)
    product = _prove(site, F2_RUN_TIME, _DOUBLINGS)
    weights = site.inputs[1].data
    assert product is not None and weights is not None
    data = stream(tap_words(weights, shape.groups), _start(site, product), product)
    scratch = _compact(shape, rows)
    return _body(
        site,
        F2_RUN_TIME,
        scratch,
        product,
        data,
        chunk_rows=rows(shape),
        doublings=_factor(product, F2_RUN_TIME).bit_length() - 1,
    )


def _scratch_2x2_compact(rows: _Rows, site: Site) -> int:
    return _compact(Shape.of(site, 2), rows).size


def _overlaps_2x2_compact(rows: _Rows, site: Site) -> Mapping[int, Spacing]:
    shape = Shape.of(site, 2)
    return {0: spacing(shape.order_of_rows(rows(shape)))}


_REQUIRES = frozenset({"thumb2", "unaligned", "dsp", "saturate"})

KERNELS: Sequence[Kernel] = (
    Kernel(
        "conv_2d.winograd_4x4",
        Conv2D,
        _prepare_4x4,
        requires=_REQUIRES,
        accepts=_accepts_4x4,
        overlaps=partial(_overlaps, 4),
        assembly=True,
        scratch=_scratch_4x4,
    ),
    Kernel(
        "conv_2d.winograd_2x2",
        Conv2D,
        _prepare_2x2,
        requires=_REQUIRES,
        accepts=_accepts_2x2,
        overlaps=partial(_overlaps, 2),
        assembly=True,
        scratch=_scratch_tile_2,
    ),
    Kernel(
        "conv_2d.winograd_2x2_stride_2",
        Conv2D,
        _prepare_2x2_stride_2,
        requires=_REQUIRES,
        accepts=_accepts_2x2_stride_2,
        overlaps=partial(_overlaps, 2),
        assembly=True,
        scratch=_scratch_tile_2,
    ),
    *(
        Kernel(
            name,
            Conv2D,
            partial(_prepare_2x2_compact, rows),
            requires=_REQUIRES,
            accepts=accepts,
            overlaps=partial(_overlaps_2x2_compact, rows),
            assembly=True,
            scratch=partial(_scratch_2x2_compact, rows),
        )
        for name, rows, accepts in (
            ("conv_2d.winograd_2x2_compact", _chunk_rows, _accepts_2x2_compact),
            ("conv_2d.winograd_2x2_compact_row", _one_row, _accepts_2x2_compact_row),
        )
    ),
)
