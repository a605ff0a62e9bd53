"""CONCATENATION and PACK: several tensors become one, along an axis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tinygen.arrangement import Axes, along_axes, permuted
from tinygen.interval import BoolArray, IntArray
from tinygen.ir import Arranged, Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.overlaps import by_copy
from tinygen.ops.traits import Moving
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class Concatenation(Moving):
    """y, of `shape`, is made of `outer` rows, each of one run of every input in turn; any dtype, the same for all."""

    name: ClassVar[str] = "CONCATENATION"
    shape: Shape
    outer: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Equal dtypes, and as many elements as the output has."""
        for index, x in enumerate(inputs):
            yield from common.expect_dtype(x, f"input {index}", *common.STORED)
        dtypes = {str(x.dtype) for x in inputs}
        if len(dtypes) > 1:
            yield f"the inputs are {' and '.join(sorted(dtypes))}, they must be the same"
        given, wanted = sum(x.elements for x in inputs), math.prod(self.shape)
        if given != wanted or any(x.elements % self.outer for x in inputs):
            yield f"{given} elements in {len(inputs)} inputs do not make the output {self.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The given shape."""
        return (TensorType(self.shape, inputs[0].dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Rows beside each other."""
        rows = [x.reshape(self.outer, -1) for x in inputs]
        return (np.concatenate(rows, axis=1).reshape(self.shape),)

    def candidates(
        self, inputs: Sequence[Array], kept: Sequence[BoolArray], output: Array, kept_output: BoolArray
    ) -> Iterator[Moving]:
        """As many rows."""
        yield dataclasses.replace(self, shape=output.shape)

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Along the same axis, wherever it is."""
        axis = self.axis([x.shape for x in inputs])
        if axis is None:
            return None
        joined = axis

        def rebuilt(axes: Axes) -> tuple[Op, Shape]:
            shape = permuted(self.shape, axes)
            return dataclasses.replace(self, shape=shape, outer=math.prod(shape[: axes.index(joined)])), shape

        return along_axes(inputs, place, order, self.shape, rebuilt)

    def axis(self, inputs: Sequence[Shape]) -> int | None:
        """The dimension along which inputs of as many dimensions as the output follow each other; None for others."""
        if any(len(x) != len(self.shape) for x in inputs):
            return None
        for axis, dim in enumerate(self.shape):
            fits = sum(x[axis] for x in inputs) == dim and math.prod(self.shape[:axis]) == self.outer
            if fits and {(*x[:axis], dim, *x[axis + 1 :]) for x in inputs} == {self.shape}:
                return axis
        return None

    def describe(self) -> str:
        """How many rows."""
        return f"{self.outer} rows" if self.outer > 1 else ""


class Pack(Concatenation):
    """Tensors of one shape along a new axis."""

    name: ClassVar[str] = "PACK"


class _Part(NamedTuple):
    operand: str
    offset: int
    run: int


def _runs(site: Site) -> list[int]:
    return [x.elements // site.op.outer for x in site.inputs]


def _prepare(site: Site) -> Body:
    runs = _runs(site)
    parts = [_Part(f"x{index}", sum(runs[:index]), run) for index, run in enumerate(runs) if index not in site.aliased]
    return Body({"parts": parts, "outer": site.op.outer, "row": sum(runs)})


def _aliases(site: Site) -> Mapping[int, int]:
    """Whatever is one run can be written in its place at once."""
    if site.op.outer > 1:
        return {}
    runs = _runs(site)
    return {index: sum(runs[:index]) * site.outputs[0].dtype.itemsize for index in range(len(runs))}


KERNELS = tuple(
    Kernel(
        "concatenation.direct",
        op,
        _prepare,
        work=Rates(64, output=4.3),
        parameters=("x*",),
        aliases=_aliases,
        overlaps=by_copy,
    )
    for op in (Concatenation, Pack)
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("rows", [(1, 2, 3, 4), (1, 3, 3, 4)], 1),
        _case("channels", [(1, 2, 3, 4), (1, 2, 3, 1), (1, 2, 3, 5)], 3),
        _case("channels_from_the_end", [(1, 2, 3, 4), (1, 2, 3, 3)], -1),
        _case("columns", [(1, 2, 3, 4), (1, 2, 1, 4)], 2),
        _case("batch", [(1, 5), (2, 5)], 0),
        _case("one_input", [(1, 5)], 1),
        _case("int16", [(1, 2, 3), (1, 2, 2)], 2, dtype="int16"),
        _case("int32", [(1, 2, 3), (1, 1, 3)], 1, dtype="int32"),
        _case("float", [(1, 2, 3), (1, 2, 1)], 2, dtype="float32"),
        _case("with_a_constant", [(1, 4), (1, 3)], 1, constant=1),
        _case("constant_channels", [(1, 2, 4), (1, 2, 3)], 2, constant=0),
        _pack("pack_first", [(3, 4)] * 3, 0),
        _pack("pack_middle", [(3, 4)] * 2, 1),
        _pack("pack_last", [(3, 4)] * 2, -1),
        _pack("pack_one", [(5,)], 0),
        _pack("pack_int32", [(3,)] * 2, 0, dtype="int32"),
        _pack("pack_float", [(3,)] * 2, 1, dtype="float32"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """Random tensors along a random axis."""
    rank = int(rng.integers(1, 5))
    axis = int(rng.integers(rank))
    base = [int(dim) for dim in rng.integers(1, 5, rank)]
    shapes = [(*base[:axis], int(rng.integers(1, 6)), *base[axis + 1 :]) for _ in range(rng.integers(1, 6))]
    constant = int(rng.integers(len(shapes))) if len(shapes) > 1 and rng.random() < 0.3 else None
    return _case(f"random_{rng.integers(1 << 30)}", shapes, axis - rank * int(rng.integers(2)), constant=constant)


def _tensor(shape: Shape, dtype: str, data: Array | None = None) -> CaseTensor:
    scale = {"int8": 0.05, "int16": 0.001}.get(dtype)
    return CaseTensor(shape, dtype, scale, zero_point=-11 if dtype == "int8" else 0, data=data)


def _tensors(shapes: Sequence[Shape], dtype: str, constant: int | None) -> tuple[CaseTensor, ...]:
    rng = np.random.default_rng(len(shapes))
    return tuple(
        _tensor(shape, dtype, rng.integers(-128, 128, shape, np.int8) if index == constant else None)
        for index, shape in enumerate(shapes)
    )


def _case(name: str, shapes: Sequence[Shape], axis: int, dtype: str = "int8", constant: int | None = None) -> Case:
    y = list(shapes[0])
    y[axis] = sum(shape[axis] for shape in shapes)
    inputs = _tensors(shapes, dtype, constant)
    return Case(name, "CONCATENATION", inputs, (_tensor(tuple(y), dtype),), {"axis": axis})


def _pack(name: str, shapes: Sequence[Shape], axis: int, dtype: str = "int8") -> Case:
    y = list(shapes[0])
    y.insert(axis if axis >= 0 else len(y) + 1 + axis, len(shapes))
    options = {"axis": axis, "values_count": len(shapes)}
    return Case(name, "PACK", _tensors(shapes, dtype, None), (_tensor(tuple(y), dtype),), options)
