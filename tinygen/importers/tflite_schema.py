"""The TensorFlow Lite file schema, version 3: its numbers, enumerations and option tables.

Field ids, types and defaults are facts of the published schema (tensorflow/lite/schema/schema.fbs), stated here once.
The numbers of fields that hold tables and vectors stand in tflite_file.py, where they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

IDENTIFIER = b"TFL3"
VERSION = 3


class BuiltinOperator(IntEnum):
    """Operators: the numbers of OperatorCode."""

    ADD = 0
    AVERAGE_POOL_2D = 1
    CONCATENATION = 2
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEPTH_TO_SPACE = 5
    DEQUANTIZE = 6
    EMBEDDING_LOOKUP = 7
    FLOOR = 8
    FULLY_CONNECTED = 9
    HASHTABLE_LOOKUP = 10
    L2_NORMALIZATION = 11
    L2_POOL_2D = 12
    LOCAL_RESPONSE_NORMALIZATION = 13
    LOGISTIC = 14
    LSH_PROJECTION = 15
    LSTM = 16
    MAX_POOL_2D = 17
    MUL = 18
    RELU = 19
    RELU_N1_TO_1 = 20
    RELU6 = 21
    RESHAPE = 22
    RESIZE_BILINEAR = 23
    RNN = 24
    SOFTMAX = 25
    SPACE_TO_DEPTH = 26
    SVDF = 27
    TANH = 28
    CONCAT_EMBEDDINGS = 29
    SKIP_GRAM = 30
    CALL = 31
    CUSTOM = 32
    EMBEDDING_LOOKUP_SPARSE = 33
    PAD = 34
    UNIDIRECTIONAL_SEQUENCE_RNN = 35
    GATHER = 36
    BATCH_TO_SPACE_ND = 37
    SPACE_TO_BATCH_ND = 38
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    DIV = 42
    SQUEEZE = 43
    UNIDIRECTIONAL_SEQUENCE_LSTM = 44
    STRIDED_SLICE = 45
    BIDIRECTIONAL_SEQUENCE_RNN = 46
    EXP = 47
    TOPK_V2 = 48
    SPLIT = 49
    LOG_SOFTMAX = 50
    DELEGATE = 51
    BIDIRECTIONAL_SEQUENCE_LSTM = 52
    CAST = 53
    PRELU = 54
    MAXIMUM = 55
    ARG_MAX = 56
    MINIMUM = 57
    LESS = 58
    NEG = 59
    PADV2 = 60
    GREATER = 61
    GREATER_EQUAL = 62
    LESS_EQUAL = 63
    SELECT = 64
    SLICE = 65
    SIN = 66
    TRANSPOSE_CONV = 67
    SPARSE_TO_DENSE = 68
    TILE = 69
    EXPAND_DIMS = 70
    EQUAL = 71
    NOT_EQUAL = 72
    LOG = 73
    SUM = 74
    SQRT = 75
    RSQRT = 76
    SHAPE = 77
    POW = 78
    ARG_MIN = 79
    FAKE_QUANT = 80
    REDUCE_PROD = 81
    REDUCE_MAX = 82
    PACK = 83
    LOGICAL_OR = 84
    ONE_HOT = 85
    LOGICAL_AND = 86
    LOGICAL_NOT = 87
    UNPACK = 88
    REDUCE_MIN = 89
    FLOOR_DIV = 90
    REDUCE_ANY = 91
    SQUARE = 92
    ZEROS_LIKE = 93
    FILL = 94
    FLOOR_MOD = 95
    RANGE = 96
    RESIZE_NEAREST_NEIGHBOR = 97
    LEAKY_RELU = 98
    SQUARED_DIFFERENCE = 99
    MIRROR_PAD = 100
    ABS = 101
    SPLIT_V = 102
    UNIQUE = 103
    CEIL = 104
    REVERSE_V2 = 105
    ADD_N = 106
    GATHER_ND = 107
    COS = 108
    WHERE = 109
    RANK = 110
    ELU = 111
    REVERSE_SEQUENCE = 112
    MATRIX_DIAG = 113
    QUANTIZE = 114
    MATRIX_SET_DIAG = 115
    ROUND = 116
    HARD_SWISH = 117
    IF = 118
    WHILE = 119
    NON_MAX_SUPPRESSION_V4 = 120
    NON_MAX_SUPPRESSION_V5 = 121
    SCATTER_ND = 122
    SELECT_V2 = 123
    DENSIFY = 124
    SEGMENT_SUM = 125
    BATCH_MATMUL = 126
    PLACEHOLDER_FOR_GREATER_OP_CODES = 127
    CUMSUM = 128
    CALL_ONCE = 129
    BROADCAST_TO = 130
    RFFT2D = 131
    CONV_3D = 132
    IMAG = 133
    REAL = 134
    COMPLEX_ABS = 135
    HASHTABLE = 136
    HASHTABLE_FIND = 137
    HASHTABLE_IMPORT = 138
    HASHTABLE_SIZE = 139
    REDUCE_ALL = 140
    CONV_3D_TRANSPOSE = 141
    VAR_HANDLE = 142
    READ_VARIABLE = 143
    ASSIGN_VARIABLE = 144
    BROADCAST_ARGS = 145
    RANDOM_STANDARD_NORMAL = 146
    BUCKETIZE = 147
    RANDOM_UNIFORM = 148
    MULTINOMIAL = 149
    GELU = 150
    DYNAMIC_UPDATE_SLICE = 151
    RELU_0_TO_1 = 152
    UNSORTED_SEGMENT_PROD = 153
    UNSORTED_SEGMENT_MAX = 154
    UNSORTED_SEGMENT_SUM = 155
    ATAN2 = 156
    UNSORTED_SEGMENT_MIN = 157
    SIGN = 158
    BITCAST = 159
    BITWISE_XOR = 160
    RIGHT_SHIFT = 161
    STABLEHLO_LOGISTIC = 162
    STABLEHLO_ADD = 163
    STABLEHLO_DIVIDE = 164
    STABLEHLO_MULTIPLY = 165
    STABLEHLO_MAXIMUM = 166
    STABLEHLO_RESHAPE = 167
    STABLEHLO_CLAMP = 168
    STABLEHLO_CONCATENATE = 169
    STABLEHLO_BROADCAST_IN_DIM = 170
    STABLEHLO_CONVOLUTION = 171
    STABLEHLO_SLICE = 172
    STABLEHLO_CUSTOM_CALL = 173
    STABLEHLO_REDUCE = 174
    STABLEHLO_ABS = 175
    STABLEHLO_AND = 176
    STABLEHLO_COSINE = 177
    STABLEHLO_EXPONENTIAL = 178
    STABLEHLO_FLOOR = 179
    STABLEHLO_LOG = 180
    STABLEHLO_MINIMUM = 181
    STABLEHLO_NEGATE = 182
    STABLEHLO_OR = 183
    STABLEHLO_POWER = 184
    STABLEHLO_REMAINDER = 185
    STABLEHLO_RSQRT = 186
    STABLEHLO_SELECT = 187
    STABLEHLO_SUBTRACT = 188
    STABLEHLO_TANH = 189
    STABLEHLO_SCATTER = 190
    STABLEHLO_COMPARE = 191
    STABLEHLO_CONVERT = 192
    STABLEHLO_DYNAMIC_SLICE = 193
    STABLEHLO_DYNAMIC_UPDATE_SLICE = 194
    STABLEHLO_PAD = 195
    STABLEHLO_IOTA = 196
    STABLEHLO_DOT_GENERAL = 197
    STABLEHLO_REDUCE_WINDOW = 198
    STABLEHLO_SORT = 199
    STABLEHLO_WHILE = 200
    STABLEHLO_GATHER = 201
    STABLEHLO_TRANSPOSE = 202
    DILATE = 203
    STABLEHLO_RNG_BIT_GENERATOR = 204
    REDUCE_WINDOW = 205
    STABLEHLO_COMPOSITE = 206
    STABLEHLO_SHIFT_LEFT = 207
    STABLEHLO_CBRT = 208
    STABLEHLO_CASE = 209


class TensorType(IntEnum):
    """Element types of tensors; the lower-case name is numpy's, where numpy has the type."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT32 = 2
    UINT8 = 3
    INT64 = 4
    STRING = 5
    BOOL = 6
    INT16 = 7
    COMPLEX64 = 8
    INT8 = 9
    FLOAT64 = 10
    COMPLEX128 = 11
    UINT64 = 12
    RESOURCE = 13
    VARIANT = 14
    UINT32 = 15
    UINT16 = 16
    INT4 = 17
    BFLOAT16 = 18
    INT2 = 19
    UINT4 = 20
    FLOAT8_E4M3FN = 21
    FLOAT8_E5M2 = 22


