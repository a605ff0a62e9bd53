"""DEPTHWISE_CONV_2D of int16 over a band: two neighbouring channels of up to three pixels at a time.

A word holds the two channels of a tap, another one their weights: two multiplications, of lower and of upper halves.
The stream has for each two channels what their sums begin with, their taps' weights, two halfwords a word, and their
multipliers.

`templates/ops/depthwise_conv_2d.halfword_channels.S.j2` prints it.
"""

from __future__ import annotations

import numpy as np

from tinygen.access import spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em import halfwords
from tinygen.kernels.armv7em.matrix_shape import FARTHEST
from tinygen.kernels.armv81m.bands import Band
from tinygen.kernels.armv81m.channels import Channels, bands_of, is_simple
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D

_TOGETHER, _PIXELS = 2, 3


def _band(site: Site) -> Band:
    return next(bands_of(site))


def _accepts(site: Site) -> bool:
    """A simple layer of an even number of channels whose results are near, and multipliers of 32 bits."""
    channels = site.inputs[0].shape[3]
    near = channels % _TOGETHER == 0 and 2 * channels * _PIXELS <= FARTHEST
    return near and is_simple(site) and halfwords.multipliers(site) is not None


def _prepare(site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    found = Channels(_band(site), _TOGETHER, _PIXELS, (0, FARTHEST))
    plane, multipliers = found.band.plane, halfwords.multipliers(site)
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None and multipliers is not None
    taps = plane.weights.reshape(found.groups, _TOGETHER, -1).swapaxes(1, 2).astype("<i2")
    parts = [
        streams.words(op.folded_bias(weights.data, bias.data)).reshape(found.groups, _TOGETHER),
        np.ascontiguousarray(taps).view("<u4").reshape(found.groups, -1),
        streams.words(multipliers).reshape(found.groups, _TOGETHER),
    ]
    values = {
        "c": found,
        "band": found.band,
        "plane": plane,
        "row": plane.width * plane.channels,
        **halfwords.saturation(op.clamp),
    }
    variant = f"{plane.rows.taps}x{plane.columns.taps}_{plane.out_height}x{plane.out_width}x{found.channels}"
    data = np.concatenate(parts, axis=1).reshape(-1).astype(np.uint32)
    return Body(values, {"data": data}, variant=variant, proof=halfwords.PROOF)


KERNELS = (
    Kernel(
        "depthwise_conv_2d.halfword_channels",
        DepthwiseConv2D,
        _prepare,
        requires=halfwords.REQUIRES,
        accepts=_accepts,
        overlaps=lambda site: {0: spacing(_band(site).order)},
        assembly=True,
        scratch=lambda site: _band(site).bytes,
    ),
)
