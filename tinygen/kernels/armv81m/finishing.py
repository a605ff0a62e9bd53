"""From sums to int8 results in memory, eight at a time: what a kernel with vectors does at the end of a block.

The form is that of `tinygen.proofs.vector_product`. `templates/armv81m/finish.j2` prints it, and says in which
registers it wants what. Its constants follow the weights in the stream (see `by_filter`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.kernel import Site
from tinygen.kernels import streams
from tinygen.ops.weighted import Weighted
from tinygen.proofs.vector_product import VectorProduct, prove_vector_product

FEATURES = frozenset({"thumb2", "mve"})

LANES = 16
"""Bytes of a vector, and so values that are multiplied at once."""


def proved(site: Site, uniform: bool = True) -> VectorProduct | None:
    """The form of a weighted layer of int8, if there is one for all its filters; `uniform`: with the same K."""
    op: Weighted = site.op
    return prove_vector_product(op.requant, op.output_zero_point, op.clamp, *op.reach(site.inputs), uniform=uniform)


@dataclass(frozen=True)
class Finish:
    """Literals of the end of a block."""

    scale: int | None
    """K, which sums are multiplied by; None: it is the filter's, in the stream"""
    shift: int
    stepped: bool
    """Whether lanes below T get D"""
    clamps: tuple[tuple[str, int], ...]
    """(instruction, byte) for each end of the outputs that saturation does not see to"""

    @staticmethod
    def of(form: VectorProduct) -> Finish:
        """That of a proved form."""
        ends = (("vmax.s8", form.low_clamp), ("vmin.s8", form.high_clamp))
        clamps = tuple((name, end & 0xFF) for name, end in ends if end is not None)
        scale = 1 << int(form.scale_bits[0]) if form.is_uniform else None
        return Finish(scale, form.shift, form.step is not None, clamps)

    @property
    def bytes(self) -> int:
        """Of a filter's constants in the stream."""
        return 4 * (2 + 2 * self.stepped + (self.scale is None))

    @property
    def filters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Registers of B, M (, T, D) of two filters, in the order in which they are loaded."""
        if self.stepped:
            return ("r0", "r2", "r4", "r6"), ("r8", "r10", "r12", "lr")
        return ("r0", "r2"), ("r4", "r6")


def by_filter(form: VectorProduct, missing: IntArray) -> streams.Words:
    """(filters, 2 to 5): B and M, in the form with a step T and D, and K where it is the filter's.

    `missing` (filters,): what the sums in registers lack of the accumulators: the folded bias.
    """
    start = form.start + (missing << form.scale_bits)
    steps = [] if form.step is None else [form.start, form.step]
    scale = [] if form.is_uniform else [1 << form.scale_bits]
    return streams.words(np.stack([start, form.multiplier, *steps, *scale], axis=1))