class Padding(IntEnum):
    """Padding of convolutions and pools."""

    SAME = 0
    VALID = 1


class ActivationFunctionType(IntEnum):
    """What an operator applies to its own result."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3
    TANH = 4
    SIGN_BIT = 5


class FullyConnectedOptionsWeightsFormat(IntEnum):
    """How FULLY_CONNECTED weights lie in their buffer."""

    DEFAULT = 0
    SHUFFLED4x16INT8 = 1


class MirrorPadMode(IntEnum):
    """Whether MIRROR_PAD repeats the edge element (SYMMETRIC) or not (REFLECT)."""

    REFLECT = 0
    SYMMETRIC = 1


# Bits per element of the types that numpy lacks and whose elements have a fixed size. Their data stay bytes.
PACKED_BITS: Mapping[TensorType, int] = {
    TensorType.INT2: 2,
    TensorType.INT4: 4,
    TensorType.UINT4: 4,
    TensorType.FLOAT8_E4M3FN: 8,
    TensorType.FLOAT8_E5M2: 8,
    TensorType.BFLOAT16: 16,
}

# Types whose elements have no size in the file: their buffers are what they are.
UNSIZED = frozenset({TensorType.STRING, TensorType.RESOURCE, TensorType.VARIANT})

FieldKind = Literal["int32", "bool", "float32", "string", "int32s"] | type[IntEnum]


@dataclass(frozen=True)
class Field:
    """A field of an option table. Its place in the table's vtable is 4 + 2 * id; enumerations are stored as int8."""

    id: int
    name: str
    kind: FieldKind
    default: int = 0  # of numbers, bools and enumerations; strings and vectors default to empty


