"""How C is written for a core, where that is not the same for all."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.core_macros import condition_of
from tinygen.target import FLASH_SPACE, INT16, Core


@dataclass(frozen=True)
class Dialect:
    """Words of the generated C. What differs is right on every machine, and needed or fast on this one."""

    const: str = "const"
    """What constant arrays, and pointers to them, are declared with."""
    factor: str = "int32_t"
    """The type of an int8 value that is the factor of int8 weights: where an int has 16 bits, so does its product."""

    condition: str = ""
    """The preprocessor's, of a compiler that knows the core's instructions; empty where every one does."""
    flags: str = ""
    """What tells a compiler of the core."""

    @property
    def in_flash(self) -> bool:
        """Whether constants lie in flash that is no part of the data's address space."""
        return self.const != "const"


PORTABLE = Dialect()
"""For all cores whose constants are data, and whose int has 32 bits."""


def dialect_of(core: Core) -> Dialect:
    """The dialect for a core."""
    return Dialect(
        const="const IN_FLASH" if FLASH_SPACE in core.features else "const",
        factor="int16_t" if INT16 in core.features else "int32_t",
        condition=condition_of(core),
        flags=" ".join(core.flags),
    )
