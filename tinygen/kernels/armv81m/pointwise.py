"""Rows of activations times filters, two filters and four rows at a time: 1x1 convolutions, whose rows are pixels.

Of each row 16 bytes are loaded at once, values of int8 or int16, and multiplied by both filters' weights in one
instruction each. The stream:

    where the results of a block go, in results from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each vector of a row: 16 weights of each filter, of int16 8
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results

`templates/armv81m/pointwise.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.ir import Array
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.matrix_shape import geometry
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.finishing import Finish, VectorForm
from tinygen.kernels.armv81m.pixel_blocks import PixelBlocks
from tinygen.kernels.armv81m.values import Values, are_plain
from tinygen.kernels.armv81m.walk import Walk
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted

_UNROLLED, _COMPACT = 16, 1
"""Vectors of a row that are written out for several pairs of filters, at most."""
_FARTHEST_RESULT = 0xFFFF


def blocks(site: Site) -> PixelBlocks | None:
    """The matrix product that a layer is, if it is one whose rows follow one after the other."""
    sizes = geometry(site)
    if sizes is None or sizes.steps:
        return None
    size = Values.of(site).size
    return PixelBlocks(sizes.rows, sizes.depth * size, sizes.filters, size)


def accepts(site: Site) -> bool:
    """Several such rows, and a proved requantisation."""
    if not are_plain(site):
        return False
    sizes = blocks(site)
    near = sizes is not None and sizes.rows > 1 and sizes.filters * 3 + 1 <= _FARTHEST_RESULT
    return near and finishing.proved(site) is not None


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    sizes = blocks(site)
    assert sizes is not None
    return {0: spacing(sizes.order)}


def _prepare(most: int, site: Site) -> Body:
    sizes, form = blocks(site), finishing.proved(site)
    assert sizes is not None and form is not None
    values, walk = Values.of(site), Walk(sizes.depth)
    together = max(1, most // walk.vectors)
    copies = next(count for count in range(min(together, sizes.pairs), 0, -1) if sizes.pairs % count == 0)
    weights = site.inputs[1].data
    assert weights is not None
    vectors = values.of_vectors(walk.weights(values.by_byte(weights.reshape(sizes.filters, -1))))
    data = np.concatenate([sizes.offsets, stream(site, sizes, vectors, form)])
    found = {
        "v": values,
        "sizes": sizes,
        "walk": walk,
        "finish": Finish.of(form),
        "copies": copies,
        "pointers": ("r1", "r3", "r5", "r9")[: sizes.sections[0].lanes],
        "stream_bytes": data.nbytes - sizes.offsets.nbytes,
    }
    return Body(
        found,
        {"data": data},
        variant=f"{sizes.depth}x{sizes.filters}_{sizes.rows}",
        proof=form.describe(),
    )


def stream(
    site: Site, sizes: PixelBlocks, vectors: Array, form: VectorForm, together: int = 1
) -> npt.NDArray[np.uint32]:
    """Of each pair of filters in turn: weights, given as (filters, vectors, lanes) int8, constants, and step if needed.

    So many vectors of a filter come `together`, before those of the other.
    """
    op: Weighted = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    constants = finishing.by_filter(form, op.folded_bias(weights.data, bias.data))
    runs = sizes.in_pairs(vectors.reshape(sizes.filters, -1, together * vectors.shape[-1]))
    pairs = np.ascontiguousarray(runs.swapaxes(1, 2)).reshape(sizes.pairs, -1)
    parts = [pairs.view("<u4").astype(np.uint32), sizes.in_pairs(constants).reshape(sizes.pairs, -1), sizes.steps]
    return np.concatenate(parts, axis=1).reshape(-1)


def _kernel(name: str, op: type[Weighted], most: int) -> Kernel:
    return Kernel(
        name,
        op,
        partial(_prepare, most),
        requires=finishing.FEATURES,
        accepts=accepts,
        overlaps=_overlaps,
        assembly=True,
    )


KERNELS = (
    _kernel("conv_2d.vectors_2x4", Conv2D, _UNROLLED),
    _kernel("conv_2d.vectors_2x4_compact", Conv2D, _COMPACT),
    _kernel("fully_connected.vectors_2x4", FullyConnected, _COMPACT),
)
