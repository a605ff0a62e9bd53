"""What operators are asked for that the runtimes ignore, get wrong or refuse: refused here, with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_builder import build_case

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.ops.case import Case, CaseTensor

X = CaseTensor((1, 4, 4, 2), scale=0.1, zero_point=3)
OTHER = CaseTensor((1, 4, 4, 2), scale=0.2, zero_point=3)
PROBABILITY = CaseTensor((1, 4, 4, 2), scale=1 / 256, zero_point=-128)


def integers(*values: int, dtype: str = "int32") -> CaseTensor:
    array = np.array(values, dtype)
    return CaseTensor(array.shape, dtype, data=array)


def at_run_time(count: int) -> CaseTensor:
    return CaseTensor((count,), "int8", scale=1.0)


BOX = {"begin": integers(0, 0, 0, 0), "end": integers(1, 2, 2, 2), "strides": integers(1, 1, 1, 1)}
QUARTER = CaseTensor((1, 2, 2, 2), scale=0.1, zero_point=3)
PADS = CaseTensor((4, 2), "int32", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
PADDED = CaseTensor((1, 6, 6, 2), scale=0.1, zero_point=3)
MEAN_OF = CaseTensor((1, 2), scale=0.1, zero_point=3)

WIDE = CaseTensor((1, 4, 4, 2), "int16", scale=0.001)
SHIFTED = CaseTensor((1, 4, 4, 2), "int16", scale=0.001, zero_point=3)
UNIT = CaseTensor((1, 4, 4, 2), "int16", scale=1 / 32768)
NEARLY_ONE = 1 - 2.0**-23  # alpha, of scales whose quotient is nearly its reciprocal
ABOVE = CaseTensor((1, 4, 4, 2), scale=(1 + 2.0**-23) / 64)

REFUSALS: dict[str, tuple[Case, str]] = {
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
    "transposition that is none": (
        Case("", "TRANSPOSE", (X, integers(0, 1, 1, 2)), (X,)),
        "TRANSPOSE: ",
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_operators_are_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    case, expected = REFUSALS[reason]
    path = tmp_path / "net.tflite"
    path.write_bytes(build_case(case))
    with pytest.raises(UnsupportedModel, match=expected):
        pipeline.read(path)