@dataclass(frozen=True)
class OptionTable:
    """The options of one or more operators: the schema's name, its number in the union BuiltinOptions, its fields."""

    name: str
    number: int
    fields: tuple[Field, ...]


_ACTIVATION = "fused_activation_function"

_CONV_2D = OptionTable(
    "Conv2DOptions",
    1,
    (
        Field(0, "padding", Padding),
        Field(1, "stride_w", "int32"),
        Field(2, "stride_h", "int32"),
        Field(3, _ACTIVATION, ActivationFunctionType),
        Field(4, "dilation_w_factor", "int32", 1),
        Field(5, "dilation_h_factor", "int32", 1),
        Field(6, "quantized_bias_type", TensorType),
    ),
)
_DEPTHWISE_CONV_2D = OptionTable(
    "DepthwiseConv2DOptions",
    2,
    (
        Field(0, "padding", Padding),
        Field(1, "stride_w", "int32"),
        Field(2, "stride_h", "int32"),
        Field(3, "depth_multiplier", "int32"),
        Field(4, _ACTIVATION, ActivationFunctionType),
        Field(5, "dilation_w_factor", "int32", 1),
        Field(6, "dilation_h_factor", "int32", 1),
    ),
)
_TRANSPOSE_CONV = OptionTable(
    "TransposeConvOptions",
    49,
    (
        Field(0, "padding", Padding),
        Field(1, "stride_w", "int32"),
        Field(2, "stride_h", "int32"),
        Field(3, _ACTIVATION, ActivationFunctionType),
        Field(4, "quantized_bias_type", TensorType),
    ),
)
_FULLY_CONNECTED = OptionTable(
    "FullyConnectedOptions",
    8,
    (
        Field(0, _ACTIVATION, ActivationFunctionType),
        Field(1, "weights_format", FullyConnectedOptionsWeightsFormat),
        Field(2, "keep_num_dims", "bool"),
        Field(3, "asymmetric_quantize_inputs", "bool"),
        Field(4, "quantized_bias_type", TensorType),
    ),
)
_POOL_2D = OptionTable(
    "Pool2DOptions",
    5,
    (
        Field(0, "padding", Padding),
        Field(1, "stride_w", "int32"),
        Field(2, "stride_h", "int32"),
        Field(3, "filter_width", "int32"),
        Field(4, "filter_height", "int32"),
        Field(5, _ACTIVATION, ActivationFunctionType),
    ),
)
_STRIDED_SLICE = OptionTable(
    "StridedSliceOptions",
    32,
    (
        Field(0, "begin_mask", "int32"),
        Field(1, "end_mask", "int32"),
        Field(2, "ellipsis_mask", "int32"),
        Field(3, "new_axis_mask", "int32"),
        Field(4, "shrink_axis_mask", "int32"),
        Field(5, "offset", "bool"),
    ),
)
_UNIDIRECTIONAL_SEQUENCE_LSTM = OptionTable(
    "UnidirectionalSequenceLSTMOptions",
    71,
    (
        Field(0, _ACTIVATION, ActivationFunctionType),
        Field(1, "cell_clip", "float32"),
        Field(2, "proj_clip", "float32"),
        Field(3, "time_major", "bool"),
        Field(4, "asymmetric_quantize_inputs", "bool"),
        Field(5, "diagonal_recurrent_tensors", "bool"),
    ),
)
_SVDF = OptionTable(
    "SVDFOptions",
    6,
    (
        Field(0, "rank", "int32"),
        Field(1, _ACTIVATION, ActivationFunctionType),
        Field(2, "asymmetric_quantize_inputs", "bool"),
    ),
)
_BATCH_MATMUL = OptionTable(
    "BatchMatMulOptions",
    101,
    (Field(0, "adj_x", "bool"), Field(1, "adj_y", "bool"), Field(2, "asymmetric_quantize_inputs", "bool")),
)
_ADD = OptionTable(
    "AddOptions", 11, (Field(0, _ACTIVATION, ActivationFunctionType), Field(1, "pot_scale_int16", "bool", 1))
)
_SUB = OptionTable(
    "SubOptions", 28, (Field(0, _ACTIVATION, ActivationFunctionType), Field(1, "pot_scale_int16", "bool", 1))
)
_MUL = OptionTable("MulOptions", 21, (Field(0, _ACTIVATION, ActivationFunctionType),))
_DIV = OptionTable("DivOptions", 29, (Field(0, _ACTIVATION, ActivationFunctionType),))
_L2_NORMALIZATION = OptionTable("L2NormOptions", 12, (Field(0, _ACTIVATION, ActivationFunctionType),))
_CONCATENATION = OptionTable(
    "ConcatenationOptions", 10, (Field(0, "axis", "int32"), Field(1, _ACTIVATION, ActivationFunctionType))
)
# Fields 0 and 1, the new height and width, are deprecated: the size is an input.
_RESIZE_BILINEAR = OptionTable(
    "ResizeBilinearOptions", 15, (Field(2, "align_corners", "bool"), Field(3, "half_pixel_centers", "bool"))
)
_RESIZE_NEAREST_NEIGHBOR = OptionTable(
    "ResizeNearestNeighborOptions", 74, (Field(0, "align_corners", "bool"), Field(1, "half_pixel_centers", "bool"))
)
_CAST = OptionTable("CastOptions", 37, (Field(0, "in_data_type", TensorType), Field(1, "out_data_type", TensorType)))
_VAR_HANDLE = OptionTable("VarHandleOptions", 111, (Field(0, "container", "string"), Field(1, "shared_name", "string")))
_PACK = OptionTable("PackOptions", 59, (Field(0, "values_count", "int32"), Field(1, "axis", "int32")))
_UNPACK = OptionTable("UnpackOptions", 64, (Field(0, "num", "int32"), Field(1, "axis", "int32")))
_GATHER = OptionTable("GatherOptions", 23, (Field(0, "axis", "int32"), Field(1, "batch_dims", "int32")))
_REDUCER = OptionTable("ReducerOptions", 27, (Field(0, "keep_dims", "bool"),))
_SOFTMAX = OptionTable("SoftmaxOptions", 9, (Field(0, "beta", "float32"),))
_LOG_SOFTMAX = OptionTable("LogSoftmaxOptions", 36, ())
_SLICE = OptionTable("SliceOptions", 48, ())
_RESHAPE = OptionTable("ReshapeOptions", 17, (Field(0, "new_shape", "int32s"),))
_SQUEEZE = OptionTable("SqueezeOptions", 30, (Field(0, "squeeze_dims", "int32s"),))
_SPLIT = OptionTable("SplitOptions", 35, (Field(0, "num_splits", "int32"),))
_SPLIT_V = OptionTable("SplitVOptions", 79, (Field(0, "num_splits", "int32"),))
_LEAKY_RELU = OptionTable("LeakyReluOptions", 75, (Field(0, "alpha", "float32"),))
_SPACE_TO_DEPTH = OptionTable("SpaceToDepthOptions", 19, (Field(0, "block_size", "int32"),))
_DEPTH_TO_SPACE = OptionTable("DepthToSpaceOptions", 94, (Field(0, "block_size", "int32"),))
_MIRROR_PAD = OptionTable("MirrorPadOptions", 77, (Field(0, "mode", MirrorPadMode),))
_ARG_MAX = OptionTable("ArgMaxOptions", 40, (Field(0, "output_type", TensorType),))
_ARG_MIN = OptionTable("ArgMinOptions", 57, (Field(0, "output_type", TensorType),))
_CALL_ONCE = OptionTable("CallOnceOptions", 103, (Field(0, "init_subgraph_index", "int32"),))

