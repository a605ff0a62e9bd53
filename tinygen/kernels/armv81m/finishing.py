"""From sums to results in memory, eight at a time: what a kernel with vectors does at the end of a block.

The form is that of `tinygen.proofs.vector_product`, or, for int16, of `tinygen.proofs.halfword_product`; for ONNX
Runtime's rule, where no line is proved, that of `tinygen.proofs.vector_float`.
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
from tinygen.proofs.vector_float import VectorFloat, vector_float
from tinygen.proofs.vector_product import VectorProduct, prove_vector_product

FEATURES = frozenset({"thumb2", "mve"})

VectorForm = VectorProduct | VectorFloat
"""What rescales sums, with constants for every filter."""


def proved(site: Site, uniform: bool = True) -> VectorForm | None:
    """The form of a weighted layer, if there is one for all its filters; `uniform`: lines have the same K."""
    op: Weighted = site.op
    layer = (op.requant, op.output_zero_point, op.clamp, *op.reach(site.inputs))
    if site.outputs[0].dtype == INT16:
        return prove_halfword_product(*layer)
    return prove_vector_product(*layer, uniform=uniform) or vector_float(*layer)


@dataclass(frozen=True)
class Finish:
    """Literals of the end of a block."""

    scale: int | None
    """K, which sums are multiplied by; None: it is the filter's, in the stream"""
    shift: int
    stepped: bool
    """Whether lanes below T get D"""
    clamps: tuple[tuple[str, int], ...]
    """(instruction, value as a byte or halfword) for each end of the outputs that saturation does not see to"""
    bits: int
    """Of an output"""
    zero_point: int | None
    """What is added to products in float32, once they are integers; None: they are no floats"""
    is_narrow: bool
    """Whether such integers are all of 16 bits"""
    rounder: int | None
    """The bits of a float32 that rounds products when it is added, and adds the zero point; None: there is none"""

    @staticmethod
    def of(form: VectorForm) -> Finish:
        """That of a proved form."""
        ends = (("vmax", form.low_clamp), ("vmin", form.high_clamp))
        mask = (1 << form.bits) - 1
        clamps = tuple((f"{name}.s{form.bits}", end & mask) for name, end in ends if end is not None)
        scale = 1 << int(form.scale_bits[0]) if form.is_uniform else None
        in_float = (
            (form.zero_point, form.is_narrow, form.rounder) if isinstance(form, VectorFloat) else (None, False, None)
        )
        return Finish(scale, form.shift, form.step is not None, clamps, form.bits, *in_float)

    @property
    def in_float(self) -> bool:
        """Whether sums are multiplied in float32."""
        return self.zero_point is not None

    @property
    def held_name(self) -> str:
        """What stays in a vector, if there is room for it."""
        if self.rounder is not None:
            return "1.5 * 2**23 + Z"
        return "Z" if self.in_float else "K"

    @property
    def in_register(self) -> int | None:
        """The same as the value of a register: the rounder, the zero point, or K."""
        if self.rounder is not None:
            return self.rounder
        return self.zero_point if self.in_float else self.scale

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


def by_filter(form: VectorForm, missing: IntArray) -> streams.Words:
    """(filters, 2 to 5): B and M, in the form with a step T and D, and K where it is the filter's.

    `missing` (filters,): what the sums in registers lack of the accumulators: the folded bias.
    """
    start = form.start + (missing << form.scale_bits)
    steps = [] if form.step is None else [form.threshold, form.step]
    scale = [] if form.is_uniform else [1 << form.scale_bits]
    return streams.words(np.stack([start, form.multiplier, *steps, *scale], axis=1))
