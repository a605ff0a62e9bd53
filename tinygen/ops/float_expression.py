"""Operators on float32, one after the other and element by element, on what several tensors stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygen.c_text import float_literal
from tinygen.float32 import FloatArray
from tinygen.interval import Interval
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.broadcast import broadcast_shape, broadcast_values, index_expression, loops_over
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, Clamp
from tinygen.ops.overlaps import by_broadcast
from tinygen.ops.proved_expressions import tables_of
from tinygen.ops.real_output import RealOutput
from tinygen.ops.real_ranges import RealRange, applied
from tinygen.ops.traits import Elementwise
from tinygen.ops.work import Rates


class _Function(NamedTuple):
    compute: Callable[..., Any]
    c: str
    """The expression of its operands a, b and c."""
    helpers: frozenset[str] = frozenset()


def _truth(compare: Callable[..., Any], c: str) -> _Function:
    return _Function(compare, f"{{a}} {c} {{b}} ? 1.0f : 0.0f")


FUNCTIONS: Mapping[str, _Function] = {
    "Abs": _Function(np.abs, "{a} > 0.0f ? {a} : 0.0f - {a}"),
    "Add": _Function(np.add, "{a} + {b}"),
    "Div": _Function(np.divide, "{a} / {b}"),
    "Equal": _truth(np.equal, "=="),
    "Greater": _truth(np.greater, ">"),
    "GreaterOrEqual": _truth(np.greater_equal, ">="),
    "Less": _truth(np.less, "<"),
    "LessOrEqual": _truth(np.less_equal, "<="),
    "Max": _Function(np.maximum, "{a} > {b} ? {a} : {b}"),
    "Min": _Function(np.minimum, "{a} < {b} ? {a} : {b}"),
    "Mul": _Function(np.multiply, "{a} * {b}"),
    "NotEqual": _truth(np.not_equal, "!="),
    "Neg": _Function(np.negative, "-{a}"),
    "PRelu": _Function(lambda a, b: np.where(a < 0, a * b, a), "{a} < 0.0f ? {a} * {b} : {a}"),
    "Sqrt": _Function(np.sqrt, "{prefix}_square_root({a})", frozenset({"square_root"})),
    "Sub": _Function(np.subtract, "{a} - {b}"),
    "Where": _Function(lambda a, b, c: np.where(a != 0, b, c), "{a} != 0.0f ? {b} : {c}"),
}
"""Of up to three float32 values, by their names in ONNX; each is rounded once. Truth values are the numbers 0 and 1."""
TRUTHS = frozenset(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "NotEqual"))
"""What makes truth values."""
_SUMS = ("Add", "Sub")
_KEEPING = ("Abs", "Max", "Min", "Neg", "Where")
"""What hands on a value, or its negative."""


class Step(NamedTuple):
    """One operation."""

    function: str
    """One of FUNCTIONS"""
    places: tuple[int, ...]
    """Of its operands: the operator's inputs, its numbers, and the steps before, counted in this order."""