# By operator. Operators that are not here have no options, or none that anyone here reads.
OPTIONS: Mapping[BuiltinOperator, OptionTable] = {
    BuiltinOperator.ADD: _ADD,
    BuiltinOperator.ARG_MAX: _ARG_MAX,
    BuiltinOperator.ARG_MIN: _ARG_MIN,
    BuiltinOperator.AVERAGE_POOL_2D: _POOL_2D,
    BuiltinOperator.BATCH_MATMUL: _BATCH_MATMUL,
    BuiltinOperator.CALL_ONCE: _CALL_ONCE,
    BuiltinOperator.CAST: _CAST,
    BuiltinOperator.CONCATENATION: _CONCATENATION,
    BuiltinOperator.CONV_2D: _CONV_2D,
    BuiltinOperator.DEPTHWISE_CONV_2D: _DEPTHWISE_CONV_2D,
    BuiltinOperator.DEPTH_TO_SPACE: _DEPTH_TO_SPACE,
    BuiltinOperator.DIV: _DIV,
    BuiltinOperator.FULLY_CONNECTED: _FULLY_CONNECTED,
    BuiltinOperator.GATHER: _GATHER,
    BuiltinOperator.L2_NORMALIZATION: _L2_NORMALIZATION,
    BuiltinOperator.LEAKY_RELU: _LEAKY_RELU,
    BuiltinOperator.LOG_SOFTMAX: _LOG_SOFTMAX,
    BuiltinOperator.MAX_POOL_2D: _POOL_2D,
    BuiltinOperator.MEAN: _REDUCER,
    BuiltinOperator.MIRROR_PAD: _MIRROR_PAD,
    BuiltinOperator.MUL: _MUL,
    BuiltinOperator.PACK: _PACK,
    BuiltinOperator.REDUCE_MAX: _REDUCER,
    BuiltinOperator.REDUCE_MIN: _REDUCER,
    BuiltinOperator.REDUCE_PROD: _REDUCER,
    BuiltinOperator.RESHAPE: _RESHAPE,
    BuiltinOperator.RESIZE_BILINEAR: _RESIZE_BILINEAR,
    BuiltinOperator.RESIZE_NEAREST_NEIGHBOR: _RESIZE_NEAREST_NEIGHBOR,
    BuiltinOperator.SLICE: _SLICE,
    BuiltinOperator.SOFTMAX: _SOFTMAX,
    BuiltinOperator.SPACE_TO_DEPTH: _SPACE_TO_DEPTH,
    BuiltinOperator.SPLIT: _SPLIT,
    BuiltinOperator.SPLIT_V: _SPLIT_V,
    BuiltinOperator.SQUEEZE: _SQUEEZE,
    BuiltinOperator.STRIDED_SLICE: _STRIDED_SLICE,
    BuiltinOperator.SUB: _SUB,
    BuiltinOperator.SUM: _REDUCER,
    BuiltinOperator.SVDF: _SVDF,
    BuiltinOperator.TRANSPOSE_CONV: _TRANSPOSE_CONV,
    BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM: _UNIDIRECTIONAL_SEQUENCE_LSTM,
    BuiltinOperator.UNPACK: _UNPACK,
    BuiltinOperator.VAR_HANDLE: _VAR_HANDLE,
}
OPTION_TABLE_NAMES: Mapping[int, str] = {table.number: table.name for table in OPTIONS.values()}
