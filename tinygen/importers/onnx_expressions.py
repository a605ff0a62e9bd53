"""Operators on float32 whose result follows, element by element, from several tensors.

Nothing holds what is between them: what QuantizeLinear makes of the last one, or its float32 values where something
else reads them, is one operator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeGuard

import numpy as np

from tinygen.float32 import FloatArray, dequantize
from tinygen.importers import onnx_steps
from tinygen.importers.converted import Refused
from tinygen.importers.onnx_call import Call, constant
from tinygen.importers.onnx_curves import RealFunction
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.importers.onnx_functions import Reals
from tinygen.importers.onnx_scales import reals_of
from tinygen.importers.onnx_steps import STEPS, Attributes, of_channels
from tinygen.ir import Shape, Tensor
from tinygen.ops.broadcast import broadcast_shape
from tinygen.ops.common import FLOAT32
from tinygen.ops.curve import CODES
from tinygen.ops.float_expression import TRUTHS, FloatExpression, Step

EXPRESSION = "expression of several tensors"
"""What stands for the operators: one that no file has."""
_OF_CHANNELS = "BatchNormalization"
OPERATORS = frozenset((*STEPS, _OF_CHANNELS))
_MOST_STEPS = 64


@dataclass(frozen=True, eq=False)
class Expression:
    """A step with its operands, which may be steps."""

    function: str
    """One of `tinygen.ops.float_expression.FUNCTIONS`"""
    operands: tuple[Value, ...]
    operators: tuple[str, ...]
    """Of the file, that led here."""

    @property
    def shape(self) -> Shape | None:
        """Of its result; None where its operands do not broadcast."""
        return broadcast_shape(*(x.shape for x in _flat(self).inputs))


Value = Expression | RealFunction | Tensor | float
"""Functions of integers, one for all channels, tensors of float32, and one number for all elements."""


def applied(node: RawNode, operands: Sequence[Value | None]) -> Expression | None:
    """An operator's result; None where it is none of these, or has other operands. None stands for one left out.

    Raises Refused where nobody can say what ONNX Runtime makes of it.
    """
    if node.op == _OF_CHANNELS:
        made = _batch_normalization(node.attributes, operands)
    else:
        made = onnx_steps.applied(node.op, node.attributes, operands, _step)
    if not isinstance(made, Expression):
        return None
    if made.function in ("Max", "Min") and any(map(_can_be_nan, made.operands)):
        raise Refused(
            "its input can be no number, of a quotient by zero or a root, and what becomes of that depends on the "
            "processor",
            "quantise its input, too, or leave it out",
        )
    names = (name for value in operands if isinstance(value, Expression | RealFunction) for name in value.operators)
    found = dataclasses.replace(made, operators=tuple(dict.fromkeys((*names, node.op))))
    return found if len(_flat(found).steps) <= _MOST_STEPS else None


def of_constant(x: Tensor) -> Value | None:
    """A constant: float32, or one that DequantizeLinear makes with a scale for all, or one for each channel."""
    assert x.data is not None
    if x.dtype in (FLOAT32, np.dtype(np.bool_)):
        values = np.asarray(x.data, np.float32)
    elif x.quant is not None:
        values = reals_of(x)
    else:
        return None
    if values.size == 1:
        return float(values.reshape(-1)[0])
    if x.quant is not None and x.quant.scale.size == 1 and values.size > len(CODES):
        reals = dequantize(CODES, float(x.quant.scale[0]), int(x.quant.zero_point[0]))
        return RealFunction(x, Reals.exactly(reals.reshape(1, -1)), 1, ())
    return constant(f"{x.name}~reals", values)


def _step(function: str, *operands: Value) -> Expression:
    return Expression(function, operands, ())


def _batch_normalization(attributes: Attributes, values: Sequence[Value | None]) -> Value | None:
    """x * s + b, not fused, with s and b of each channel."""
    x = values[0]
    given = [value for value in values[1:] if isinstance(value, float) or _is_constant(value)]
    name = next((value.name for value in given if isinstance(value, Tensor)), "")
    if x is None or len(values) != 5 or len(given) != 4 or not name or _rank(x) < 2:
        return None
    found = of_channels(attributes, *map(_array, given))
    if found is None:
        return None
    each = (-1, *(1,) * (_rank(x) - 2))
    factor, moved = (
        constant(f"{name}~{role}", array.reshape(each)) for role, array in zip(("factor", "moved"), found, strict=True)
    )
    return _step("Add", _step("Mul", x, factor), moved)


def _is_constant(value: Value | None) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.data is not None


def _array(value: float | Tensor) -> FloatArray:
    return np.asarray(value.data if isinstance(value, Tensor) else value, np.float32)


def _rank(value: Value) -> int:
    if isinstance(value, Expression):
        return max(map(_rank, value.operands))
    if isinstance(value, float):
        return 0
    return len((value.base if isinstance(value, RealFunction) else value).shape)


# --- calls -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Flat:
    inputs: tuple[Tensor, ...]
    reals: tuple[tuple[float, ...], ...]
    are_exact: bool
    numbers: tuple[float, ...]
    steps: tuple[Step, ...]


def _flat(expression: Expression) -> _Flat:
    """The steps in an order of execution; each operand, number and step stands there once, constants last."""
    found: dict[object, Value] = {}

    def visit(value: Value) -> None:
        if _key(value) in found:
            return
        for operand in value.operands if isinstance(value, Expression) else ():
            visit(operand)
        found[_key(value)] = value

    visit(expression)
    inputs = [value for value in found.values() if isinstance(value, Tensor | RealFunction)]
    inputs.sort(key=lambda value: (value.base if isinstance(value, RealFunction) else value).data is not None)
    numbers = [value for value in found.values() if isinstance(value, float)]
    steps = [value for value in found.values() if isinstance(value, Expression)]
    places = {_key(value): place for place, value in enumerate((*inputs, *numbers, *steps))}
    reals = [value.reals if isinstance(value, RealFunction) else None for value in inputs]
    return _Flat(
        tuple(value.base if isinstance(value, RealFunction) else value for value in inputs),
        tuple(() if each is None else tuple(each.middle[0].tolist()) for each in reals),
        all(each is None or each.are_exact for each in reals),
        tuple(numbers),
        tuple(Step(each.function, tuple(places[_key(operand)] for operand in each.operands)) for each in steps),
    )


def _key(value: Value) -> object:
    """What is the same for operands that are the same."""
    if isinstance(value, Expression):
        return id(value)
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, RealFunction):
        return value.base.name, value.reals.middle.tobytes()
    return value.name, b""


def _can_be_nan(value: Value) -> bool:
    """Whether it may be no number: of quotients by what can be zero, and roots."""
    if not isinstance(value, Expression) or value.function in TRUTHS:
        return False
    if any(map(_can_be_nan, value.operands)):
        return True
    return value.function == "Sqrt" or (value.function == "Div" and _can_be_zero(value.operands[1]))


def _can_be_zero(value: Value) -> bool:
    if isinstance(value, Expression) or (isinstance(value, Tensor) and value.data is None):
        return True
    reals = value.reals.middle if isinstance(value, RealFunction) else _array(value)
    return not np.all(reals)


def constant_of(node: RawNode, operands: Sequence[Tensor | None], shape: Shape) -> Tensor | None:
    """The result of an operator on constants, some of them quantised; None where it is none of these."""
    values = [None if x is None else of_constant(x) for x in operands]
    are_known = all(value is not None or x is None for x, value in zip(operands, values, strict=True))
    found = applied(node, values) if are_known else None
    if found is None:
        return None
    flat = _flat(found)
    data = [np.asarray(x.data) for x in flat.inputs]
    (result,) = FloatExpression(flat.reals, flat.numbers, flat.steps).reference(*data)
    return constant(node.outputs[0], result.reshape(shape)) if result.size == math.prod(shape) else None


def evaluated(expression: Expression, node: RawNode, y: Tensor) -> tuple[Call, str | None]:
    """The operator that makes int8 or float32 of an expression, and a note where its values are not certain.

    Raises Refused for float32 values that are not.
    """
    flat = _flat(expression)
    names = ", ".join(expression.operators)
    if y.dtype == FLOAT32 and not flat.are_exact:
        raise Refused(
            f"the value {shortened(y.name)!r} ({names}) stays float32, and ONNX Runtime approximates it: the last "
            "bits depend on the processor",
            "quantise the value, too",
        )
    scale, zero_point = None, 0
    if y.quant is not None:
        scale, zero_point = float(y.quant.scale[0]), int(y.quant.zero_point[0])
    op = FloatExpression(flat.reals, flat.numbers, flat.steps, scale, zero_point)
    call = dataclasses.replace(node, op=EXPRESSION, attributes=MappingProxyType({"expression": op}))
    note = (
        f"ONNX Runtime approximates functions in {shortened(y.name)!r} ({names}): a value among many can differ by one "
        "step"
    )
    return Call(call, flat.inputs, (y,)), None if flat.are_exact else note