@dataclass(frozen=True)
class FloatExpression(RealOutput, Elementwise):
    """y = clamp(rint(steps(inputs) / output_scale) + output_zero_point), or steps(inputs) in float32; shapes broadcast.

    Inputs of int8 stand for real values, by a table each; others are float32. Each step is rounded to float32, and
    nothing is fused.
    """

    name: ClassVar[str] = "FLOAT_EXPRESSION"
    reals: tuple[tuple[float, ...], ...]
    """(256,) for each input of int8: what its values stand for, from -128 on; () for each of float32."""
    numbers: tuple[float, ...]
    """Float32 values."""
    steps: tuple[Step, ...]
    """The last one's result is the expression's."""
    output_scale: float | None = None
    """None: the result stays float32."""
    output_zero_point: int = 0
    clamp: Clamp = (-128, 127)

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes and shapes."""
        for index, (x, reals) in enumerate(zip(inputs, self.reals, strict=True)):
            yield from common.expect_dtype(x, f"input {index}", INT8 if reals else FLOAT32)
        if broadcast_shape(*(x.shape for x in inputs)) is None:
            yield f"the shapes {', '.join(str(x.shape) for x in inputs)} do not broadcast"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        shape = broadcast_shape(*(x.shape for x in inputs)) or inputs[0].shape
        return (TensorType(shape, self.output_dtype),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """Those of each step in turn, in float32. `given` is for the inputs of int8 alone."""
        assert self.output_scale is not None
        codes = iter(given)
        ranges = [
            RealRange.of_codes(np.array(reals, np.float32), next(codes)) if reals else RealRange.of(x.data)
            for x, reals in zip(inputs, self.reals, strict=True)
        ]
        ranges += [RealRange.of(np.asarray(number, np.float32)) for number in self.numbers]
        for name, places in self.steps:
            operands = [ranges[place] for place in places]
            ranges.append(applied(FUNCTIONS[name].compute, operands, is_truth=name in TRUTHS))
        (y,) = self.output_types(inputs)
        low, high = (np.broadcast_to(self.finished(end), y.shape[-1:]).astype(np.int64) for end in ranges[-1])
        return (Interval(low, high),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Step by step."""
        y = np.broadcast_to(self.values(inputs)[-1], np.broadcast_shapes(*(x.shape for x in inputs)))
        return (self.finished(y),)

    def values(self, inputs: Sequence[Array]) -> list[FloatArray]:
        """Of the inputs, the numbers, and the steps."""
        values: list[FloatArray] = [
            np.array(reals, np.float32)[x.astype(np.int64) + 128] if reals else np.asarray(x, np.float32)
            for x, reals in zip(inputs, self.reals, strict=True)
        ]
        values += [np.asarray(number, np.float32) for number in self.numbers]
        with np.errstate(all="ignore"):
            for step in self.steps:
                result = FUNCTIONS[step.function].compute(*(values[place] for place in step.places))
                values.append(np.asarray(result, np.float32))
        return values

    def describe(self) -> str:
        """The operations, and the result's type where it is not int8."""
        names = ", ".join(step.function for step in self.steps)
        return f"{names} to float32" if self.output_scale is None else names


def _added(op: FloatExpression) -> set[int]:
    """The places of what is added to something, as it is or handed on: no compiler may fuse a product with that sum."""
    first = len(op.reals) + len(op.numbers)
    found: set[int] = set()
    for index, step in reversed(list(enumerate(op.steps))):
        if step.function in _SUMS or (step.function in _KEEPING and first + index in found):
            found.update(step.places)
    return found


def _prepare(site: Site) -> Body:
    op: FloatExpression = site.op
    loops = loops_over([x.shape for x in site.inputs])
    operands, constants = [], {}
    for index, reals in enumerate(op.reals):
        element = f"x{index}[{index_expression([loop.strides[index] for loop in loops])}]"
        if reals:
            same = next(at for at in range(index + 1) if op.reals[at] == reals)
            constants[f"reals{same}"] = np.array(reals, np.float32)
            element = f"{{id}}_reals{same}[{element} + 128]"
        operands.append(element)
    first = len(op.reals) + len(op.numbers)
    names = [f"v{index}" for index in range(len(op.reals))] + [float_literal(number) for number in op.numbers]
    names += [f"v{index + len(op.reals)}" for index in range(len(op.steps))]
    added = _added(op)
    steps = []
    for index, step in enumerate(op.steps):
        function = FUNCTIONS[step.function]
        given = dict(zip("abc", (names[place] for place in step.places), strict=False))
        is_product = step.function in ("Mul", "PRelu") and first + index in added
        expression = function.c.format(**given, prefix="{prefix}")
        steps.append({"name": names[first + index], "expression": expression, "is_stored": is_product})
    helpers = frozenset().union(*(FUNCTIONS[step.function].helpers for step in op.steps))
    values = {
        "loops": loops,
        "operands": operands,
        "steps": steps,
        **op.output_values(),
    }
    return Body(values, constants, helpers | op.output_helpers)


def _work(site: Site) -> Work:
    op: FloatExpression = site.op
    each = 4 * len(site.inputs) + 2 * len(op.steps)
    return Rates(120 + 4 * each, output=each + (14 if op.output_scale is not None else 2), in_float=True)(site)


def _takes_tables(site: Site) -> bool:
    return len(site.inputs) == 2 and site.inputs[1].data is None and tables_of(site.op, site.inputs) is not None


def _takes_constants(site: Site) -> bool:
    return len(site.inputs) == 2 and site.inputs[1].data is not None and tables_of(site.op, site.inputs) is not None


