"""Real values of a graph that nothing holds, as they follow from integers, or from float32, element by element."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.importers.converted import Refused
from tinygen.importers.onnx_call import Call
from tinygen.importers.onnx_curves import RealFunction, of_integers, quantised, real
from tinygen.importers.onnx_curves import applied as function_of
from tinygen.importers.onnx_expressions import Expression, Value, evaluated, of_constant
from tinygen.importers.onnx_expressions import applied as expression_of
from tinygen.importers.onnx_file import RawNode, shortened
from tinygen.ir import Shape, Tensor
from tinygen.ops.common import FLOAT32

Operands = Sequence[Tensor | None]


class RealValues:
    """By the name of the value: functions of one integer tensor, and expressions of several tensors."""

    def __init__(self) -> None:
        self._functions: dict[str, RealFunction] = {}
        self._expressions: dict[str, Expression] = {}
        self.notes: list[str] = []
        """Where ONNX Runtime's values are not certain, in words."""

    def __contains__(self, name: str) -> bool:
        return name in self._functions or name in self._expressions

    def function(self, name: str) -> RealFunction | None:
        """What a value is a function of, value by value."""
        return self._functions.get(name)

    def curve(self, name: str) -> RealFunction | None:
        """The same, where it is one function for all channels."""
        found = self._functions.get(name)
        return found if found is not None and found.is_curve else None

    def function_of(self, node: RawNode, operands: Operands) -> RealFunction | None:
        """What an operator makes of one integer tensor; None where it is no such function."""
        return function_of(
            node, [None if x is None else self._functions.get(x.name) or of_integers(x) or x for x in operands]
        )

    def add_function(self, name: str, found: RealFunction) -> None:
        """Notes a value."""
        self._functions[name] = found

    def add_expression(self, node: RawNode, operands: Operands, shape: Shape) -> bool:
        """Notes the result of an operator on several tensors, if it is one. Raises Refused as `expression_of`."""
        values = [None if x is None else self._value(x) for x in operands]
        if any(value is None for x, value in zip(operands, values, strict=True) if x is not None):
            return False
        tensors = [value.base if isinstance(value, RealFunction) else value for value in values]
        if all(isinstance(x, Tensor) and x.data is not None for x in tensors if not isinstance(x, float)):
            return False
        found = expression_of(node, values)
        if found is None or found.shape != shape:
            return False
        self._expressions[node.outputs[0]] = found
        return True

    def _value(self, x: Tensor) -> Value | None:
        found = self.curve(x.name) or self._expressions.get(x.name) or of_integers(x)
        if found is not None:
            return found
        if x.data is not None:
            return of_constant(x)
        return x if x.dtype == FLOAT32 and x.name not in self._functions else None

    def quantised(self, x: Tensor, quantiser: RawNode, y: Tensor) -> Call:
        """What makes integers of a value."""
        if x.name in self._functions:
            call, note = quantised(self._functions[x.name], quantiser, y)
        else:
            call, note = evaluated(self._expressions[x.name], quantiser, y)
        self.notes += [] if note is None else [note]
        return call

    def held(self, writer: RawNode, y: Tensor) -> Call:
        """What makes float32 of a value, which is held from now on. Raises Refused where that is not certain."""
        if y.dtype != FLOAT32:
            raise Refused(
                f"the value {shortened(y.name)!r} is {y.dtype}, which nothing here holds", "Cast it to float32"
            )
        function, expression = self._functions.pop(y.name, None), self._expressions.pop(y.name, None)
        if function is not None and (expression is None or function.is_curve):
            return real(function, writer, y)
        if expression is None:
            raise Refused(
                f"the value {shortened(y.name)!r} stays float32, and is another function for each channel",
                "quantise the value, too",
            )
        return evaluated(expression, writer, y)[0]

    def taken(self, x: Tensor, by: RawNode) -> RealFunction | None:
        """The function that an operator computes itself of the integers, one for all channels."""
        function = self.curve(x.name)
        if function is not None and not function.reals.are_exact:
            names = ", ".join(function.operators)
            self.notes.append(
                f"ONNX Runtime approximates functions in {shortened(x.name)!r} ({names}): a value among many that "
                f"{by.op} makes of them can differ by one step"
            )
        return function
