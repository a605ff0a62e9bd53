"""CONV_2D over bands, two filters by four pixels (see `bands`). The stream:

    where the results of a block go, in results from the first one: eight halfwords
    for each two filters, and for those left over with the one before:
        for each vector of a window: 16 weights of each filter, of int16 8
        requantisation: see `finishing.by_filter`
        if the number of filters is odd: bytes to the next results

`templates/armv81m/windows.S.j2` prints it.
"""

from __future__ import annotations

import numpy as np

from tinygen.kernel import Body, Site
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m import finishing, pointwise
from tinygen.kernels.armv81m.band_kernels import band_kernels
from tinygen.kernels.armv81m.bands import SMALL, Band, divisors
from tinygen.kernels.armv81m.finishing import Finish
from tinygen.kernels.armv81m.values import Values, has_byte_of_zero
from tinygen.ops.conv_2d import Conv2D


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
    found = band(SMALL, site)
    return found.copied > 0 and found.reaches and finishing.proved(site) is not None


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


KERNELS = band_kernels("conv_2d.vector_windows", Conv2D, _prepare, _accepts, band)
