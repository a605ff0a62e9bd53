"""What operators are asked for that the runtimes ignore, get wrong or refuse: refused here, with the reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from operator_cases import NAMED
from refusals import assert_refused, integers

from tinygen.ops.case import Case, CaseTensor

X = CaseTensor((1, 4, 4, 2), scale=0.1, zero_point=3)
OTHER = CaseTensor((1, 4, 4, 2), scale=0.2, zero_point=3)
PROBABILITY = CaseTensor((1, 4, 4, 2), scale=1 / 256, zero_point=-128)


def at_run_time(count: int) -> CaseTensor:
    return CaseTensor((count,), "int8", scale=1.0)


BOX = {"begin": integers(0, 0, 0, 0), "end": integers(1, 2, 2, 2), "strides": integers(1, 1, 1, 1)}
QUARTER = CaseTensor((1, 2, 2, 2), scale=0.1, zero_point=3)
PADS = CaseTensor((4, 2), "int32", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
PADDED = CaseTensor((1, 6, 6, 2), scale=0.1, zero_point=3)
PLAIN = CaseTensor((1, 4, 4, 2), "int16", scale=0.1)
PADS_OF_TWO = CaseTensor((1, 2), "int32", data=np.array([[2, 2]], np.int32))
NO_PADS = CaseTensor((2, 2), "int32", data=np.zeros((2, 2), np.int32))
PHASES = CaseTensor((4, 2, 2, 2), scale=0.1, zero_point=3)
MEAN_OF = CaseTensor((1, 2), scale=0.1, zero_point=3)

WIDE = CaseTensor((1, 4, 4, 2), "int16", scale=0.001)
SHIFTED = CaseTensor((1, 4, 4, 2), "int16", scale=0.001, zero_point=3)
UNIT = CaseTensor((1, 4, 4, 2), "int16", scale=1 / 32768)
DIRECTION = CaseTensor((1, 4, 4, 2), scale=1 / 128)
NEARLY_ONE = 1 - 2.0**-23  # alpha, of scales whose quotient is nearly its reciprocal
ABOVE = CaseTensor((1, 4, 4, 2), scale=(1 + 2.0**-23) / 64)


def with_input(case: Case, operand: int, **changes: object) -> Case:
    inputs = list(case.inputs)
    inputs[operand] = dataclasses.replace(inputs[operand], **changes)  # type: ignore[type-var,arg-type]
    return dataclasses.replace(case, inputs=tuple(inputs))


def with_output(case: Case, **changes: object) -> Case:
    return dataclasses.replace(case, outputs=(dataclasses.replace(case.outputs[0], **changes),))  # type: ignore[arg-type]


def with_bias(case: Case, operand: int, value: int, dtype: str) -> Case:
    bias = case.inputs[operand]
    assert bias is not None
    return with_input(case, operand, dtype=dtype, data=np.full(bias.shape, value, dtype))


def product(a: CaseTensor, b: CaseTensor, *shape: int) -> Case:
    return Case("", "BATCH_MATMUL", (a, b), (CaseTensor(shape, a.dtype, 0.2),), {})


CONV = NAMED["conv_2d-int16"]
POINTWISE = NAMED["conv_2d-int16_pointwise"]
DEPTHWISE = NAMED["depthwise_conv_2d-int16"]
DENSE = NAMED["fully_connected-int16"]
PACKED = NAMED["fully_connected-int4"]
TRANSPOSED = NAMED["transpose_conv-int16"]
INT8_TRANSPOSED = NAMED["transpose_conv-valid"]
MATRIX = CaseTensor((2, 4, 4), scale=0.1)
INT16_MATRIX = CaseTensor((2, 4, 4), "int16", scale=0.1)

REFUSALS: dict[str, tuple[Case, str]] = {
    "int16 input with a zero point": (
        with_input(CONV, 0, zero_point=3),
        "CONV_2D: the input is int16 with the zero point 3, which the runtimes take to be 0",
    ),
    "int16 output with a zero point": (
        with_output(DENSE, zero_point=-1),
        "FULLY_CONNECTED: the output is int16 with the zero point -1",
    ),
    "int16 input, int8 output": (
        with_output(CONV, dtype="int8"),
        "CONV_2D: its inputs make int16 .* its output is declared int8",
    ),
    "depthwise bias that the runtime misreads": (
        with_bias(DEPTHWISE, 2, 5, "int32"),
        "DEPTHWISE_CONV_2D: the bias is int32, which the runtimes read as int64.* int64 biases",
    ),
    "transposed bias that the runtime misreads": (
        with_bias(TRANSPOSED, 3, 5, "int32"),
        "TRANSPOSE_CONV: the bias is int32, which the runtimes read as int64",
    ),
    "int16 bias of a convolution": (with_bias(CONV, 2, 5, "int16"), "CONV_2D: the bias is int16"),
    "int32 sums that overflow": (
        with_bias(CONV, 2, 2**31 - 1, "int32"),
        "CONV_2D: the accumulator of channel .* more than int32",
    ),
    "bias beyond 48 bits": (with_bias(CONV, 2, 2**47, "int64"), "CONV_2D: the accumulator of channel .* can reach"),
    "the least bias": (with_bias(CONV, 2, -(2**63), "int64"), "CONV_2D: the accumulator of channel .* can reach"),
    "int16 gain beyond int32": (
        with_output(CONV, scale=1e-9),
        "CONV_2D: the accumulator of channel .* what its scale leaves of int32",
    ),
    "int16 gain without a bit to round": (
        with_output(POINTWISE, scale=1e-13),
        "CONV_2D: the accumulator of channel .* more than 0, what its scale leaves of int32",
    ),
    "int4 filter of an int16 convolution": (
        with_input(CONV, 1, dtype="int4"),
        "CONV_2D: the filter is int4, the input int16: the runtimes have int4 filters for int8 inputs only",
    ),
    "int4 filter of an int16 layer": (with_input(DENSE, 1, dtype="int4"), "FULLY_CONNECTED: the filter is int4"),
    "int4 filter with scales for channels": (
        with_input(PACKED, 1, scale=(0.01,) * 9),
        "FULLY_CONNECTED: the filter is int4 with a scale for each channel, which the runtimes refuse",
    ),
    "int4 filter of a transposed convolution": (
        with_input(INT8_TRANSPOSED, 1, dtype="int4"),
        "TRANSPOSE_CONV: it reads 'tensor1', which is int4: only filters of CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONN",
    ),
    "int4 operand": (
        Case("", "ADD", (X, dataclasses.replace(X, dtype="int4", data=np.ones(X.shape, np.int8))), (X,)),
        "ADD: it reads 'tensor1', which is int4: only filters",
    ),
    "int4 filter computed at run time": (with_input(PACKED, 1, data=None), "'tensor1' has the type int4"),
    "transposed to another shape than declared": (
        with_input(INT8_TRANSPOSED, 0, data=np.array([1, 9, 12, 4], np.int32)),
        r"TRANSPOSE_CONV: the output shape \[1, 9, 12, 4\] is not that of the output tensor, \(1, 9, 12, 5\)",
    ),
    "transposed with filters of another depth": (
        with_input(INT8_TRANSPOSED, 2, shape=(1, 4, 5, 4)),
        "TRANSPOSE_CONV: the input has 4 channels, the filters have a depth of 3",
    ),
    "transposed into less than a window": (
        with_output(with_input(INT8_TRANSPOSED, 0, data=np.array([1, 2, 12, 5], np.int32)), shape=(1, 2, 12, 5)),
        r"TRANSPOSE_CONV: the kernel 3x4, stride 2x2 does not fit into the output of \(2, 12\) pixels",
    ),
    "transposed filter computed at run time": (
        with_input(INT8_TRANSPOSED, 1, data=None, scale=0.1),
        "TRANSPOSE_CONV: the filter is computed at run time",
    ),
    "matrices of two types": (product(MATRIX, INT16_MATRIX, 2, 4, 4), "BATCH_MATMUL: the second input is int16"),
    "int16 matrix with a zero point": (
        product(INT16_MATRIX, dataclasses.replace(INT16_MATRIX, zero_point=1), 2, 4, 4),
        "BATCH_MATMUL: the second input is int16 with the zero point 1",
    ),
    "a vector and a matrix": (
        product(CaseTensor((4,), scale=0.1), MATRIX, 2, 4),
        r"BATCH_MATMUL: the first input has 1 dimensions \(4,\), expected are 2 to 5",
    ),
    "matrices in six dimensions": (
        product(CaseTensor((1, 1, 1, 1, 4, 4), scale=0.1), MATRIX, 1, 1, 1, 2, 4, 4),
        "BATCH_MATMUL: the first input has 6 dimensions",
    ),
    "matrices that do not multiply": (
        product(MATRIX, CaseTensor((2, 3, 4), scale=0.1), 2, 4, 4),
        r"BATCH_MATMUL: the matrices \(2, 4, 4\) and \(2, 3, 4\) cannot be multiplied",
    ),
    "batches that do not broadcast": (
        product(MATRIX, CaseTensor((3, 4, 4), scale=0.1), 2, 4, 4),
        "BATCH_MATMUL: the matrices .* cannot be multiplied",
    ),
    "product whose scale overflows": (
        with_output(product(MATRIX, MATRIX, 2, 4, 4), scale=1e-9),
        "BATCH_MATMUL: sums of 4 products can reach 65536, their scale leaves",
    ),
    "logistic to another scale": (Case("", "LOGISTIC", (X,), (X,)), "LOGISTIC: .*scale"),
    "tanh to another scale": (Case("", "TANH", (X,), (PROBABILITY,)), "TANH: .*scale"),
    "relu6 that rescales": (Case("", "RELU6", (X,), (OTHER,)), "RELU6: .*different scales"),
    "slope that is not finite": (Case("", "LEAKY_RELU", (X,), (X,), {"alpha": np.inf}), "LEAKY_RELU: .*alpha"),
    "slope that the runtime takes for its opposite": (
        Case("", "LEAKY_RELU", (ABOVE,), (CaseTensor((1, 4, 4, 2), scale=1 / 64),), {"alpha": -NEARLY_ONE}),
        "LEAKY_RELU: .*power of two",
    ),
    "int16 logistic with a zero point": (Case("", "LOGISTIC", (SHIFTED,), (UNIT,)), "LOGISTIC: .*zero point 3"),
    "int16 logistic to another scale": (Case("", "LOGISTIC", (WIDE,), (WIDE,)), "LOGISTIC: .*1/32768"),
    "int16 tanh of a coarse scale": (
        Case("", "TANH", (CaseTensor((1, 4, 4, 2), "int16", scale=2.7),), (UNIT,)),
        "TANH: .*too coarse",
    ),
    "int16 tanh of a fine scale": (
        Case("", "TANH", (CaseTensor((1, 4, 4, 2), "int16", scale=3e-14),), (UNIT,)),
        "TANH: .*too fine",
    ),
    "int16 relu with a zero point": (Case("", "RELU", (WIDE,), (SHIFTED,)), "RELU: .*zero point 3"),
    "int16 abs with a zero point": (Case("", "ABS", (SHIFTED,), (WIDE,)), "ABS: .*zero point 3"),
    "int16 softmax with a zero point": (Case("", "SOFTMAX", (SHIFTED,), (UNIT,), {"beta": 1.0}), "SOFTMAX: .*point 3"),
    "int16 softmax of a coarse scale": (
        Case("", "SOFTMAX", (CaseTensor((1, 4, 4, 2), "int16", scale=6.0),), (UNIT,), {"beta": 1.0}),
        "SOFTMAX: .*beyond int32",
    ),
    "softmax from int16 to int8": (
        Case("", "SOFTMAX", (WIDE,), (PROBABILITY,), {"beta": 1.0}),
        "SOFTMAX: .*zero point",
    ),
    "softmax from int8 to int16 of another scale": (
        Case("", "SOFTMAX", (X,), (UNIT,), {"beta": 1.0}),
        "SOFTMAX: .*1/65536 and zero point -32768",
    ),
    "int16 elu": (Case("", "ELU", (WIDE,), (WIDE,)), "ELU: .*int16"),
    "elu to a scale beyond int32": (
        Case("", "ELU", (OTHER,), (CaseTensor((1, 4, 4, 2), scale=1e-9),)),
        "ELU: .*too fine",
    ),
    "L2 normalisation to another scale": (
        Case("", "L2_NORMALIZATION", (X,), (X,), {"fused_activation_function": "NONE"}),
        "L2_NORMALIZATION: .*1/128 and zero point 0",
    ),
    "L2 normalisation with an activation": (
        Case("", "L2_NORMALIZATION", (X,), (X,), {"fused_activation_function": "RELU"}),
        "L2_NORMALIZATION: the fused activation RELU is not supported",
    ),
    "L2 normalisation of long rows": (
        Case("", "L2_NORMALIZATION", (CaseTensor((1, 33_026), scale=1.0, zero_point=-128),), (DIRECTION,)),
        "L2_NORMALIZATION: rows of 33026 overflow the sum of squares, the limit is 33025",
    ),
    "L2 normalisation of five dimensions": (
        Case("", "L2_NORMALIZATION", (CaseTensor((1, 1, 1, 1, 4), scale=1.0),), (DIRECTION,)),
        "L2_NORMALIZATION: the input has 5 dimensions",
    ),
    "int16 L2 normalisation": (
        Case("", "L2_NORMALIZATION", (WIDE,), (CaseTensor(WIDE.shape, "int16", scale=1 / 128),)),
        "L2_NORMALIZATION: the input is int16, supported is int8",
    ),
    "inverse root of int16 with a zero point": (
        Case(
            "", "RSQRT", (CaseTensor((4,), "int16", scale=1.0, zero_point=5),), (CaseTensor((4,), "int16", scale=1.0),)
        ),
        "RSQRT: the input has the zero point 5, int16 must have 0",
    ),
    "inverse root to a fine scale": (
        Case("", "RSQRT", (CaseTensor((4,), scale=1.0),), (CaseTensor((4,), scale=5e-10),)),
        "RSQRT: twice the inverse root can reach 2097152, the scales leave",
    ),
    "inverse root to a coarse scale": (
        Case("", "RSQRT", (CaseTensor((4,), scale=1.0),), (CaseTensor((4,), scale=1e5),)),
        "RSQRT: the output's scale is too coarse",
    ),
    "int8 exponential": (
        Case("", "EXP", (X,), (X,)),
        "EXP: the input is int8, the runtime computes it in float32 only",
    ),
    "reversed apart": (Case("", "REVERSE_V2", (X, integers(1, 3)), (X,)), "REVERSE_V2: the axes .* are not neighbours"),
    "reversed beyond": (Case("", "REVERSE_V2", (X, integers(4)), (X,)), "REVERSE_V2: the axis 4 is not in the input"),
    "coarse quotient": (
        Case("", "DIV", (X, X), (CaseTensor((1, 4, 4, 2), scale=0.02),)),
        "DIV: the output's scale is too coarse for the inputs'",
    ),
    "fine quotient": (
        Case("", "DIV", (X, X), (CaseTensor((1, 4, 4, 2), scale=1e-8),)),
        "DIV: the output's scale is too fine for the inputs'",
    ),
    "int16 quotient": (Case("", "DIV", (WIDE, WIDE), (WIDE,)), "DIV: the first input is int16, supported is int8"),
    "sum of tensors of other scales": (Case("", "ADD_N", (X, OTHER), (X,)), "ADD_N: .*different scales"),
    "sum of one tensor": (Case("", "ADD_N", (X,), (X,)), "ADD_N: it has 1 inputs, expected are 2 or more"),
    "sum of int16 tensors": (Case("", "ADD_N", (WIDE, WIDE), (WIDE,)), "ADD_N: input 0 is int16|the input 0 is int16"),
    "log-softmax to another scale": (Case("", "LOG_SOFTMAX", (X,), (X,)), "LOG_SOFTMAX: .*1/16 and zero point 127"),
    "int16 log-softmax": (
        Case("", "LOG_SOFTMAX", (WIDE,), (CaseTensor((1, 4, 4, 2), "int16", scale=1 / 16, zero_point=127),)),
        "LOG_SOFTMAX: .*int16",
    ),
    "log-softmax of a row that is too long": (
        Case(
            "",
            "LOG_SOFTMAX",
            (CaseTensor((1, 4096), scale=0.1),),
            (CaseTensor((1, 4096), scale=1 / 16, zero_point=127),),
        ),
        "LOG_SOFTMAX: .*4096",
    ),
    "int16 hard swish": (Case("", "HARD_SWISH", (WIDE,), (WIDE,)), "HARD_SWISH: .*int16"),
    "int16 that becomes int8": (Case("", "RELU", (WIDE,), (CaseTensor((1, 4, 4, 2), scale=0.1),)), "RELU: .*int8"),
    "maximum of two scales": (Case("", "MAXIMUM", (X, OTHER), (X,)), "MAXIMUM: .*scales"),
    "minimum of two scales": (Case("", "MINIMUM", (X, OTHER), (X,)), "MINIMUM: .*scales"),
    "product of shapes that do not broadcast": (
        Case("", "MUL", (X, CaseTensor((3,), scale=0.1)), (X,)),
        r"MUL: the shapes .* do not broadcast",
    ),
    "axis beyond the rank": (Case("", "MEAN", (X, integers(1, 4)), (MEAN_OF,)), "MEAN: the axis 4 is not in the input"),
    "axes of another type": (Case("", "SUM", (X, integers(1, dtype="int64")), (X,)), "SUM: the axes are int64"),
    "extreme that rescales": (
        Case("", "REDUCE_MAX", (X, integers(1, 2)), (CaseTensor((1, 2), scale=0.2),)),
        "REDUCE_MAX: .*different scales",
    ),
    "mean of another shape": (
        Case("", "MEAN", (X, integers(1, 2)), (CaseTensor((1, 3), scale=0.1),)),
        r"MEAN: its inputs make int8 \(1, 2\), its output is declared int8 \(1, 3\)",
    ),
    "paddings computed at run time": (Case("", "PAD", (X, at_run_time(8)), (PADDED,)), "PAD: .*constant"),
    "padding that rescales": (
        Case("", "PAD", (X, PADS), (CaseTensor((1, 6, 6, 2), scale=0.3, zero_point=3),)),
        "PAD: .*scales",
    ),
    "slice with an ellipsis": (
        Case("", "STRIDED_SLICE", (X, *BOX.values()), (QUARTER,), {"ellipsis_mask": 1}),
        "STRIDED_SLICE: .*ellipsis",
    ),
    "slice that rescales": (
        Case("", "SLICE", (X, integers(0, 0, 0, 0), integers(1, 4, 4, 2)), (OTHER,)),
        "SLICE: .*scales",
    ),
    "slice of five dimensions": (
        Case(
            "",
            "STRIDED_SLICE",
            (CaseTensor((1,) * 5, scale=0.1), *(integers(*[step] * 5) for step in (0, 1, 1))),
            (CaseTensor((1,) * 5, scale=0.1),),
        ),
        "STRIDED_SLICE: the input has 5 dimensions .* supported are 1 to 4",
    ),
    "dropped dimension walked backwards": (
        Case(
            "",
            "STRIDED_SLICE",
            (X, integers(0, 3, 0, 0), integers(1, 2, 4, 2), integers(1, -1, 1, 1)),
            (CaseTensor((1, 4, 2), scale=0.1, zero_point=3),),
            {"shrink_axis_mask": 2},
        ),
        "STRIDED_SLICE: dimension 1 is dropped with a negative stride",
    ),
    "int16 padded with another value than its zero": (
        Case(
            "",
            "PAD",
            (CaseTensor((1, 4, 4, 2), "int16", scale=0.1, zero_point=7), PADS),
            (CaseTensor((1, 6, 6, 2), "int16", scale=0.1, zero_point=7),),
        ),
        "PAD: the zero point is 7, but the runtime pads int16 with 0",
    ),
    "int32 transposition": (
        Case("", "TRANSPOSE", (CaseTensor((2, 3), "int32"), integers(1, 0)), (CaseTensor((3, 2), "int32"),)),
        "TRANSPOSE: the input is int32, supported is int8 or int16 or float32",
    ),
    "int64 permutation": (Case("", "TRANSPOSE", (X, integers(0, 1, 2, 3, dtype="int64")), (X,)), "TRANSPOSE: .*int64"),
    "int32 with a dimension more": (
        Case("", "EXPAND_DIMS", (CaseTensor((2,), "int32"), integers(0)), (CaseTensor((1, 2), "int32"),)),
        "EXPAND_DIMS: the input is int32, supported is int8 or int16 or float32",
    ),
    "int16 blocks to channels": (
        Case("", "SPACE_TO_DEPTH", (PLAIN,), (CaseTensor((1, 2, 2, 8), "int16", scale=0.1),), {"block_size": 2}),
        "SPACE_TO_DEPTH: the input is int16, supported is int8 or float32",
    ),
    "uint8 slice": (
        Case("", "SLICE", (CaseTensor((3,), "uint8"), integers(0), integers(2)), (CaseTensor((2,), "uint8"),)),
        "SLICE: the input is uint8",
    ),
    "mirror of more than there is": (
        Case("", "MIRROR_PAD", (CaseTensor((2,), scale=0.1), PADS_OF_TWO), (CaseTensor((6,), scale=0.1),)),
        "MIRROR_PAD: dimension 0 of 2 is padded by 2 and 2, but can be mirrored by 0 to 1",
    ),
    "int16 mirror": (
        Case(
            "",
            "MIRROR_PAD",
            (CaseTensor((3,), "int16", scale=0.1), PADS_OF_TWO),
            (CaseTensor((7,), "int16", scale=0.1),),
        ),
        "MIRROR_PAD: the input is int16, supported is int8 or float32",
    ),
    "index beyond the dimension": (
        Case("", "GATHER", (X, integers(0, 4)), (CaseTensor((1, 2, 4, 2), scale=0.1, zero_point=3),), {"axis": 1}),
        "GATHER: the index 4 is not in dimension 1, which has 4: 0 to 3",
    ),
    "negative index": (
        Case("", "GATHER", (X, integers(0, -1)), (CaseTensor((1, 2, 4, 2), scale=0.1, zero_point=3),), {"axis": 1}),
        "GATHER: the index -1 is not in dimension 1",
    ),
    "gather beyond the rank": (
        Case("", "GATHER", (X, integers(0)), (X,), {"axis": 4}),
        "GATHER: axis 4 after 0 batch dimensions is not in the input",
    ),
    "gather of other batches": (
        Case("", "GATHER", (X, CaseTensor((2, 1), "int32")), (X,), {"axis": 1, "batch_dims": 1}),
        "GATHER: .*differ in a batch dimension",
    ),
    "int16 gather": (
        Case("", "GATHER", (PLAIN, integers(0, 1, 2, 3)), (PLAIN,), {"axis": 1}),
        "GATHER: the input is int16, supported is int8 or float32",
    ),
    "int64 indices": (Case("", "GATHER", (X, integers(0, dtype="int64")), (X,), {"axis": 0}), "GATHER: .*int64"),
    "nothing to broadcast": (
        Case("", "BROADCAST_TO", (X, integers(1, 4, 4, 3)), (CaseTensor((1, 4, 4, 3), scale=0.1, zero_point=3),)),
        r"BROADCAST_TO: the shape .* does not broadcast to \(1, 4, 4, 3\)",
    ),
    "no repeats": (Case("", "TILE", (X, integers(1, 0, 1, 1)), (X,)), r"TILE: the repeats \(1, 0, 1, 1\) leave no"),
    "too many repeats": (Case("", "TILE", (X, integers(1, 1 << 30, 1, 1)), (X,)), "TILE: the shape .* is too large"),
    "filled with several": (Case("", "FILL", (integers(2), X), (X,)), r"FILL: the value has the shape \(1, 4, 4, 2\)"),
    "nothing filled": (
        Case("", "FILL", (integers(2, 0), CaseTensor((), scale=0.1)), (CaseTensor((2, 1), scale=0.1),)),
        r"FILL: the shape \(2, 0\) has no elements",
    ),
    "product at run time": (
        Case("", "REDUCE_PROD", (CaseTensor((4,), "int32"), integers(0)), (CaseTensor((), "int32"),)),
        "REDUCE_PROD: the input is computed at run time",
    ),
    "size computed at run time": (
        Case("", "RESIZE_BILINEAR", (X, CaseTensor((2,), "int32")), (X,)),
        "RESIZE_BILINEAR: the size is computed at run time, supported is a constant",
    ),
    "centres that are both": (
        Case("", "RESIZE_BILINEAR", (X, integers(4, 4)), (X,), {"align_corners": True, "half_pixel_centers": True}),
        "RESIZE_BILINEAR: align_corners and half_pixel_centers are both set",
    ),
    "interpolation beyond the image": (
        Case("", "RESIZE_BILINEAR", (X, integers(1575, 4)), (CaseTensor((1, 1575, 4, 2), scale=0.1, zero_point=3),)),
        "RESIZE_BILINEAR: .*reads beyond the image",
    ),
    "int16 interpolation": (
        Case("", "RESIZE_BILINEAR", (PLAIN, integers(4, 4)), (PLAIN,)),
        "RESIZE_BILINEAR: the input is int16, supported is int8",
    ),
    "no pixels": (
        Case("", "RESIZE_NEAREST_NEIGHBOR", (X, integers(0, 4)), (X,)),
        "RESIZE_NEAREST_NEIGHBOR: the new size is 0 x 4",
    ),
    "phases padded with another value than their zero": (
        Case(
            "",
            "SPACE_TO_BATCH_ND",
            (X, integers(2, 2), CaseTensor((2, 2), "int32", data=np.full((2, 2), 2, np.int32))),
            (CaseTensor((4, 4, 4, 2), scale=0.1, zero_point=3),),
        ),
        "SPACE_TO_BATCH_ND: it pads, and the zero point is 3: the runtime pads with 0",
    ),
    "pixels that make no blocks": (
        Case("", "SPACE_TO_BATCH_ND", (X, integers(3, 2), NO_PADS), (PHASES,)),
        "SPACE_TO_BATCH_ND: 4 x 4 pixels, with padding, are not made of blocks",
    ),
    "images that make no blocks": (
        Case("", "BATCH_TO_SPACE_ND", (PHASES, integers(3, 1), NO_PADS), (X,)),
        "BATCH_TO_SPACE_ND: 4 images do not make blocks",
    ),
    "int16 phases": (
        Case(
            "",
            "SPACE_TO_BATCH_ND",
            (PLAIN, integers(2, 2), NO_PADS),
            (CaseTensor((4, 2, 2, 2), "int16", scale=0.1),),
        ),
        "SPACE_TO_BATCH_ND: the input is int16, supported is int8 or float32",
    ),
    "shape as int64": (
        Case("", "SHAPE", (X,), (CaseTensor((4,), "int64"),)),
        r"SHAPE: its inputs make int32 \(4,\), its output is declared int64 \(4,\)",
    ),
    "shape as an output": (
        Case("", "SHAPE", (X,), (CaseTensor((4,), "int32"),)),
        "it is an output, but has the same value always",
    ),
    "transposition that is none": (
        Case("", "TRANSPOSE", (X, integers(0, 1, 1, 2)), (X,)),
        "TRANSPOSE: ",
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_operators_are_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    assert_refused(*REFUSALS[reason], tmp_path)
