"""PAD and PADV2: a border of one value around a tensor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tinygen.arrangement import Axes, along_axes, permuted
from tinygen.c_text import float_literal
from tinygen.interval import BoolArray, IntArray
from tinygen.ir import Arranged, Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32
from tinygen.ops.overlaps import by_copy
from tinygen.ops.traits import Moving
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class Pad(Moving):
    """y[i] = x[i - before] where that is inside x, else `value`; int8, int16, int32 or float32."""

    name: ClassVar[str] = "PAD"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float
    """A raw value: the zero point of a quantised output, or the constant given."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and paddings per dimension, none negative."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8, INT16, INT32, FLOAT32)
        if not len(self.before) == len(self.after) == len(x.shape):
            yield f"{len(self.before)} paddings for {len(x.shape)} dimensions {x.shape}"
        if min((*self.before, *self.after), default=0) < 0:
            yield f"the padding {self.before} before, {self.after} after is negative"
        if not math.isfinite(self.value):
            yield f"the padding's value is {self.value}, it must be finite"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The shape with its borders."""
        (x,) = inputs
        shape = tuple(sum(sizes) for sizes in zip(self.before, x.shape, self.after, strict=True))
        return (TensorType(shape, x.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """A constant border."""
        (x,) = inputs
        return (np.pad(x, tuple(zip(self.before, self.after, strict=True)), constant_values=self.value),)

    def moved(self, *inputs: Array) -> Array:
        """Borders are of no input."""
        (y,) = dataclasses.replace(self, value=-1).reference(*inputs)
        return y

    def candidates(
        self, inputs: Sequence[Array], kept: Sequence[BoolArray], output: Array, kept_output: BoolArray
    ) -> Iterator[Moving]:
        """What is left of borders that are channels."""
        if self.before:
            before = int(kept_output[: self.before[-1]].sum())
            after = output.shape[-1] - before - inputs[0].shape[-1]
            yield dataclasses.replace(self, before=(*self.before[:-1], before), after=(*self.after[:-1], after))

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """Each dimension's borders go with it."""
        (y,) = self.output_types(inputs)

        def rebuilt(axes: Axes) -> tuple[Op, Shape]:
            before, after = permuted(self.before, axes), permuted(self.after, axes)
            return dataclasses.replace(self, before=before, after=after), permuted(y.shape, axes)

        return along_axes(inputs, place, order, y.shape, rebuilt)

    def describe(self) -> str:
        """The borders in words."""
        borders = ", ".join(f"{before}+{after}" for before, after in zip(self.before, self.after, strict=True))
        return f"{self.value:g} around by {borders}"


class Level(NamedTuple):
    """One padded dimension: `trips` times, `before` elements of border, what is inside, `after` elements."""

    trips: int
    before: int
    after: int


def padded_levels(op: Pad, x: Shape, y: Shape) -> tuple[list[Level], int]:
    """The padded dimensions, outermost first, and how many elements lie inside the innermost."""
    levels = []
    outer = 0
    for axis, (before, after) in enumerate(zip(op.before, op.after, strict=True)):
        if before or after:
            step = math.prod(y[axis + 1 :])
            levels.append(Level(math.prod(x[outer:axis]), before * step, after * step))
            outer = axis
    return levels, math.prod(x[outer:])


def _prepare(site: Site) -> Body:
    op: Pad = site.op
    (x,) = site.inputs
    levels, run = padded_levels(op, x.shape, site.outputs[0].shape)
    value = float_literal(op.value) if x.dtype == FLOAT32 else str(int(op.value))
    return Body({"levels": levels, "run": run, "value": value})


def _aliases(site: Site) -> Mapping[int, int]:
    """Where nothing is added, the output is the input."""
    op: Pad = site.op
    return {} if any((*op.before, *op.after)) else {0: 0}


KERNELS = (Kernel("pad.direct", Pad, _prepare, work=Rates(110, output=2.5), aliases=_aliases, overlaps=by_copy),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    image = (1, 4, 5, 3)
    return (
        _case("same_border", image, ((0, 0), (1, 1), (1, 1), (0, 0))),
        _case("uneven_border", image, ((0, 0), (0, 1), (2, 0), (0, 0))),
        _case("channels", image, ((0, 0), (0, 0), (0, 0), (0, 5))),
        _case("rows", image, ((0, 0), (3, 0), (0, 0), (0, 0))),
        _case("every_dimension", (2, 3, 2, 3), ((1, 0), (1, 2), (0, 3), (2, 1))),
        _case("nothing", image, ((0, 0), (0, 0), (0, 0), (0, 0))),
        _case("vector", (7,), ((3, 2),)),
        _case("five_dimensions", (1, 2, 3, 2, 2), ((0, 0), (1, 0), (0, 0), (0, 1), (1, 1))),
        _case("float", image, ((0, 0), (1, 1), (1, 1), (0, 0)), dtype="float32"),
        _case("int16", (1, 1, 7, 4), ((0, 0), (0, 0), (3, 1), (0, 0)), dtype="int16"),
        _case("int16_given", image, ((0, 0), (1, 1), (1, 2), (0, 0)), value=-32768, dtype="int16"),
        _case("int32", image, ((0, 0), (1, 1), (1, 2), (0, 0)), dtype="int32"),
        _case("int32_given", image, ((0, 0), (1, 1), (1, 2), (0, 0)), value=-(2**31), dtype="int32"),
        _case("given_value", image, ((0, 0), (1, 1), (1, 2), (0, 0)), value=-128),
        _case("given_float", image, ((0, 0), (1, 1), (1, 2), (0, 0)), value=-0.1, dtype="float32"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random border."""
    rank = int(rng.integers(1, 6))
    return _case(
        f"random_{rng.integers(1 << 30)}",
        tuple(int(dim) for dim in rng.integers(1, 6, rank)),
        tuple((int(before), int(after)) for before, after in rng.integers(0, 4, (rank, 2))),
        value=int(rng.integers(-128, 128)) if rng.random() < 0.5 else None,
        zero_point=int(rng.integers(-128, 128)),
    )


def _case(
    name: str,
    x: Shape,
    borders: tuple[tuple[int, int], ...],
    *,
    value: float | None = None,
    dtype: str = "int8",
    zero_point: int = -17,
) -> Case:
    def tensor(shape: Shape, data: Array | None = None) -> CaseTensor:
        if dtype == "int8":
            return CaseTensor(shape, dtype, scale=0.05, zero_point=zero_point, data=data)
        return CaseTensor(shape, dtype, scale=0.05 if dtype == "int16" else None, data=data)

    y = tuple(before + size + after for size, (before, after) in zip(x, borders, strict=True))
    given = () if value is None else (tensor((1,), np.array([value], dtype)),)
    paddings = CaseTensor((len(x), 2), "int32", data=np.array(borders, np.int32))
    return Case(name, "PADV2" if given else "PAD", (tensor(x), paddings, *given), (tensor(y),))
