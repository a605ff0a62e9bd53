"""CONV_2D over patches at the border only: windows inside the image are gathered and expanded from where they are.

The windows of a block that reach over the border are first patched together in the scratch: the part of the image under
them, with the zero point around it. That is little: no row of the image is copied whole. Blocks are pieces of a row of
results; the last one of a row may begin within the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from tinygen.access import Spacing, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import filters
from tinygen.kernels.armv7em.border_shape import Border, BorderPatches
from tinygen.kernels.armv7em.filters import GROUP, UNROLLED, Filters, Layer
from tinygen.kernels.armv7em.frames import BorderFrame
from tinygen.kernels.armv7em.gathering import Blocks
from tinygen.kernels.armv7em.lanes import EIGHT, Lanes, Zero
from tinygen.ops.conv_2d import Conv2D


def _accepts(most: int, most_lanes: int, site: Site) -> bool:
    """Where some windows lie inside the image, and some do not, but none wholly outside."""
    if not filters.takes(site):
        return False
    plane = filters.plane_of(site)
    if not plane.is_dense:
        return False
    patches = BorderPatches(plane, most, most_lanes)
    rows, columns = patches.whole_rows, patches.whole_columns
    mixed = rows.any() and columns.any() and not (rows.all() and columns.all())
    touched = np.diff(patches.inside_rows).all() and np.diff(patches.inside_bytes).all()
    gathered = patches.straight or patches.window.run % GROUP == 0
    return bool(mixed and touched and gathered) and Layer.of(site, patches.window.weights(plane)) is not None


def _scratch(most: int, most_lanes: int, site: Site) -> int:
    patches = BorderPatches(filters.plane_of(site), most, most_lanes)
    return patches.window_bytes + patches.patch.bytes


def _overlaps(most: int, most_lanes: int, site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(BorderPatches(filters.plane_of(site), most, most_lanes).order)}


def _prepare(most: int, most_lanes: int, site: Site) -> Body:
    patches = BorderPatches(filters.plane_of(site), most, most_lanes)
    layer = Layer.of(site, patches.window.weights(patches.plane), patches.wide)
    assert layer is not None
    plane, lanes = patches.plane, patches.lanes
    blocks = Blocks(patches.blocks, lanes, patches.overlap, patches.step, plane.filters)
    values = {
        "plane": plane,
        "patches": patches,
        "border": Border.of(patches),
        "frame": BorderFrame(1),
        "f": Filters.of(layer, patches.sums, blocks.offsets, patches.count),
        "lanes": Lanes.of(lanes, layer.packed, layer.wide, layer.scale),
        "in_x": patches.gather(patches.pitch),
        "in_patch": patches.gather(patches.patch.row),
        "zero": Zero.of(site.op.zero_point, layer.packed, layer.scale),
        "eight": EIGHT,
        "x_before": plane.rows.before * patches.pitch,
        "x_left": plane.columns.before * plane.channels,
        "x_next": plane.rows.stride * patches.pitch,
        "blocks": blocks,
    }
    return Body(
        values,
        {"data": layer.after_zero_point(layer.stream(patches.sums))},
        variant=plane.variant,
        proof=layer.form.describe(),
        runs=layer.runs,
    )


def _accepts_fewer(most_lanes: int, site: Site) -> bool:
    """Where blocks would have more lanes otherwise."""
    return _accepts(UNROLLED, most_lanes, site) and BorderPatches(filters.plane_of(site), UNROLLED).lanes > most_lanes


def _kernel(name: str, most: int, most_lanes: int, accepts: Callable[[Site], bool]) -> Kernel:
    return Kernel(
        name,
        Conv2D,
        partial(_prepare, most, most_lanes),
        requires=frozenset({"thumb2", "unaligned", "dsp"}),
        accepts=accepts,
        overlaps=partial(_overlaps, most, most_lanes),
        assembly=True,
        scratch=partial(_scratch, most, most_lanes),
    )


KERNELS = (
    _kernel("conv_2d.border_patches", UNROLLED, 4, partial(_accepts, UNROLLED, 4)),
    _kernel("conv_2d.border_patches_2x2", UNROLLED, 2, partial(_accepts_fewer, 2)),
    _kernel("conv_2d.border_patches_2x1", UNROLLED, 1, partial(_accepts_fewer, 1)),
)
