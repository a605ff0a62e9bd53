"""SHAPE: the dimensions of a tensor, as values. All shapes are known, so this never reaches the generated code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.ops.common import INT32


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
