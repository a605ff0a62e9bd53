"""From sums to results in memory, eight at a time: what a kernel with vectors does at the end of a block.

The form is that of `tinygen.proofs.vector_product`, or, for int16, of `tinygen.proofs.halfword_product`.
`templates/armv81m/finish.j2` prints it, and says in which registers it wants what. Its constants follow the weights in
the stream (see `by_filter`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.fixedpoint import IntArray
from tinygen.kernel import Site
from tinygen.kernels import streams
from tinygen.ops.common import INT16
from tinygen.ops.weighted import Weighted
from tinygen.proofs.halfword_product import prove_halfword_product
from tinygen.proofs.vector_product import VectorProduct, prove_vector_product

FEATURES = frozenset({"thumb2", "mve"})


def proved(site: Site, uniform: bool = True, exceptions: int = 1) -> VectorProduct | None:
    """The form of a weighted layer, if there is one for all its filters; `uniform`: with the same K.

    `exceptions`: that a filter may have, at most.
    """
    op: Weighted = site.op
    layer = (op.requant, op.output_zero_point, op.clamp, *op.reach(site.inputs))
    if site.outputs[0].dtype == INT16:
        return prove_halfword_product(*layer)
    form = prove_vector_product(*layer, uniform=uniform)
    return form if form is not None and form.steps <= exceptions else None


@dataclass(frozen=True)
class Finish:
    """Literals of the end of a block."""

    scale: int | None
    """K, which sums are multiplied by; None: it is the filter's, in the stream"""
    shift: int
    steps: int
    """Pairs of T and D: lanes below T, or equal to it, get D"""
    excepts: bool
    """Whether it is those equal to T"""
    clamps: tuple[tuple[str, int], ...]
    """(instruction, value as a byte or halfword) for each end of the outputs that saturation does not see to"""
    bits: int
    """Of an output"""

    @staticmethod
    def of(form: VectorProduct) -> Finish:
        """That of a proved form."""
        ends = (("vmax", form.low_clamp), ("vmin", form.high_clamp))
        mask = (1 << form.bits) - 1
        clamps = tuple((f"{name}.s{form.bits}", end & mask) for name, end in ends if end is not None)
        scale = 1 << int(form.scale_bits[0]) if form.is_uniform else None
        return Finish(scale, form.shift, form.steps, form.exception is not None, clamps, form.bits)

    @property
    def stepped(self) -> bool:
        """Whether there are any such pairs."""
        return self.steps > 0

    @property
    def condition(self) -> str:
        """Of VPT, from lanes to T: type and comparison."""
        return "i32 eq" if self.excepts else "s32 lt"

    @property
    def bytes(self) -> int:
        """Of a filter's constants in the stream."""
        return 4 * (2 + 2 * self.steps + (self.scale is None))

    @property
    def filters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Registers of B, M (, T, D) of two filters, in the order in which they are loaded."""
        if self.stepped:
            return ("r0", "r2", "r4", "r6"), ("r8", "r10", "r12", "lr")
        return ("r0", "r2"), ("r4", "r6")


def by_filter(form: VectorProduct, missing: IntArray) -> streams.Words:
    """(filters, n): B and M, in forms with steps each T and D, and K where it is the filter's.

    `missing` (filters,): what the sums in registers lack of the accumulators: the folded bias.
    """
    start = form.start + (missing << form.scale_bits)
    scale = [] if form.is_uniform else [1 << form.scale_bits]
    return streams.words(np.stack([start, form.multiplier, *form.pairs, *scale], axis=1))
