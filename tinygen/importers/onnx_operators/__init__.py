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
    **pools.CONVERTERS,
    **reductions.CONVERTERS,
    **slices.CONVERTERS,
    **softmax.CONVERTERS,
}

INSTEAD_OF_ANY = "leave this part of the network out, and compute it before or after the model"
INSTEAD: Mapping[str, str] = {
    "BatchNormalization": "fold it into the convolution before: export in evaluation mode, with constant folding",
    "ConvInteger": "write it as QLinearConv, or as Conv between DequantizeLinear and QuantizeLinear",
    "DynamicQuantizeLinear": "quantise statically, with calibration data: onnxruntime.quantization.quantize_static",
    "Loop": "export recurrent layers as LSTM or GRU, or unrolled",
    "MatMulInteger": "write it as QLinearMatMul, or as MatMul between DequantizeLinear and QuantizeLinear",
    "Scan": "export recurrent layers as LSTM or GRU, or unrolled",
}
"""What people can do in their model instead."""