def _prepare_tables(site: Site) -> Body:
    op, (a, b) = site.op, site.inputs
    found = tables_of(op, site.inputs)
    assert found is not None
    values = {
        **broadcast_values(a.shape, b.shape),
        "is_product": found.is_product,
        "is_wide": found.is_wide,
        "offset": found.offset,
        "shift": found.shift,
        "low": found.low,
        "high": found.high,
    }
    of_a, of_b = (_narrowest(table) for table in (found.first, found.second))
    return Body(values, {"of_a": of_a, "of_b": of_b}, frozenset({"clamp"}), proof=found.describe())


def _narrowest(table: Array) -> Array:
    """As int16, where that holds it; else int32."""
    fits = int(np.abs(table).max()) <= np.iinfo(np.int16).max
    return table.astype(np.int16 if fits else np.int32)


def _table_work(site: Site) -> Work:
    found = tables_of(site.op, site.inputs)
    return Rates(90, output=17 if found is not None and found.is_wide else 13)(site)


KERNELS = (
    Kernel(
        "float_expression.tables",
        FloatExpression,
        _prepare_tables,
        work=_table_work,
        parameters=("a", "b"),
        accepts=_takes_tables,
        overlaps=by_broadcast,
    ),
    Kernel(
        "float_expression.constants",
        FloatExpression,
        _prepare_tables,
        work=_table_work,
        parameters=("a",),
        accepts=_takes_constants,
        overlaps=by_broadcast,
    ),
    Kernel("float_expression.direct", FloatExpression, _prepare, work=_work, parameters=("x*",), overlaps=by_broadcast),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("Add", "add_whole_constant", (1, 4, 3, 5), (4, 3, 5)),
        _case("Mul", "mul_whole_constant", (1, 4, 3, 5), (1, 4, 3, 5)),
        _case("Div", "div_by_constant", (1, 4, 3, 5), (3, 5)),
        _case("Max", "max_of_constant", (1, 40, 40), (40, 40)),
        _case("Min", "min_constant_is_larger", (1, 5), (1, 4, 3, 5)),
        _case("Sub", "sub_far", (1, 33, 2), (33, 2), output_scale=1e-9),
        _case("Add", "add_to_float", (1, 4, 3, 5), (4, 3, 5), output_scale=None),
        _case("Mul", "mul_uint8", (1, 19, 19), (19, 19), dtype="uint8", zero_point=131),
        _mean("mean", (1, 4, 3, 5), (1, 4, 3, 5)),
        _mean("mean_of_row", (1, 4, 3, 5), (5,)),
        _mean("mean_uint8", (1, 19, 19), (19, 19), dtype="uint8", zero_point=131),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random operator with a constant."""
    shape = tuple(int(dim) for dim in rng.integers(2, 6, 3))
    return _case(
        str(rng.choice(["Add", "Sub", "Mul", "Div", "Max", "Min"])),
        f"random_{rng.integers(1 << 30)}",
        (1, *shape),
        shape,
        output_scale=float(np.exp(rng.uniform(np.log(0.005), np.log(0.5)))),
        dtype=str(rng.choice(["int8", "uint8"])),
        zero_point=int(rng.integers(0, 128)),
    )


def _case(
    op: str,
    name: str,
    x: Shape,
    other: Shape,
    *,
    output_scale: float | None = 0.071,
    dtype: str = "int8",
    zero_point: int = 5,
) -> Case:
    rng = np.random.default_rng(len(name))
    data = rng.normal(size=other).astype(np.float32)
    shape = np.broadcast_shapes(x, other)
    result = CaseTensor(shape, "float32") if output_scale is None else CaseTensor(shape, dtype, output_scale, 7)
    return Case(
        name,
        op,
        (CaseTensor(x, dtype, 0.031, zero_point), CaseTensor(other, "float32", data=data)),
        (result,),
        suffix=ONNX,
    )


def _mean(name: str, a: Shape, b: Shape, *, dtype: str = "int8", zero_point: int = 5) -> Case:
    """Of two tensors."""
    shape = np.broadcast_shapes(a, b)
    inputs = CaseTensor(a, dtype, 0.0313, zero_point), CaseTensor(b, dtype, 0.0471, 7)
    return Case(name, "Mean", inputs, (CaseTensor(shape, dtype, 0.0383, 7),), suffix=ONNX)
