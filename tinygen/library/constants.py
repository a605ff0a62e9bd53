"""The constant arrays of a library: its helpers', and its layers'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen import c_text
from tinygen.c_text import C_TYPES
from tinygen.ir import Array
from tinygen.layers import Layer, with_parts
from tinygen.library.helpers import TABLES, needed_helpers


@dataclass(frozen=True)
class Constant:
    """An array of C, and its name."""

    name: str
    array: Array

    @property
    def c_type(self) -> str:
        """Of an element."""
        return C_TYPES[str(self.array.dtype)]

    @property
    def count(self) -> int:
        """Of elements."""
        return int(self.array.size)

    @property
    def lines(self) -> Sequence[str]:
        """Its elements as C."""
        return c_text.array_lines(self.array)


def constants_of(layers: Sequence[Layer], name: str) -> list[Constant]:
    """What the layers of library `name` read, in the order of its definitions; what several read is there once."""
    shared = {role: array for helper in needed_helpers(layers) for role, array in TABLES.get(helper, {}).items()}
    every = with_parts(layers)
    shared.update((role, array) for layer in every for role, array in layer.body.shared.items())
    own = [Constant(f"{layer.id}_{role}", array) for layer in every for role, array in layer.body.constants.items()]
    return [Constant(f"{name}_{role}", array) for role, array in shared.items()] + own
