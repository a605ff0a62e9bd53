"""What operators of the standard have in common: by what they do with values, and by what ONNX Runtime does to them."""

from __future__ import annotations

from tinygen.importers.onnx_file import RawNode
from tinygen.importers.onnx_integer_products import SCALED

# What they do with values

_FOLLOWING = frozenset(
    (
        *("DepthToSpace", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax"),
        *("ReduceMin", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    )
)
CHOOSING = ("GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMin")
"""What moves values by their order."""
CHOOSING_IN_A_CHANNEL = ("GlobalMaxPool", "MaxPool")
"""Those of them that compare values of one channel with each other."""
PAIRS = ("Add", "Div", "Max", "Min", "Mul", "Sub")
BY_VALUE = (*PAIRS, *("Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"))
"""Operators that are more than functions of one value, or are noted where they are not fused, between integers."""
SUMS = ("ReduceL1", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare")
MEANS = ("AveragePool", "GlobalAveragePool", *SUMS)
"""What makes float32 of real values that are held."""
OF_REALS = (*MEANS, "LogSoftmax", "Softmax")
"""What ONNX Runtime computes on real values, and we, too, if they are a function of integers, one for all channels."""

# What ONNX Runtime does

PASSED_BY = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""What it takes QuantizeLinear through, towards the operator before, and fuses both."""
FUSED = ("AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Softmax")
FUSED_ON_UINT8 = ("Conv", "MatMul")
NEVER_FUSED = ("ConvTranspose", "Div", "LogSoftmax", "Max", "Min", "Sub", "Sum", *SCALED.values())
"""What it computes in float32 whatever stands around it, and we as it does."""


def follows(node: RawNode) -> bool:
    """Whether a node's results are some of its first input's values, as they are: of integers, with their scale."""
    return node.op in _FOLLOWING or (node.op == "Resize" and node.attributes.get("mode", "nearest") == "nearest")
