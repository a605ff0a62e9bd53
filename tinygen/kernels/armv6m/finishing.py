"""From a sum in a low register to an int8 result in the same: what a kernel does with each of its sums.

The form is that of `tinygen.proofs.short_product`, its constants come from a stream of words in the order in which they
are used. `templates/armv6m/finish.j2` prints `Finish.steps` by the macro `output`, under this contract:

    the sum: a low register, any sum of products that lacks the folded bias (see `constants`); in the end the result in
        the low byte, and anything in the others
    the pointer: a low register at the constants of the channel, in the end at those of the next one
    free: low registers in ascending order, three or more; lost. With five of them, a form without a step loads all of
        its constants at once
    flags: lost; labels 85 to 98 are taken, some of them twice

Where results can be open (`tinygen.proofs.open_short_product`), five registers are free, and behind the function's
return is what marks them: `templates/armv6m/marking.j2`. What decides near ties (`tinygen.proofs.near_ties`) is with
the result, or, for kernels with several of them, once behind the function's return: `templates/armv6m/near_ties.j2`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.fixedpoint import IntArray
from tinygen.kernel import Site
from tinygen.kernels import streams
from tinygen.ops.weighted import Weighted
from tinygen.proofs.near_ties import TOP_BITS
from tinygen.proofs.open_short_product import OpenShortProduct, open_short_product
from tinygen.proofs.short_product import ShortProduct, prove_short_product
from tinygen.rescaling import OpenLine

FEATURES = frozenset({"thumb1"})


def proved(site: Site) -> ShortProduct | None:
    """The form of a weighted layer, if there is one for all its filters; that of other layers where it is to be."""
    op: Weighted = site.op
    if isinstance(op.requant, OpenLine):
        low, high = (tuple(end.tolist()) for end in op.reach(site.inputs))
        return open_short_product(op.requant, op.output_zero_point, op.clamp, low, high)
    return prove_short_product(op.requant, op.output_zero_point, op.clamp, *op.reach(site.inputs), apart=site.mixed)


def is_plain(form: ShortProduct) -> bool:
    """Whether a channel has no constants but O, X, C and one or two factors, or a factor and, maybe, R."""
    is_open, most = isinstance(form, OpenShortProduct), 2 if form.near is None else 1
    return form.step is None and not form.exceptions and len(form.parts) <= most and not is_open


_PLAIN = 3
"""Constants of a plain form besides factors."""
FACTOR_BITS = 12
"""Of M1 below M0, where both are in one word."""


def is_short(form: ShortProduct) -> bool:
    """Whether M0 and M1 are all constants behind C, and find room in one word."""
    if len(form.parts) != 2 or form.near is not None:
        return False
    top, part = (int(factors.max()).bit_length() for factors in form.parts)
    return part <= FACTOR_BITS and top <= 32 - FACTOR_BITS


def constants(form: ShortProduct, bias: IntArray, short: bool = False) -> npt.NDArray[np.uint32]:
    """(channels, n): what the instructions load for each channel; `bias` (channels,) is what sums lack.

    O plus bias, X, E and D of each exception, in the form with a step Z and S, C, M[n] to M[0]; where near ties are
    decided apart, R (`tinygen.proofs.near_ties`) follows, unless x is the sum. C has L in its high byte, so
    that nothing is left to be added to the result. `short`: M0 and M1 are one word.
    """
    step = [] if form.border is None or form.step is None else [form.border, form.step]
    addend = form.addend + (form.lowest << TOP_BITS)
    moved = [constant for exception in form.exceptions for constant in exception]
    factors = [(form.parts[0] << FACTOR_BITS) + form.parts[1]] if short else [*reversed(form.parts)]
    apart = [form.near.rest] if form.near is not None and form.near.rest is not None else []
    return streams.words(np.stack([form.origin + bias, form.most, *moved, *step, addend, *factors, *apart], axis=1))


@dataclass(frozen=True)
class Step:
    """One or a few instructions; `registers` besides that of the sum.

    "load" of these from the pointer; "origin" to add; "clamp" to zero and this; "exception", what is moved and by how
    much; "border" of Z, S and C; "split" of M0 and M1, which are in the second, into both; "part", a product that takes
    the place of the factor, and the carry that is added to it if there is one; "top", the last factor, C and the carry;
    "near" in its place, M0, C and R, or a free one without R, then others that are free; before
    it, where there is a carry, "carry", C and what is added to it.
    """

    kind: str
    registers: tuple[str, ...]
    left: int = 0
    """Of a clamp: words that are still to be loaded."""


@dataclass(frozen=True)
class Finish:
    """How one sum becomes a result, with these registers free."""

    form: ShortProduct
    free: tuple[str, ...]
    short: bool = False
    """Whether M0 and M1 are one word; four registers at least are free."""
    carried: bool = False
    """Whether a word behind the constants is loaded with them: of plain forms, with a register more than they need."""
    single: bool = False
    """Whether M1 is zero: it is loaded, but there is no product with it."""
    decided_in: str = ""
    """The register of the sum where what decides near ties stands once, with five registers free; else empty."""
    doubled_at: int | None = None
    """Where in the frame twice the zero point plus one is, for that; None where layers of others share no code."""

    @property
    def carrier(self) -> str:
        """The register that this word is in."""
        return self.free[len(self.form.parts) + has_rest(self.form) + _PLAIN]

    @property
    def bits(self) -> int:
        """What follows the product of a part."""
        return self.form.bits

    @property
    def factor_bits(self) -> int:
        """Of M1 below M0 in a word."""
        return FACTOR_BITS

    @property
    def top_bits(self) -> int:
        """What follows the last product."""
        return TOP_BITS

    @property
    def open_bits(self) -> int | None:
        """Where results can be open: below two to what power the fraction of a last product's sum then is."""
        return self.form.open_bits if isinstance(self.form, OpenShortProduct) else None

    @property
    def lowest(self) -> int:
        """The byte of the least result."""
        return self.form.lowest & 0xFF

    @property
    def range(self) -> int:
        """From there to the greatest."""
        return self.form.highest - self.form.lowest

    @property
    def steps(self) -> list[Step]:
        """In their order; constants are loaded when one is needed, as many as there are free registers."""
        return list(_steps(self))


