"""CONV_2D over patches: the windows of up to four pixels are gathered and expanded, then multiplied by all filters.

For few channels, where expanded pixels would be padding for the most part, and for what has no room for a ring. Rows of
the image are copied into a band in the scratch, with the zero point around them, so that no window knows of a border;
where no window reaches over the border, they are read where they are. A band has the rows under one row of results,
or, if these are so short that blocks of pixels would not fit well, under several; blocks then go on from row to row,
and a table in the data says where the windows of each block begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from tinygen.access import Spacing, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import filters
from tinygen.kernels.armv7em.filters import COMPACT, UNROLLED, Filters, Layer
from tinygen.kernels.armv7em.frames import PatchesFrame
from tinygen.kernels.armv7em.gathering import Blocks
from tinygen.kernels.armv7em.lanes import Lanes, Zero
from tinygen.kernels.armv7em.patch_bands import Copies
from tinygen.kernels.armv7em.patch_shape import LARGE_BAND, Patches
from tinygen.ops.conv_2d import Conv2D

_SMALL_BAND = 512
"""Bytes of a band of more than the rows under one row of results, at most."""


def _accepts(site: Site) -> bool:
    if not filters.takes(site):
        return False
    plane = filters.plane_of(site)
    return plane.is_dense and Layer.of(site, Patches(plane, UNROLLED).window.weights(plane)) is not None


def _accepts_small_band(site: Site) -> bool:
    """Where the band would be larger otherwise."""
    if not _accepts(site):
        return False
    plane = filters.plane_of(site)
    return Patches(plane, UNROLLED, _SMALL_BAND).band_bytes < Patches(plane, UNROLLED).band_bytes


def _scratch(most: int, largest_band: int, site: Site) -> int:
    patches = Patches(filters.plane_of(site), most, largest_band)
    return patches.window_bytes + patches.band_bytes


def _overlaps(most: int, largest_band: int, site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Patches(filters.plane_of(site), most, largest_band).order)}


def _prepare(most: int, largest_band: int, site: Site) -> Body:
    patches = Patches(filters.plane_of(site), most, largest_band)
    layer = Layer.of(site, patches.window.weights(patches.plane), patches.wide)
    assert layer is not None
    plane, lanes = patches.plane, patches.lanes
    count = patches.bands * patches.blocks
    blocks = Blocks(patches.blocks, lanes, patches.overlap, patches.step, plane.filters)
    row = plane.width * plane.channels
    copies = Copies.of(patches)
    values = {
        "plane": plane,
        "patches": patches,
        "copies": copies,
        "frame": PatchesFrame(1),
        "f": Filters.of(layer, patches.sums, blocks.offsets, count),
        "lanes": Lanes.of(lanes, layer.packed, layer.wide, layer.scale),
        "zero": Zero.of(site.op.zero_point, layer.packed, layer.scale),
        "x_row": row,
        "x_before": plane.rows.before * row,
        "x_skipped": copies.skipped * row,
        "x_band": patches.band_results * plane.rows.stride * row,
        "count": count,
        "blocks": blocks,
        "table_bytes": patches.table.nbytes,
        "gather": patches.gather,
    }
    data = layer.after_zero_point(np.concatenate([patches.table, layer.stream(patches.sums)]))
    return Body(values, {"data": data}, variant=plane.variant, proof=layer.form.describe(), runs=layer.runs)


def _kernel(name: str, most: int, largest_band: int = LARGE_BAND, accepts: Callable[[Site], bool] = _accepts) -> Kernel:
    return Kernel(
        name,
        Conv2D,
        partial(_prepare, most, largest_band),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=accepts,
        overlaps=partial(_overlaps, most, largest_band),
        assembly=True,
        scratch=partial(_scratch, most, largest_band),
    )


KERNELS = (
    _kernel("conv_2d.patches", UNROLLED),
    _kernel("conv_2d.patches_compact", COMPACT),
    _kernel("conv_2d.patches_small_band", UNROLLED, _SMALL_BAND, _accepts_small_band),
)
