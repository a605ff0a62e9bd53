"""Means of real values over all pixels, as ONNX Runtime's GlobalAveragePool adds them up: four channels in a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygen.access import Spacing
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.pools import Pool, in_turn
from tinygen.kernels.armv81m.reals import Quotient, RealValues, Rounding, are_in_range
from tinygen.kernels.armv81m.rows import steps
from tinygen.ops.common import INT8, full_range
from tinygen.ops.float_mean import LANES, FloatMean, MeanOrder
from tinygen.ops.window import Axis, Window

_NEAR = 127


@dataclass(frozen=True)
class Image:
    """Pixels of so many channels, a byte each."""

    pixels: int
    channels: int

    @property
    def near(self) -> bool:
        """Whether a load can move its pointer to the next pixel."""
        return self.channels <= _NEAR

    @property
    def fours(self) -> int:
        """Of pixels."""
        return self.pixels // LANES

    @property
    def left(self) -> int:
        """Pixels after those."""
        return self.pixels % LANES

    @property
    def whole(self) -> int:
        """Vectors of channels that are full."""
        return self.channels // LANES

    @property
    def rest(self) -> int:
        """Channels that are left."""
        return self.channels % LANES


def _accepts(site: Site) -> bool:
    op: FloatMean = site.op
    return (
        op.order is MeanOrder.VECTORS
        and site.inputs[0].shape[0] == 1
        and not op.curve
        and are_in_range(op.scale, op.output_scale)
    )


def _prepare(site: Site) -> Body:
    op: FloatMean = site.op
    _, height, width, channels = site.inputs[0].shape
    count = np.float32(op.divisor(site.inputs[0].shape))
    is_exact = np.frexp(count)[0] == 1 / 2
    low, high = ((end - op.zero_point) * op.scale / op.output_scale + op.output_zero_point for end in full_range(INT8))
    values = {
        "image": Image(height * width, channels),
        "real": RealValues.of(np.float32(op.scale) / (count if is_exact else np.float32(1)), op.zero_point),
        "mean": None if is_exact else Quotient.of(count),
        "quotient": Quotient.of(np.float32(op.output_scale)),
        "rounding": Rounding.of(0, op.output_zero_point, (low, high), op.clamp),
    }
    return Body(values, variant=f"{height}x{width}x{channels}", proof="float32 sums in vectors, as the profile has it")


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    _, height, width, channels = site.inputs[0].shape
    pool = Pool(Window(Axis(height, 1), Axis(width, 1)), height, width, channels)
    return in_turn(pool, list(steps(channels, LANES)))


KERNELS = (
    Kernel(
        "float_mean.vectors",
        FloatMean,
        _prepare,
        requires=frozenset({"thumb2", "mve", "loops"}),
        accepts=_accepts,
        overlaps=_overlaps,
        assembly=True,
    ),
)
