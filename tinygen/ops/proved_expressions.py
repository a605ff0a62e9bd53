"""Expressions of two tensors, or of one and a constant, in integers: a sum or product of table values, proved."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tinygen.ir import Array, Tensor
from tinygen.ops.common import INT8
from tinygen.ops.curve import CODES
from tinygen.proofs.table_pairs import TablePairs, prove_product, prove_sum

if TYPE_CHECKING:
    from tinygen.ops.float_expression import FloatExpression

_MOST_VALUES = 1 << 14
"""Of a constant: each is compared with all of the other operand's."""


def tables_of(op: FloatExpression, inputs: Sequence[Tensor]) -> TablePairs | None:
    """For an int8 result of one int8 tensor, and another or a constant, which comes second; None: nothing is proved."""
    if op.output_scale is None or len(inputs) != 2 or any(x.dtype != INT8 for x in inputs if x.data is None):
        return None
    second = inputs[1].data
    if inputs[0].data is not None or (second is not None and second.size > _MOST_VALUES):
        return None
    return _proved(op, None if second is None else _Constant(str(second.dtype), second.tobytes()))


_BEHIND = ("Div", "Max", "Min", "Mul")
"""What may stand behind the step that joins two operands, with a number."""


class _Constant(NamedTuple):
    dtype: str
    bytes: bytes


@lru_cache(maxsize=256)
def _proved(op: FloatExpression, second: _Constant | None) -> TablePairs | None:
    assert op.output_scale is not None
    codes = CODES.astype(np.int8)
    others = codes if second is None else np.frombuffer(second.bytes, second.dtype)
    values = op.values([codes.reshape(-1, 1), others.reshape(1, -1)])
    found = _core(op, values)
    results = op.finished(values[-1]).astype(np.int64)
    if found is None or results.shape != (len(codes), others.size):
        return None
    function, of_first, of_second = found
    if not all(np.all(np.isfinite(each)) for each in (of_first, of_second)):
        return None
    if function in ("Add", "Sub"):
        return prove_sum(of_first / op.output_scale, of_second / op.output_scale + op.output_zero_point, results)
    return prove_product(of_first, of_second / op.output_scale, results, op.output_zero_point)


def _core(op: FloatExpression, values: Sequence[Array]) -> tuple[str, Array, Array] | None:
    """The step that joins both operands, with what it makes of each, times the numbers that it is multiplied by behind.

    Float64 (m,) and (n,), to be added, or multiplied. Bounds behind the step are left to the clip.
    """
    first = len(op.reals) + len(op.numbers)
    place, factor = len(op.steps) - 1, 1.0
    while True:
        step = op.steps[place]
        joined = [each for each in step.places if values[each].size > 1]
        if step.function not in _BEHIND or len(joined) != 1 or joined[0] < first:
            break
        if step.function == "Mul":
            factor *= float(next(values[each] for each in step.places if each != joined[0]))
        elif step.function == "Div":
            if step.places[0] != joined[0] or not values[step.places[1]]:
                return None
            factor /= float(values[step.places[1]])
        place = joined[0] - first
    if step.function not in ("Add", "Sub", "Mul", "Div"):
        return None
    sides = [values[each].astype(np.float64) for each in step.places]
    if step.function == "Sub":
        sides[1] = -sides[1]
    if step.function == "Div":
        with np.errstate(divide="ignore"):
            sides[1] = 1 / sides[1]
    rows = [side for side in sides if side.ndim == 2 and side.shape[1] == 1]
    columns = [side for side in sides if side.ndim == 2 and side.shape[0] == 1]
    if len(rows) != 1 or len(columns) != 1:
        return None
    of_first, of_second = factor * rows[0].reshape(-1), columns[0].reshape(-1)
    return step.function, of_first, factor * of_second if step.function in ("Add", "Sub") else of_second
