"""The operators of ONNX that can be imported: one function each, by family, in one table."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.onnx_call import Converter
from tinygen.importers.onnx_operators import (
    convolutions,
    curves,
    edges,
    elementwise,
    images,
    matmuls,
    moves,
    norms,
    pools,
    reductions,
    slices,
    softmax,
)

CONVERTERS: Mapping[str, Converter] = {
    **convolutions.CONVERTERS,
    **curves.CONVERTERS,
    **edges.CONVERTERS,
    **elementwise.CONVERTERS,
    **images.CONVERTERS,
    **matmuls.CONVERTERS,
    **moves.CONVERTERS,
    **norms.CONVERTERS,
    **pools.CONVERTERS,
    **reductions.CONVERTERS,
    **slices.CONVERTERS,
    **softmax.CONVERTERS,
}

INSTEAD_OF_ANY = "leave this part of the network out, and compute it before or after the model"
_UNROLLED = "unroll it into quantised operators, or convert the network to .tflite, where LSTM layers are integers"
_WITH_MUL = (
    "supported are constant weights and, behind them, Cast to float32, Mul by a constant, Add of one and "
    "QuantizeLinear; else take DequantizeLinear, MatMul or Conv, and QuantizeLinear"
)
RECURRENT = ("GRU", "LSTM", "RNN")
INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(RECURRENT, _UNROLLED),
    "BatchNormalization": "make it part of the convolution before, and quantise then: tinygen quantize does both",
    "ConvInteger": _WITH_MUL,
    "LpPool": "take AveragePool or MaxPool",
    "Loop": "export recurrent layers unrolled",
    "MatMulInteger": _WITH_MUL,
    "Scan": "export recurrent layers unrolled",
}
"""What people can do in their model instead."""
