"""DEPTHWISE_CONV_2D: channels are taken apart into planes, where a window is one load of 16 bytes.

For eight channels at a time the bytes of pixels are scattered into planes in scratch memory, in strips (see `strips`),
with the zero point around. Then each channel's weights stay in registers while its outputs are computed, one VMLADAV
each, and requantised in blocks of eight. The stream:

    where bytes of neighbouring channels go in the planes, and where results of a block go: eight halfwords each
    which weights the lanes of each vector have; those without any have the zero after the last weight
    for each channel: weights, and the requantisation (see `finishing.by_filter`)

Windows of so many vectors that there are no registers for them have the vectors themselves instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.finishing import Finish
from tinygen.kernels.armv81m.strips import Strips, strips_of
from tinygen.kernels.armv81m.values import LANES
from tinygen.kernels.contracts import is_plain
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.proofs.vector_product import VectorProduct

_GROUP, _SMALL_GROUP = 8, 4
"""Channels that are loaded at once."""
_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]
"""The outputs of a block as narrowing leaves them."""
_FARTHEST = 0xFFFF
_MOST_SCRATCH = 1 << 16
_NEAR = 127
_PIXELS = 6
"""Of a row that are put into the plane before its pointer moves: there is a register for each."""


def _strips(site: Site, group: int) -> Strips | None:
    op: DepthwiseConv2D = site.op
    found = strips_of(site.inputs[0].shape, site.outputs[0].shape, op.window)
    return next((strips for strips in found if _bytes(strips, group) <= _MOST_SCRATCH), None)


def _bytes(strips: Strips, group: int) -> int:
    """Of all planes, and what the last load reaches beyond; in whole vectors."""
    return -(-(group * strips.plane_bytes + LANES) // LANES) * LANES


def _accepts(group: int, site: Site) -> bool:
    x, weights, _ = site.inputs
    if not (is_plain(site) and x.shape[0] == 1 and weights.shape[3] == x.shape[3]):
        return False
    strips = _strips(site, group)
    return strips is not None and (group - 1) * strips.plane_bytes <= _FARTHEST and finishing.proved(site) is not None


def _stream(site: Site, strips: Strips, group: int, form: VectorProduct) -> npt.NDArray[np.uint32]:
    op: DepthwiseConv2D = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    width = "<u2" if group == _GROUP else "<u4"
    places = np.arange(group) * strips.plane_bytes
    heads = [places.astype(width).view("<u4"), np.array(strips.results)[_ORDER].astype("<u2").view("<u4")]
    taps = weights.data[0].reshape(-1, weights.shape[3]).T.astype(np.int64)
    vectors = np.ascontiguousarray(strips.scheme.weights(taps).astype(np.int8)).view("<u4")
    if strips.scheme.stays:
        heads.append(strips.scheme.taps_by_lane.astype(np.uint8).reshape(-1).view("<u4"))
    constants = finishing.by_filter(form, op.folded_bias(weights.data, bias.data))
    return np.concatenate([*heads, np.concatenate([vectors, constants], axis=1).reshape(-1)]).astype(np.uint32)


def _prepare(group: int, site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    x = site.inputs[0].shape
    strips, form = _strips(site, group), finishing.proved(site)
    assert strips is not None and form is not None
    channels = x[3]
    values = {
        "s": strips,
        "scheme": strips.scheme,
        "finish": Finish.of(form),
        "group": group,
        "groups": -(-channels // group),
        "channels": channels,
        "partial": channels % group != 0,
        "near": channels <= _NEAR,
        "in_row": x[2] * channels,
        "pixels": _PIXELS,
        "zero_point": op.zero_point & 0xFF,
        "vectors": _bytes(strips, group) // LANES,
        "head": 32 + (LANES * strips.scheme.vectors if strips.scheme.stays else 0),
        "weight_bytes": strips.scheme.weight_bytes,
    }
    return Body(
        values,
        {"data": _stream(site, strips, group, form)},
        variant=f"{x[1]}x{x[2]}x{channels}",
        proof=form.describe(),
    )


def _scratch(group: int, site: Site) -> int:
    strips = _strips(site, group)
    assert strips is not None
    return _bytes(strips, group)


def _overlaps(group: int, site: Site) -> Mapping[int, Spacing]:
    return {0: depthwise_form.at_once(site, -(-site.inputs[0].shape[3] // group))}


def _kernel(name: str, group: int) -> Kernel:
    return Kernel(
        name,
        DepthwiseConv2D,
        partial(_prepare, group),
        requires=finishing.FEATURES,
        accepts=partial(_accepts, group),
        overlaps=partial(_overlaps, group),
        assembly=True,
        scratch=partial(_scratch, group),
    )


KERNELS = (
    _kernel("depthwise_conv_2d.strips", _GROUP),
    _kernel("depthwise_conv_2d.strips_lean", _SMALL_GROUP),
)
"""The second needs half as much memory."""
