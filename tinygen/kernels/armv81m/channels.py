"""DEPTHWISE_CONV_2D of int16 over a band (see `bands`): eight channels of two neighbouring pixels at a time.

Channels are lanes: a tap is a vector of the band times a vector of weights, to sums of 32 bits in two vectors, of even
channels and of odd ones. The stream, for each eight channels, with zeros for those that there are not:

    for each tap: eight weights
    B of the even channels and of the odd ones, M of the even channels and of the odd ones: four words each

`templates/armv81m/channels.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tinygen.kernel import Body, Site
from tinygen.kernels import streams
from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.band_kernels import band_kernels
from tinygen.kernels.armv81m.bands import Band, divisors
from tinygen.kernels.armv81m.finishing import Finish, VectorForm
from tinygen.kernels.armv81m.values import Values, has_byte_of_zero
from tinygen.ops.common import INT16
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D

_GROUP = 8
"""Channels."""
_PIXELS = 2
_MOST_TAPS = 25
_WORDS, _HALFWORDS = 508, 254
"""Bytes that loads reach, either way: of words, from a word; of halfwords."""


class Load(NamedTuple):
    """A tap of a pixel: by what the pointer moves before, and where the tap is then."""

    tap: int
    pixel: int
    move: int
    offset: int


@dataclass(frozen=True, eq=False)
class Channels:
    """`together` channels of neighbouring pixels at a time."""

    band: Band
    together: int
    most_pixels: int
    reach: tuple[int, int]
    """Bytes that loads reach, backwards and forwards."""

    @property
    def pixels(self) -> int:
        """Of a block."""
        return min(self.most_pixels, self.band.plane.out_width)

    @property
    def blocks(self) -> int:
        """Of a row of results."""
        return -(-self.band.plane.out_width // self.pixels)

    @property
    def overlap(self) -> int:
        """Pixels that the last block of a row computes again."""
        return self.blocks * self.pixels - self.band.plane.out_width

    @property
    def channels(self) -> int:
        """Of a pixel."""
        return self.band.plane.filters

    @property
    def groups(self) -> int:
        """Of channels, the last one perhaps of fewer."""
        return -(-self.channels // self.together)

    @property
    def taps(self) -> int:
        """Of a window."""
        plane = self.band.plane
        return plane.rows.taps * plane.columns.taps

    @property
    def loads(self) -> tuple[Load, ...]:
        """In turn, of each tap those of all pixels; the pointer begins at the first pixel's window."""
        return tuple(self._loads())

    def _loads(self) -> Iterator[Load]:
        plane = self.band.plane
        at = 0
        for tap in range(self.taps):
            row, column = divmod(tap, plane.columns.taps)
            for pixel in range(self.pixels):
                place = row * self.band.pitch + column * plane.channels + pixel * self.band.step
                move = 0 if -self.reach[0] <= place - at <= self.reach[1] else place + self.reach[0] - at
                at += move
                yield Load(tap, pixel, move, place - at)

    @property
    def next_channels(self) -> int:
        """Bytes from where the pointer is after the last tap to the next channels."""
        return 2 * self.together - sum(load.move for load in self.loads)

    @staticmethod
    def of(band: Band) -> Channels:
        """Eight of two pixels."""
        reach = _WORDS if band.in_words else _HALFWORDS
        return Channels(band, _GROUP, _PIXELS, (reach, reach))


def bands_of(site: Site) -> Iterator[Band]:
    """That a depthwise layer of int16 can have."""
    plane = Plane.of(site)
    by_channel = np.moveaxis(plane.weights, 3, 0).reshape(plane.channels, plane.rows.taps, plane.columns.taps, 1)
    size = Values.of(site).size
    plane = replace(plane, channels=plane.channels * size, weights=by_channel)
    return (Band(plane, results, size) for results in divisors(plane.out_height))


def _channels(largest: int, site: Site) -> Channels:
    """With so many rows of results over a band that few rows are copied twice."""
    fitting = (each for each in bands_of(site) if each.results == 1 or each.bytes <= largest)
    return Channels.of(max(fitting, key=lambda each: each.results))


def is_simple(site: Site) -> bool:
    """int16, one image, one filter for each channel, few neighbouring taps, and no zero points."""
    x, weights, _ = site.inputs
    if x.dtype != INT16 or not has_byte_of_zero(site) or x.shape[0] != 1 or weights.shape[3] != x.shape[3]:
        return False
    plane = Plane.of(site)
    return plane.is_dense and plane.rows.taps * plane.columns.taps <= _MOST_TAPS and next(bands_of(site)).copied > 0


def _accepts(site: Site) -> bool:
    """A simple layer with a proved requantisation."""
    return is_simple(site) and finishing.proved(site) is not None


def _band(largest: int, site: Site) -> Band:
    return _channels(largest, site).band


def _stream(site: Site, found: Channels, form: VectorForm) -> streams.Words:
    op: DepthwiseConv2D = site.op
    _, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    missing = found.groups * _GROUP - found.channels
    taps = np.pad(found.band.plane.weights.reshape(found.channels, -1), ((0, missing), (0, 0)))
    by_group = taps.reshape(found.groups, _GROUP, -1).swapaxes(1, 2)
    words = np.ascontiguousarray(by_group).reshape(found.groups, -1).view("<u4").astype(np.uint32)
    constants = np.pad(finishing.by_filter(form, op.folded_bias(weights.data, bias.data)), ((0, missing), (0, 0)))
    # B, then M; of each the even channels, then the odd ones.
    lanes = constants.reshape(found.groups, _GROUP // 2, 2, 2).transpose(0, 3, 2, 1)
    return np.concatenate([words, lanes.reshape(found.groups, -1)], axis=1).reshape(-1)


def _prepare(largest: int, site: Site) -> Body:
    found, form = _channels(largest, site), finishing.proved(site)
    assert form is not None
    band = found.band
    plane = band.plane
    values = {
        "c": found,
        "band": band,
        "plane": plane,
        "finish": Finish.of(form),
        "scale_bits": int(form.scale_bits[0]),
        "row": plane.width * plane.channels,
        "load": "vldrw.u32" if band.in_words else "vldrh.u16",
    }
    variant = f"{plane.rows.taps}x{plane.columns.taps}_{plane.out_height}x{plane.out_width}x{found.channels}"
    return Body(values, {"data": _stream(site, found, form)}, variant=variant, proof=form.describe())


KERNELS = band_kernels("depthwise_conv_2d.vector_channels", DepthwiseConv2D, _prepare, _accepts, _band)
