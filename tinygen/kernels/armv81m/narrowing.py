"""From sums of products of 32 bits to int8: narrowing twice, to 16 bits and to 8, which rounds twice and saturates."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.proofs.word_products import WordProducts

_FIRST_SHIFT = 16
_SECOND_SHIFTS = range(1, 9)
"""What narrowing to 8 bits may drop."""


def is_possible(proved: WordProducts) -> bool:
    """Whether its bits of fraction can be dropped so."""
    return proved.fraction_bits - _FIRST_SHIFT in _SECOND_SHIFTS


def offset(proved: WordProducts) -> int:
    """Of the sum: rounding a number that was rounded to fewer bits adds both halves, and then drops all below."""
    return proved.offset - (1 << _FIRST_SHIFT - 1) - (1 << proved.fraction_bits - 1)


def values(proved: WordProducts) -> Mapping[str, object]:
    """For templates: what is dropped, and the ends that saturation does not see to."""
    return {
        "shifts": (_FIRST_SHIFT, proved.fraction_bits - _FIRST_SHIFT),
        "low": None if proved.low == -128 else proved.low,
        "high": None if proved.high == 127 else proved.high,
    }
