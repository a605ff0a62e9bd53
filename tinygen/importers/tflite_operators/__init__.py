"""The operators of TensorFlow Lite that can be imported: one function each, by family, in one table."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.tflite_call import Converter
from tinygen.importers.tflite_operators import (
    activations,
    convolutions,
    elementwise,
    images,
    joins,
    moves,
    pools,
    recurrent,
    reductions,
)

CONVERTERS: Mapping[str, Converter] = {
    **activations.CONVERTERS,
    **convolutions.CONVERTERS,
    **elementwise.CONVERTERS,
    **images.CONVERTERS,
    **joins.CONVERTERS,
    **moves.CONVERTERS,
    **pools.CONVERTERS,
    **recurrent.CONVERTERS,
    **reductions.CONVERTERS,
}

PACKED_INPUTS: Mapping[str, frozenset[int]] = convolutions.PACKED_INPUTS
"""Inputs (by index) that can be int4, by operator; of all others, none can."""

INSTEAD_OF_ANY = "leave this part of the network out, and compute it before or after the model"
INSTEAD: Mapping[str, str] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": "train two layers, one of them on the reversed sequence",
    "GELU": "train with RELU or HARD_SWISH",
    "TOPK_V2": "ARG_MAX finds the first; or let the caller sort the output",
    "WHILE": "convert a recurrent layer with unroll=True",
}
"""What people can do in their model instead."""
