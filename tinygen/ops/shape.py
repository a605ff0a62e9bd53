"""SHAPE and REDUCE_PROD: the dimensions of a tensor, as values, and their products.

All shapes are known, so neither ever reaches the generated code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.ops import common
from tinygen.ops.common import INT32
from tinygen.ops.reduce import reduced_shape


@dataclass(frozen=True)
class ShapeOf(Op):
    """y = the dimensions, int32. It reads nothing: importers evaluate it on the spot, and it needs no kernel."""

    name: ClassVar[str] = "SHAPE"
    dims: Shape

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """One element for each dimension."""
        return (TensorType((len(self.dims),), INT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The dimensions."""
        return (np.array(self.dims, np.int32),)


@dataclass(frozen=True)
class Product(Op):
    """y = the product of x over the axes, int32. Of constants: importers evaluate it, and it needs no kernel."""

    name: ClassVar[str] = "REDUCE_PROD"
    axes: tuple[int, ...]  # ascending, from 0
    keep_dims: bool

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype."""
        yield from common.expect_dtype(inputs[0], "input", INT32)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """Without the reduced dimensions, or with ones in their place."""
        return (TensorType(reduced_shape(inputs[0].shape, self.axes, self.keep_dims), INT32),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Modulo 2**32, as the runtime multiplies."""
        return (np.asarray(inputs[0].prod(axis=self.axes, keepdims=self.keep_dims, dtype=np.int32)),)
