"""Types, scales and ranges that operators are not defined for are refused, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusals import assert_refused, integers

from tinygen.ops.case import Case, CaseTensor


def typed(dtype: str, scale: float | None = 0.1, zero_point: int = 0) -> CaseTensor:
    return CaseTensor((1, 4, 4, 2), dtype, scale, zero_point)


def converted(source: CaseTensor, target: CaseTensor) -> Case:
    return Case("", "QUANTIZE", (source,), (target,))


def pooled(size: int) -> Case:
    x, y = (CaseTensor((1, side, side, 1), "int16", 0.1) for side in (size, 1))
    options = {"padding": "VALID", "filter_height": size, "filter_width": size, "stride_h": 1, "stride_w": 1}
    return Case("", "AVERAGE_POOL_2D", (x,), (y,), options)


X = typed("int8", zero_point=3)
SHORT = typed("int16")
POSITIONS = CaseTensor((1, 4, 2), "int32")
LONG = CaseTensor((1, 70_000), "int16", 0.1)

TYPE_REFUSALS: dict[str, tuple[Case, str]] = {
    "sum of two types": (Case("", "ADD", (X, SHORT), (X,)), "ADD: the inputs are int8 and int16"),
    "sum of int32": (
        Case("", "ADD", (typed("int32"), typed("int32")), (typed("int32"),)),
        "ADD: the first input is int32, supported is int8 or int16",
    ),
    "difference to another type": (
        Case("", "SUB", (SHORT, SHORT), (typed("int8"),)),
        "SUB: its inputs make int16 .*, its output is declared int8",
    ),
    "difference that overflows": (
        Case("", "SUB", (SHORT, SHORT), (typed("int16", 1e-6),)),
        "SUB: the result can reach 1073741824, the scales leave",
    ),
    "product of int16 with zero points": (
        Case("", "MUL", (SHORT, typed("int16", 0.1, 5)), (SHORT,)),
        "MUL: the zero points are 0, 5 and 0, the runtimes multiply int16 only when all are 0",
    ),
    "product that overflows": (
        Case("", "MUL", (SHORT, SHORT), (typed("int16", 0.001),)),
        "MUL: the product can reach 1073741824, the scales leave",
    ),
    "maximum of uint8": (
        Case("", "MAXIMUM", (typed("uint8", None), typed("uint8", None)), (typed("uint8", None),)),
        "MAXIMUM: the first input is uint8, supported is int8 or int16 or int32 or float32",
    ),
    "int16 to uint8": (converted(SHORT, typed("uint8")), "int16 does not become uint8, supported is int8 or int16 or"),
    "uint8 to int16": (converted(typed("uint8"), SHORT), "uint8 does not become int16, supported is int8"),
    "int32 to int32": (converted(typed("int32"), typed("int32")), "int32 does not become int32"),
    "int32 that is scaled up": (
        converted(typed("int32"), SHORT),
        "QUANTIZE: the difference to the zero point can reach -2147483648, the scales leave 1073741823",
    ),
    "int32 with a zero point": (
        converted(typed("int32", 1e-6, 1), SHORT),
        "QUANTIZE: the difference to the zero point can reach -2147483649",
    ),
    "results beyond int32": (
        converted(SHORT, typed("int32", 1e-5, 2**31 - 1)),
        "QUANTIZE: with the output's zero point 2147483647, results leave int32",
    ),
    "int32 to float32": (
        Case("", "DEQUANTIZE", (typed("int32"),), (typed("float32", None),)),
        "DEQUANTIZE: the input is int32, supported is int8 or uint8 or int16",
    ),
    "largest of int16": (
        Case("", "REDUCE_MAX", (SHORT, integers(1, 2)), (CaseTensor((1, 2), "int16", 0.1),)),
        "REDUCE_MAX: the input is int16, supported is int8",
    ),
    "mean of many": (
        Case("", "MEAN", (LONG, integers(1)), (CaseTensor((1,), "int16", 0.1),)),
        "MEAN: the sum can reach 2293760000",
    ),
    "pool of many": (pooled(200), "AVERAGE_POOL_2D: the sum of 40000 taps can reach"),
    "slope of int16": (Case("", "PRELU", (SHORT, SHORT), (SHORT,)), "PRELU: the slope is int16, supported is int8"),
    "slope of another shape": (
        Case("", "PRELU", (X, CaseTensor((3,), scale=0.1)), (X,)),
        r"PRELU: the shapes .* do not broadcast",
    ),
    "slope that overflows": (
        Case("", "PRELU", (X, typed("int8", 100_000.0)), (X,)),
        "PRELU: the product can reach",
    ),
    "cast of uint8": (
        Case("", "CAST", (typed("uint8"),), (X,)),
        "CAST: the input is uint8, supported is int8 or int16 or int32 or float32",
    ),
    "cast to uint8": (Case("", "CAST", (X,), (typed("uint8"),)), "CAST: the output is uint8, supported is"),
    "position in int16": (
        Case("", "ARG_MAX", (SHORT, integers(1)), (POSITIONS,)),
        "ARG_MAX: the input is int16, supported is int8",
    ),
    "position along two axes": (
        Case("", "ARG_MAX", (X, integers(1, 2)), (POSITIONS,)),
        "ARG_MAX: 2 axes are given",
    ),
    "position along no axis": (
        Case("", "ARG_MIN", (CaseTensor((), scale=0.1), integers(0)), (CaseTensor((), "int32"),)),
        "ARG_MIN: 0 axes are given",
    ),
    "position beyond the rank": (
        Case("", "ARG_MIN", (X, integers(-5)), (POSITIONS,)),
        "ARG_MIN: the axis -5 is not in the input",
    ),
    "position in int64": (
        Case("", "ARG_MIN", (X, integers(1)), (CaseTensor((1, 4, 2), "int64"),)),
        "ARG_MIN: the output is int64, supported is int32",
    ),
}


@pytest.mark.parametrize("reason", TYPE_REFUSALS)
def test_types_and_ranges_are_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    assert_refused(*TYPE_REFUSALS[reason], tmp_path)
