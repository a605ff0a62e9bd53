"""What the pixels of pictures are to a model."""

from __future__ import annotations

import numpy as np

from tinygen.ir import Array
from tinygen.manifest import Port

_ALL_LEVELS = 0.01
"""How far a quantisation's range may be from that of pixels, relative to it, to have a level for each of them."""


def pixel_table(port: Port) -> Array:
    """(256,), of the input's dtype: what each uint8 is, by the input's scale and zero point.

    A model's file does not say what numbers it was trained on, but its quantisation shows their range: 0 to 255 as they
    are, 0 to 1, or -1 to 1. Where it has a level for each pixel, pixels are only shifted, as the benchmark's reference
    firmware does; else they are rounded to the nearest level, halves away from zero, and saturated.
    """
    assert port.scale is not None and port.zero_point is not None
    info = np.iinfo(port.dtype)
    low, high = (port.scale * (bound - port.zero_point) for bound in (info.min, info.max))
    start, span = (0.0, 255.0) if high > 2.0 else (-1.0, 2.0) if low < -0.25 else (0.0, 1.0)
    pixels = np.arange(256, dtype=np.float64)
    if abs(255.0 * port.scale / span - 1.0) < _ALL_LEVELS:
        levels = pixels + info.min
    else:
        scaled = (start + pixels * span / 255.0) / port.scale
        levels = np.trunc(scaled + np.copysign(0.5, scaled)) + port.zero_point
    table: Array = np.clip(levels, info.min, info.max).astype(port.dtype)
    return table
