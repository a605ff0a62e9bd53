"""DEPTHWISE_CONV_2D: channels are taken apart into planes, where a window is one load of 16 bytes.

For eight channels at a time the bytes of pixels are scattered into planes in scratch memory, in strips (see `strips`),
with the zero point around; in bands, the rows under some rows of results for all channels, then the next ones (see
`strip_bands`). Then each channel's weights stay in registers while its outputs are computed, one VMLADAV each, and
requantised in blocks of eight. The stream:

    where bytes of neighbouring channels go in the planes, and where results of a block go: eight halfwords each
    which weights the lanes of each vector have; those without any have the zero after the last weight
    for each channel: weights, and the requantisation (see `finishing.by_filter`)

Windows of so many vectors that there are no registers for them have the vectors themselves instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_form
from tinygen.kernels.armv81m import finishing
from tinygen.kernels.armv81m.finishing import Finish, VectorForm
from tinygen.kernels.armv81m.strip_bands import Bands, bands_of
from tinygen.kernels.armv81m.strips import Strips, strips_of
from tinygen.kernels.armv81m.values import LANES
from tinygen.kernels.contracts import is_plain
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D

_GROUP, _SMALL_GROUP = 8, 4
"""Channels that are loaded at once."""
_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]
"""The outputs of a block as narrowing leaves them."""
_FARTHEST = 0xFFFF
_MOST_SCRATCH = 1 << 16
_NEAR = 127
_PIXELS = 6
"""Of a row that are put into the plane before its pointer moves: there is a register for each."""


@dataclass(frozen=True)
class _Planes:
    """How channels are taken apart."""

    strips: Strips
    bands: Bands | None
    group: int

    @property
    def bytes(self) -> int:
        """Of all planes, and what the last load reaches beyond."""
        return self.strips.bytes(self.group)

    @property
    def is_near(self) -> bool:
        """Whether all planes are within reach."""
        return (self.group - 1) * self.strips.plane_bytes <= _FARTHEST

    def overlap(self, site: Site) -> Spacing:
        """Of output and input."""
        (_, _, width, channels), y = site.inputs[0].shape, site.outputs[0].shape
        groups = -(-channels // self.group)
        if self.bands is None:
            return depthwise_form.at_once(site, groups)
        order = self.bands.order(width * channels, y[2] * channels)
        return spacing(replace(order, buffered=groups == 1))


@dataclass(frozen=True)
class _Form:
    """A kernel: so many channels are loaded at once."""

    group: int
    part: float | None = None
    """Of bands: the part of what input or output takes that may be needed besides."""

    def planes(self, site: Site) -> _Planes | None:
        """Those of a layer, if there are any."""
        op: DepthwiseConv2D = site.op
        x, y = site.inputs[0].shape, site.outputs[0].shape
        if self.part is None:
            every = (_Planes(strips, None, self.group) for strips in strips_of(x, y, op.window))
            return next((planes for planes in every if planes.bytes <= _MOST_SCRATCH), None)
        most = round(self.part * max(site.inputs[0].bytes, site.outputs[0].bytes))
        bands = bands_of(x, y, op.window, self.group, most)
        return None if bands is None else _Planes(bands.strips, bands, self.group)


def _accepts(kind: _Form, site: Site) -> bool:
    x, weights, _ = site.inputs
    if not (is_plain(site) and x.shape[0] == 1 and weights.shape[3] == x.shape[3]):
        return False
    planes = kind.planes(site)
    return planes is not None and planes.is_near and finishing.proved(site, uniform=False) is not None


def _stream(site: Site, strips: Strips, group: int, form: VectorForm) -> npt.NDArray[np.uint32]:
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


def _prepare(kind: _Form, site: Site) -> Body:
    op: DepthwiseConv2D = site.op
    x = site.inputs[0].shape
    planes, form = kind.planes(site), finishing.proved(site, uniform=False)
    assert planes is not None and form is not None
    strips, group, channels = planes.strips, planes.group, x[3]
    values = {
        "s": strips,
        "bands": planes.bands,
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
        "vectors": planes.bytes // LANES,
        "head": 32 + (LANES * strips.scheme.vectors if strips.scheme.stays else 0),
        "weight_bytes": strips.scheme.weight_bytes,
    }
    return Body(
        values,
        {"data": _stream(site, strips, group, form)},
        variant=f"{x[1]}x{x[2]}x{channels}",
        proof=form.describe(),
    )


def _scratch(kind: _Form, site: Site) -> int:
    planes = kind.planes(site)
    assert planes is not None
    return planes.bytes


def _overlaps(kind: _Form, site: Site) -> Mapping[int, Spacing]:
    planes = kind.planes(site)
    assert planes is not None
    return {0: planes.overlap(site)}


def _kernel(name: str, kind: _Form) -> Kernel:
    return Kernel(
        name,
        DepthwiseConv2D,
        partial(_prepare, kind),
        requires=finishing.FEATURES,
        accepts=partial(_accepts, kind),
        overlaps=partial(_overlaps, kind),
        assembly=True,
        scratch=partial(_scratch, kind),
    )


KERNELS = (
    _kernel("depthwise_conv_2d.strips", _Form(_GROUP)),
    _kernel("depthwise_conv_2d.strips_lean", _Form(_SMALL_GROUP)),
    _kernel("depthwise_conv_2d.strips_banded", _Form(_GROUP, 3 / 8)),
    _kernel("depthwise_conv_2d.strips_banded_lean", _Form(_SMALL_GROUP, 1 / 6)),
)
"""Of whole planes the second needs half as much memory as the first; bands need less."""
