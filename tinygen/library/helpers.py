"""Functions of C that layers call: which a library needs, in the order of their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygen.ir import Array
from tinygen.layers import Layer, with_parts
from tinygen.natural_logarithm import TABLE as LOGARITHMS
from tinygen.sigmoid_table import SIGMOID_TABLE

_ORDER = (
    "dot_vectors",
    "clamp",
    "int4",
    "high_mul",
    "divide_by_pot",
    "requantise",
    "requantise_wide",
    "requantise_int64",
    "requantise_once",
    "requantise_once_wide",
    "requantise_real",
    "round_float",
    "fused",
    "fused_sum",
    "square_root",
    "fused_normal",
    "exponential",
    "natural_logarithm",
    "requantise_float",
    "requantise_float_shifted",
    "requantise_line",
    "high_product",
    "float_product",
    "taps",
    "sources",
    "reciprocal",
    "log",
    "inverse_root",
    "logistic_int16",
    "tanh_int16",
    "interpolate_int16",
    "fill_bytes",
    "move_bytes",
    "move_words",
)
"""C helpers in the order of their definitions: later ones call earlier ones."""

_NEEDS = {
    "requantise": ("high_mul", "divide_by_pot"),
    "requantise_wide": ("high_mul", "divide_by_pot"),
    "requantise_float": ("round_float",),
    "exponential": ("fused_normal",),
    "requantise_float_shifted": ("round_float",),
    "requantise_line": ("round_float",),
    "reciprocal": ("high_mul",),
    "log": ("high_mul", "divide_by_pot", "reciprocal"),
    "inverse_root": ("high_mul",),
}

TABLES: Mapping[str, Mapping[str, Array]] = {
    "logistic_int16": {"sigmoid_table": SIGMOID_TABLE},
    "tanh_int16": {"sigmoid_table": SIGMOID_TABLE},
    "natural_logarithm": {"logarithms": LOGARITHMS},
}
"""Constant arrays that helpers read, each there once for all helpers and layers."""


def needed_helpers(layers: Sequence[Layer]) -> list[str]:
    """The names of those that the layers call, and of those that these call."""
    needed = {helper for layer in with_parts(layers) for helper in layer.body.helpers}
    for helper in tuple(needed):
        needed.update(_NEEDS.get(helper, ()))
    return [helper for helper in _ORDER if helper in needed]
