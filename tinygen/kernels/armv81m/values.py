"""What kernels with vectors do with values of a byte and of two: the same, in bytes, but for a few instructions.

A vector is 16 bytes of activations. Plans count in bytes: of int16, a pixel has twice as many as channels, and each
weight is there for two of them. In flash weights have a byte each; beside int16 they are widened as they are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir import Array
from tinygen.kernel import Site
from tinygen.kernels.armv7em.plane import Plane
from tinygen.ops.common import INT8, INT16
from tinygen.ops.weighted import Weighted

LANES = 16
"""Bytes of a vector."""


@dataclass(frozen=True)
class Values:
    """Values of `size` bytes, 1 or 2, by weights of one byte."""

    size: int

    @property
    def type(self) -> str:
        """For the names of instructions."""
        return f"s{8 * self.size}"

    @property
    def lanes(self) -> int:
        """Values of a vector, and bytes of its weights."""
        return LANES // self.size

    @property
    def load_weights(self) -> str:
        """The instruction that loads a vector's weights; that of int16 is for r0 to r7."""
        return "vldrw.u32" if self.size == 1 else "vldrb.s16"

    @property
    def letter(self) -> str:
        """Of stores of eight results that are in halfwords."""
        return "b" if self.size == 1 else "h"

    @property
    def scaled(self) -> str:
        """What follows a vector of where results go, counted in results."""
        return "" if self.size == 1 else ", uxtw #1"

    def by_byte(self, weights: Array) -> Array:
        """(..., values) as (..., bytes)."""
        return np.repeat(weights, self.size, axis=-1)

    def of_vectors(self, weights: Array) -> Array:
        """The weights of vectors: (..., 16), one for each byte, as (..., lanes)."""
        return weights[..., :: self.size]

    def plane(self, site: Site) -> Plane:
        """The geometry of a CONV_2D whose channels are bytes."""
        plane = Plane.of(site)
        return replace(plane, channels=plane.channels * self.size, weights=self.by_byte(plane.weights))

    @staticmethod
    def of(site: Site) -> Values:
        """Those of a layer's input."""
        return Values(site.inputs[0].dtype.itemsize)


def are_plain(site: Site) -> bool:
    """Whether activations are int8 or int16, and weights a byte each, without a zero point."""
    op: Weighted = site.op
    x, weights, _ = site.inputs
    return x.dtype in (INT8, INT16) and not weights.packed and not op.weight_zero_point


def has_byte_of_zero(site: Site) -> bool:
    """Whether they are plain, and bytes that are all the same make up the zero point."""
    return are_plain(site) and (site.inputs[0].dtype == INT8 or not site.op.zero_point)