def has_rest(form: ShortProduct) -> bool:
    """Whether R is among the constants."""
    return form.near is not None and form.near.rest is not None


def _steps(finish: Finish) -> Iterator[Step]:
    form, free = finish.form, finish.free
    stepped, rest = form.step is not None, has_rest(form)
    parts = len(form.parts) - 1
    factors = 1 if finish.short else 1 + parts
    waiting = 3 + 2 * len(form.exceptions) + 2 * stepped + factors + rest + finish.carried
    unused = list(free)
    held: list[str] = []

    def needed(count: int) -> Iterator[Step]:
        """The next constants are in the first of the registers that are held."""
        if len(held) < count:
            nonlocal waiting
            names = unused[:waiting]
            waiting -= len(names)
            del unused[: len(names)]
            held.extend(names)
            yield Step("load", tuple(names))

    def taken() -> str:
        return held.pop(0)

    def freed(*names: str) -> None:
        unused.extend(names)
        unused.sort(key=free.index)

    yield from needed(1)
    yield Step("origin", (origin := taken(),))
    freed(origin)
    yield from needed(1)
    yield Step("clamp", (most := taken(),), waiting)
    freed(most)
    for _ in form.exceptions:
        yield from needed(2)
        where, by = taken(), taken()
        yield Step("exception", (where, by))
        freed(where, by)
    if stepped:
        yield from needed(3)
        border, step = taken(), taken()
        yield Step("border", (border, step, held[0]))
        freed(border, step)
    yield from needed(1)
    addend = taken()
    if finish.short:
        yield from needed(1)
        yield Step("split", (part := unused[0], top := taken()))
        yield Step("part", (part,))
        yield Step("top", (top, addend, part))
        return
    carry: tuple[str, ...] = ()
    for _ in range(parts):
        yield from needed(1)
        factor = taken()
        if finish.single:
            continue
        yield Step("part", (factor, *carry))
        freed(*carry)
        carry = (factor,)
    if form.near is not None:
        if carry:
            yield Step("carry", (addend, *carry))
            freed(*carry)
        yield from needed(1 + rest)
        others = [name for name in unused if name != finish.decided_in]
        yield Step("near", (taken(), addend, *([taken()] if rest else []), *others))
        return
    yield from needed(1)
    yield Step("top", (taken(), addend, *carry))
