"""GATHER: slices of one dimension, in the order in which a tensor of indices names them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.interval import Interval
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT32
from tinygen.ops.strided_copy import StridedCopy, strided_copy_kernel
from tinygen.ops.table_copy import TableCopy, table_copy_kernel
from tinygen.ops.work import Rates


class RegularGather(StridedCopy):
    """Indices that are known, at regular distances."""

    name: ClassVar[str] = "GATHER"
    dtypes = (INT8, FLOAT32)


class IrregularGather(TableCopy):
    """Indices that are known."""

    name: ClassVar[str] = "GATHER"
    dtypes = (INT8, FLOAT32)


@dataclass(frozen=True)
class Gather(Op):
    """y[b…, o…, i…, k…] = x[b…, o…, indices[b…, i…], k…]: b… are the batch dimensions, o… those before `axis`.

    x int8 or float32, indices int32. An index outside of the dimension counts as the nearest inside: where the runtime
    gives up the whole inference, nothing outside of the input is read.
    """

    name: ClassVar[str] = "GATHER"
    axis: int
    batch_dims: int

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, and dimensions that are there and agree."""
        x, indices = inputs
        if x.data is None or indices.data is None:  # constants are gathered while importing, whatever they are
            yield from common.expect_dtype(x, "input", INT8, FLOAT32)
        yield from common.expect_dtype(indices, "indices", INT32)
        if not 0 <= self.batch_dims <= self.axis < len(x.shape) or self.batch_dims > len(indices.shape):
            yield (
                f"axis {self.axis} after {self.batch_dims} batch dimensions is not in the input {x.shape} "
                f"and the indices {indices.shape}"
            )
        elif x.shape[: self.batch_dims] != indices.shape[: self.batch_dims]:
            yield f"the input {x.shape} and the indices {indices.shape} differ in a batch dimension"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The dimensions of the indices in place of the axis."""
        x, indices = inputs
        shape = (*x.shape[: self.axis], *indices.shape[self.batch_dims :], *x.shape[self.axis + 1 :])
        return (TensorType(shape, x.dtype),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """Some of the input's values, in their channels unless it is channels that are gathered."""
        (y,) = self.output_types(inputs)
        x, _ = given
        return (x.over(y.shape[-1:]) if self.axis == len(inputs[0].shape) - 1 else x,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Batch by batch."""
        x, indices = inputs
        batches = x.shape[: self.batch_dims]
        inside = np.clip(indices, 0, x.shape[self.axis] - 1).reshape(-1, *indices.shape[self.batch_dims :])
        flat = x.reshape(-1, *x.shape[self.batch_dims :])
        axis = self.axis - self.batch_dims
        taken = np.stack([np.take(part, of_part, axis) for part, of_part in zip(flat, inside, strict=True)])
        return (taken.reshape(*batches, *taken.shape[1:]),)

    def describe(self) -> str:
        """Axis."""
        return f"along axis {self.axis}"


def _prepare(site: Site) -> Body:
    op: Gather = site.op
    x, indices = site.inputs
    values = {
        "batches": math.prod(x.shape[: op.batch_dims]),
        "outer": math.prod(x.shape[op.batch_dims : op.axis]),
        "size": x.shape[op.axis],
        "count": math.prod(indices.shape[op.batch_dims :]),
        "inner": math.prod(x.shape[op.axis + 1 :]),
        "known": indices.data is not None,
    }
    return Body(values, helpers=frozenset() if indices.data is not None else frozenset({"clamp"}))


KERNELS = (
    strided_copy_kernel(RegularGather),
    table_copy_kernel(IrregularGather),
    Kernel("gather.direct", Gather, _prepare, work=Rates(70, output=7.4), parameters=("x", "indices")),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models; indices that come at run time are tested beside them."""
    image = (1, 4, 5, 3)
    return (
        _case("columns", image, [4, 0, 3, 3, 1], axis=2),
        _case("channels", image, [2, 0, 1, 1], axis=-1),
        _case("rows_and_batch", (2, 4, 3), [3, 0, 2, 1], axis=1),
        _case("batch", (4, 2, 3), [3, 0, 1, 1, 0], axis=0),
        _case("in_order", image, [1, 2, 3], axis=1),
        _case("every_second", image, [0, 2, 4], axis=2),
        _case("backwards", image, [4, 3, 2, 1, 0], axis=2),
        _case("repeated", image, [0, 0, 1, 1, 2, 2], axis=2),
        _case("everything", image, [0, 1, 2, 3, 4], axis=2),
        _case("scalar", image, 3, axis=1),
        _case("matrix", image, [[3, 0, 2], [1, 2, 2]], axis=1),
        _case("vector", (300,), [299, 7, 7, 256, 0, 1], axis=0),
        _case("one", (1, 1), [0], axis=1),
        _case("six_dimensions", (2, 1, 2, 3, 2, 2), [2, 0, 1, 1], axis=3),
        _case("float", image, [4, 0, 3], axis=2, dtype="float32"),
        _case("batch_dims", (2, 4, 3), [[2, 0, 3], [1, 1, 0]], axis=1, batch_dims=1),
        _case("batch_dims_outer", (2, 3, 4), [[2, 0, 3], [1, 1, 0]], axis=2, batch_dims=1),
        _case("batch_dims_from_the_end", (2, 4, 3), [[2, 0, 3], [1, 1, 0]], axis=1, batch_dims=-1),
        _case("batch_dims_two", (2, 2, 5), [[[2], [4]], [[0], [1]]], axis=2, batch_dims=2),
        _case("batch_dims_all", (2, 2, 5), [[2, 4], [0, 1]], axis=2, batch_dims=2),
        _case("batch_dims_of_one", (1, 4, 3), [[3, 0, 2]], axis=1, batch_dims=1),
        _case("batch_dims_float", (2, 4, 3), [[2, 0, 3], [1, 1, 0]], axis=1, batch_dims=1, dtype="float32"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """Random indices."""
    shape = tuple(int(dim) for dim in rng.integers(1, 6, int(rng.integers(1, 5))))
    axis = int(rng.integers(0, len(shape)))
    batch_dims = int(rng.integers(0, axis + 1))
    wanted = (*shape[:batch_dims], *(int(dim) for dim in rng.integers(1, 5, int(rng.integers(0, 3)))))
    indices = rng.integers(0, shape[axis], wanted).tolist()
    return _case(f"random_{rng.integers(1 << 30)}", shape, indices, axis=axis, batch_dims=batch_dims)


def _case(name: str, x: Shape, indices: object, *, axis: int, batch_dims: int = 0, dtype: str = "int8") -> Case:
    scale = None if dtype == "float32" else 0.05
    data = np.array(indices, np.int32)
    first, batches = axis % len(x), batch_dims % len(data.shape) if batch_dims < 0 else batch_dims
    y = (*x[:first], *data.shape[batches:], *x[first + 1 :])
    tensors = [CaseTensor(shape, dtype, scale=scale) for shape in (x, y)]
    wanted = CaseTensor(data.shape, "int32", data=data)
    return Case(name, "GATHER", (tensors[0], wanted), (tensors[1],), {"axis": axis, "batch_dims": batch_dims})
