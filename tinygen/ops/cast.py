"""CAST: the same numbers in another type; scales and zero points do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.interval import Interval
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, full_range
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Elementwise
from tinygen.ops.work import Rates

_TYPES = (INT8, INT16, INT32, FLOAT32)


@dataclass(frozen=True)
class Cast(Elementwise):
    """y = x in another of the types int8, int16, int32 and float32.

    From integer to integer, the low bits; to float32, the nearest; from float32, towards zero, saturated, 0 for what
    is no number.
    """

    name: ClassVar[str] = "CAST"
    to: np.dtype[Any]

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes."""
        yield from common.expect_dtype(inputs[0], "input", *_TYPES)
        if self.to not in _TYPES:
            yield f"the output is {self.to}, supported is {' or '.join(map(str, _TYPES))}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input, in the wanted dtype."""
        return (TensorType(inputs[0].shape, self.to),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact conversion."""
        (x,) = inputs
        if x.dtype != FLOAT32 or self.to == FLOAT32:
            return (x.astype(self.to),)
        whole = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0)
        return (np.clip(whole, *full_range(self.to)).astype(self.to),)

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The same, where the wanted type holds it."""
        (interval,) = given
        low, high = full_range(self.to)
        fits = (interval.low >= low) & (interval.high <= high)
        return (Interval(np.where(fits, interval.low, low), np.where(fits, interval.high, high)),)

    def describe(self) -> str:
        """The wanted dtype."""
        return f"to {self.to}"


def _prepare(site: Site) -> Body:
    op: Cast = site.op
    (x,) = site.inputs
    truncates = x.dtype == FLOAT32 and op.to != FLOAT32
    values: dict[str, object] = {"elements": x.elements, "truncates": truncates}
    if truncates:
        low, high = full_range(op.to)
        values |= {
            "low": f"{float(low)}f",
            "limit": f"{float(high + 1)}f",  # the first float beyond
            "lowest": f"{op.to}_MIN".upper(),
            "highest": f"{op.to}_MAX".upper(),
        }
    return Body(values)


def _aliases(site: Site) -> Mapping[int, int]:
    """The output is the input's memory, where the type stays."""
    return {0: 0} if site.inputs[0].dtype == site.op.to else {}


KERNELS = (Kernel("cast.direct", Cast, _prepare, work=Rates(24, output=6), aliases=_aliases, overlaps=side_by_side),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return tuple(
        Case(
            f"{source}_to_{target}",
            "CAST",
            (_tensor(str(source)),),
            (_tensor(str(target)),),
            {"in_data_type": str(source).upper(), "out_data_type": str(target).upper()},
        )
        for source in _TYPES
        for target in _TYPES
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random conversion."""
    source, target = (str(dtype) for dtype in rng.choice(np.array([str(dtype) for dtype in _TYPES]), 2))
    shape = tuple(int(dim) for dim in rng.integers(1, 8, int(rng.integers(0, 5))))
    name = f"random_{rng.integers(1 << 30)}"
    return Case(name, "CAST", (CaseTensor(shape, source),), (CaseTensor(shape, target),))


def _tensor(dtype: str) -> CaseTensor:
    # A scale changes nothing: converters leave some on what they cast.
    return CaseTensor((1, 7, 37), dtype, *((0.5, 3) if dtype == "int8" else (None, 0)))
