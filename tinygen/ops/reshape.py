"""RESHAPE: another shape for the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor


@dataclass(frozen=True)
class Reshape(Op):
    """y = x under another shape; any dtype."""

    name: ClassVar[str] = "RESHAPE"
    shape: Shape

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Equal numbers of elements."""
        (x,) = inputs
        wanted = int(np.prod(self.shape, dtype=np.int64))
        if wanted != x.elements:
            yield f"{x.elements} elements {x.shape} do not become {wanted} {self.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The given shape."""
        return (TensorType(self.shape, inputs[0].dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The same values."""
        return (inputs[0].reshape(self.shape),)

    def describe(self) -> str:
        """The new shape."""
        return f"to {common.shape_text(self.shape)}"


def _prepare(site: Site) -> Body:
    return Body({})


KERNELS = (Kernel("reshape.view", Reshape, _prepare, views=True),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("flatten", (1, 3, 4, 5), (1, 60)),
        _case("inferred", (1, 3, 4, 5), (1, 12, 5), stated=(1, -1, 5)),
        Case("squeeze", "SQUEEZE", (_tensor((1, 3, 1, 5)),), (_tensor((1, 3, 5)),), {"squeeze_dims": (2,)}),
        Case("squeeze_all", "SQUEEZE", (_tensor((1, 3, 1, 5)),), (_tensor((3, 5)),)),
        Case("expand_dims", "EXPAND_DIMS", (_tensor((1, 3, 5)), _axis(-1)), (_tensor((1, 3, 5, 1)),)),
        Case("expand_dims_first", "EXPAND_DIMS", (_tensor((3, 5)), _axis(0)), (_tensor((1, 3, 5)),)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random flattening."""
    shape = tuple(int(dim) for dim in rng.integers(1, 6, 3))
    return _case(f"random_{rng.integers(1 << 30)}", (1, *shape), (1, int(np.prod(shape))))


def _tensor(shape: Shape) -> CaseTensor:
    return CaseTensor(shape, scale=0.1, zero_point=2)


def _axis(axis: int) -> CaseTensor:
    return CaseTensor((1,), "int32", data=np.array([axis], np.int32))


def _case(name: str, x: Shape, y: Shape, stated: Shape | None = None) -> Case:
    wanted = np.array(stated or y, np.int32)
    return Case(
        name,
        "RESHAPE",
        (_tensor(x), CaseTensor((len(wanted),), "int32", data=wanted)),
        (_tensor(y),),
        {"new_shape": tuple(int(dim) for dim in wanted)},
    )
