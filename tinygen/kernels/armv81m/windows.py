"""CONV_2D over bands, two filters by four pixels (see `bands`). The stream:

    where the results of a block go, in results from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each vector of a window: 16 weights of each filter, of int16 8
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results

`templates/armv81m/windows.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from tinygen.access import Spacing, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.bands import Band, divisors
from tinygen.kernels.armv81m.finishing import Finish
from tinygen.kernels.armv81m.values import Values, has_byte_of_zero
from tinygen.ops.conv_2d import Conv2D

_LARGE, _SMALL = 4096, 0
"""Bytes of a band of more than the rows under one row of results, at most."""


def band(largest: int, site: Site) -> Band:
    """With so many rows of results that few rows are copied twice."""
    values = Values.of(site)
    plane = values.plane(site)
    bands = (Band(plane, results, values.size) for results in divisors(plane.out_height))
    return max((each for each in bands if each.results == 1 or each.bytes <= largest), key=lambda each: each.results)


def _accepts(site: Site) -> bool:
    """One image, all channels in each filter, neighbouring taps, and a proved requantisation."""
    x, weights, _ = site.inputs
    if not has_byte_of_zero(site) or x.shape[0] != 1 or weights.shape[3] != x.shape[3]:
        return False
    plane = Plane.of(site)
    if not plane.is_dense or pointwise.blocks(site) is not None or 3 * plane.filters + 1 > 0xFFFF:
        return False
    found = band(_SMALL, site)
    return found.copied > 0 and found.reaches and finishing.proved(site) is not None


def _accepts_large(site: Site) -> bool:
    """Where a larger band helps."""
    return _accepts(site) and band(_LARGE, site).results > 1


def _scratch(largest: int, site: Site) -> int:
    return band(largest, site).scratch


def _overlaps(largest: int, site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(band(largest, site).order)}


def _prepare(largest: int, site: Site) -> Body:
    found, form = band(largest, site), finishing.proved(site)
    assert form is not None
    plane, blocks = found.plane, found.blocks
    v = Values.of(site)
    data = np.concatenate([blocks.offsets, pointwise.stream(site, blocks, v.of_vectors(found.weights), form)])
    values = {
        "v": v,
        "plane": plane,
        "band": found,
        "blocks": blocks,
        "finish": Finish.of(form),
        "zero": site.op.zero_point & 0xFF,
        "stream_bytes": data.nbytes - blocks.offsets.nbytes,
        "row": plane.width * plane.channels,
        "load": "vldrw.u32" if found.in_words else "vldrb.u8",
    }
    return Body(values, {"data": data}, variant=plane.variant, proof=form.describe())


def _kernel(name: str, largest: int) -> Kernel:
    return Kernel(
        name,
        Conv2D,
        partial(_prepare, largest),
        requires=finishing.FEATURES | {"loops"},
        accepts=_accepts_large if largest else _accepts,
        overlaps=partial(_overlaps, largest),
        assembly=True,
        scratch=partial(_scratch, largest),
    )


KERNELS = (_kernel("conv_2d.vector_windows", _LARGE), _kernel("conv_2d.vector_windows_small_band", _SMALL))
