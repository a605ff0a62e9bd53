"""RESHAPE, and the values that only change hands: the same bytes, under another shape or name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.interval import IntArray
from tinygen.ir import Arranged, Shape, Tensor
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.strided_copy import Loop, StridedCopy, strided_copy_kernel


@dataclass(frozen=True)
class _SameBytes(StridedCopy):
    dtypes = common.STORED

    @classmethod
    def to(cls, shape: Shape) -> _SameBytes:
        """All elements in their order."""
        return cls(shape, 0, (Loop(math.prod(shape), 1),))

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and equal numbers of elements."""
        (x,) = inputs
        wanted = math.prod(self.shape)
        if wanted != x.elements:
            yield f"{x.elements} elements {x.shape} do not become {wanted} {self.shape}"
        else:
            yield from super().problems(inputs)

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """None: variables are as their other readers and writers know them."""
        return None

    def describe(self) -> str:
        """The new shape."""
        return f"to {common.shape_text(self.shape)}"


class Reshape(_SameBytes):
    """y = x under another shape."""

    name: ClassVar[str] = "RESHAPE"


class ReadVariable(_SameBytes):
    """y = the value that a variable had before this invocation."""

    name: ClassVar[str] = "READ_VARIABLE"


class AssignVariable(_SameBytes):
    """The value that a variable has from the end of this invocation on = x."""

    name: ClassVar[str] = "ASSIGN_VARIABLE"


KERNELS = tuple(strided_copy_kernel(op) for op in (Reshape, ReadVariable, AssignVariable))


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("flatten", (1, 3, 4, 5), (1, 60)),
        _case("inferred", (1, 3, 4, 5), (1, 12, 5), stated=(1, -1, 5)),
        Case("squeeze", "SQUEEZE", (_tensor((1, 3, 1, 5)),), (_tensor((1, 3, 5)),), {"squeeze_dims": (2,)}),
        Case("squeeze_all", "SQUEEZE", (_tensor((1, 3, 1, 5)),), (_tensor((3, 5)),)),
        Case("expand_dims", "EXPAND_DIMS", (_tensor((1, 3, 5)), _axis(-1)), (_tensor((1, 3, 5, 1)),)),
        _case("int16", (1, 3, 4, 5), (1, 60), dtype="int16"),
        _case("int32", (1, 3, 4, 5), (5, 12), dtype="int32"),
        _case("uint8", (1, 3, 4, 5), (60,), dtype="uint8"),
        _case("float", (1, 3, 4, 5), (1, 60), dtype="float32"),
        Case("squeeze_int16", "SQUEEZE", (_tensor((1, 3, 1, 5), "int16"),), (_tensor((3, 5), "int16"),)),
        Case("expand_dims_int16", "EXPAND_DIMS", (_tensor((3, 5), "int16"), _axis(1)), (_tensor((3, 1, 5), "int16"),)),
        Case("expand_dims_float", "EXPAND_DIMS", (_tensor((3,), "float32"), _axis(1)), (_tensor((3, 1), "float32"),)),
        Case("expand_dims_first", "EXPAND_DIMS", (_tensor((3, 5)), _axis(0)), (_tensor((1, 3, 5)),)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random flattening."""
    shape = tuple(int(dim) for dim in rng.integers(1, 6, 3))
    return _case(f"random_{rng.integers(1 << 30)}", (1, *shape), (1, int(np.prod(shape))))


def _tensor(shape: Shape, dtype: str = "int8") -> CaseTensor:
    if dtype in ("int8", "uint8"):
        return CaseTensor(shape, dtype, scale=0.1, zero_point=2)
    return CaseTensor(shape, dtype, scale=0.1 if dtype == "int16" else None)


def _axis(axis: int) -> CaseTensor:
    return CaseTensor((1,), "int32", data=np.array([axis], np.int32))


def _case(name: str, x: Shape, y: Shape, stated: Shape | None = None, dtype: str = "int8") -> Case:
    wanted = np.array(stated or y, np.int32)
    return Case(
        name,
        "RESHAPE",
        (_tensor(x, dtype), CaseTensor((len(wanted),), "int32", data=wanted)),
        (_tensor(y, dtype),),
        {"new_shape": tuple(int(dim) for dim in wanted)},
    )
