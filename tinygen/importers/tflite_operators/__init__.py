"""The operators of TensorFlow Lite that can be imported: one function each, by family, in one table."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.tflite_call import Converter
from tinygen.importers.tflite_operators import convolutions, elementwise, moves, pools

CONVERTERS: Mapping[str, Converter] = {
    **convolutions.CONVERTERS,
    **elementwise.CONVERTERS,
    **moves.CONVERTERS,
    **pools.CONVERTERS,
}

INSTEAD_OF_ANY = "leave this part of the network out, and compute it before or after the model"
INSTEAD: Mapping[str, str] = {
    "CONCATENATION": "add branches instead of concatenating them",
    "HARD_SWISH": "train with RELU6",
    "LEAKY_RELU": "train with RELU",
    "LOGISTIC": "leave the last sigmoid out and compare with its inverse, or train with two classes and SOFTMAX",
    "MEAN": "use AveragePooling2D over the whole image instead of GlobalAveragePooling2D",
    "MUL": "scale by a convolution or batch normalisation, which the converter folds",
    "PAD": "let the convolution pad: padding='same'",
    "PRELU": "train with RELU",
    "RELU": "fuse the activation: put it right behind a convolution, dense layer or addition",
    "RELU6": "fuse the activation: put it right behind a convolution, dense layer or addition",
    "SHAPE": "convert with a fixed batch size: input_shape=(1, …)",
    "STRIDED_SLICE": "convert with a fixed batch size: input_shape=(1, …)",
    "PACK": "convert with a fixed batch size: input_shape=(1, …)",
    "SQUEEZE": "use Reshape",
    "EXPAND_DIMS": "use Reshape",
    "TRANSPOSE": "keep channels last throughout",
}
"""What people can do in their model instead."""
