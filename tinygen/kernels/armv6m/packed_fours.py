"""Convolutions whose products are all written out, for layers of many windows and few weights (see `fours`).

The values under a window become words on the stack, in their own order, from where each four filters read them in
theirs. The stream (data) is that of all fours.

`templates/armv6m/packed_fours.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinygen.access import Spacing, spacing
from tinygen.fixedpoint import IntArray
from tinygen.interval import Interval
from tinygen.ir import Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv6m import finishing, packed, pairs
from tinygen.kernels.armv6m.finishing import Finish
from tinygen.kernels.armv6m.fours import REACH, Four, fours
from tinygen.kernels.armv6m.packed import Frame
from tinygen.kernels.armv6m.windows import Windows, flat_array, flat_weights, value_bounds
from tinygen.ops.conv_2d import Conv2D

_MOST_VALUES = 112
"""On the stack: with what else is there, as many words as one instruction makes room for."""
_FEWEST_WINDOWS, _MOST_WEIGHTS = 40, 40
"""For which it pays; and for each window, as each weight takes about four bytes of code."""
_AT_ONCE = 3
"""Values that are loaded before they are stored."""


class Run(NamedTuple):
    """Some values that lie side by side in the window."""

    advance: int
    """Bytes to the first from that of the run before."""
    values: int


def _accepts(site: Site) -> bool:
    """Few values, and few weights beside the windows; for the rest as other packed layers."""
    if flat_weights(site).shape[1] > _MOST_VALUES or not packed.accepts(site):
        return False
    windows = Windows.of(site).count
    return windows >= _FEWEST_WINDOWS and flat_weights(site).size <= _MOST_WEIGHTS * windows


@lru_cache(maxsize=64)
def _fours(weights: Tensor, low: bytes, high: bytes) -> tuple[Four, ...]:
    """Found once for all parts of a layer."""
    return fours(flat_array(weights), Interval(np.frombuffer(low, np.int64), np.frombuffer(high, np.int64)))


def _runs(offsets: IntArray) -> Iterator[Run]:
    """Of offsets in their order, from the window's first byte."""
    at = first = 0
    while first < len(offsets):
        values = 1
        while values < _AT_ONCE and first + values < len(offsets) and _follows(offsets, first + values):
            values += 1
        yield Run(int(offsets[first]) - at, values)
        at = int(offsets[first])
        first += values


def _follows(offsets: IntArray, index: int) -> bool:
    return bool(offsets[index] == offsets[index - 1] + 1)


def _prepare(site: Site) -> Body:
    windows, form, bounds = Windows.of(site), finishing.proved(site), value_bounds(site)
    weights, bias = (tensor.data for tensor in site.inputs[1:])
    assert form is not None and weights is not None and bias is not None
    flat, lacking = flat_weights(site), site.op.folded_bias(weights, bias)
    filters, depth = flat.shape
    found = _fours(site.inputs[1], bounds.low.tobytes(), bounds.high.tobytes())
    names = [*(f"value {index}" for index in range(depth)), "data"]
    names += ["window", "end"] if windows.columns > 1 else []
    names += ["line", "lines"] if windows.lines > 1 else []
    names += ["gathered", "image", "image_row"] if windows.strip else []
    values = {
        "windows": windows,
        "strip": windows.strip,
        "depth": depth,
        "filters": filters,
        "fours": found,
        "runs": list(_runs(windows.offsets)),
        "reach": REACH,
        "finish": Finish(form, pairs.FREE, decided_in=pairs.DECIDED_IN),
        "frame": Frame.of(names),
    }
    stream = [words for four in found for words in four.stream(flat, bounds, form, lacking)]
    data = {"data": np.concatenate(stream)}
    return Body(values, data, variant=f"{depth}x{filters}_{windows.count}", proof=form.describe())


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return {0: spacing(Windows.of(site).order)}


def _scratch(site: Site) -> int:
    strip = Windows.of(site).strip
    return strip.bytes if strip else 0


KERNELS = (
    Kernel(
        "conv_2d.packed_fours",
        Conv2D,
        _prepare,
        requires=finishing.FEATURES,
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
        scratch=_scratch,
    ),
)
