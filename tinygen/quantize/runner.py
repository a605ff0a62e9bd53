"""Float and int8 models at work: every value between the layers, as the real number that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinygen.ir import Array


@dataclass(frozen=True)
class Scaling:
    """real = scale * (q - zero_point), for a whole tensor."""

    scale: float
    zero_point: int
    dtype: str

    def real(self, q: Array) -> Array:
        """float64 of integers."""
        return np.asarray((q.astype(np.float64) - self.zero_point) * self.scale)

    def quantised(self, x: Array) -> Array:
        """Integers of reals, rounded to the nearest, ties to even, and clamped."""
        info = np.iinfo(self.dtype)
        return np.asarray(np.clip(np.rint(x / self.scale) + self.zero_point, info.min, info.max), self.dtype)

    @property
    def low(self) -> float:
        """The least real that it can stand for."""
        return (np.iinfo(self.dtype).min - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The greatest."""
        return (np.iinfo(self.dtype).max - self.zero_point) * self.scale


class Runner(Protocol):
    """A model in its framework's runtime."""

    @property
    def scalings(self) -> Mapping[str, Scaling]:
        """Of the tensors that are integers, by the names that the float model has for them."""
        ...

    def outputs(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs of one sample, as reals. `inputs` are reals of the model's shapes."""
        ...

    def tensors(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value between layers, and the outputs, as reals, by the names that the float model has for them."""
        ...
