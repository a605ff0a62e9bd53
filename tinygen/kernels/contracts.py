"""What kernels of several instruction sets ask of a layer."""

from __future__ import annotations

from tinygen.kernel import Site
from tinygen.ops.common import INT8
from tinygen.ops.weighted import Weighted


def is_plain(site: Site) -> bool:
    """Whether all is int8: weights of a byte each, without a zero point."""
    op: Weighted = site.op
    x, weights, _ = site.inputs
    return x.dtype == INT8 and not weights.packed and not op.weight_zero_point
