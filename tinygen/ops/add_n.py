"""ADD_N: the sum of two or more tensors of one shape, scale and zero point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, differences, full_range
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Elementwise, Increasing
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant

FRACTION_BITS = 19
"""Of the terms. The runtime shifts them by 20 and then halves them, which is exact."""


@dataclass(frozen=True)
class AddN(Increasing, Elementwise):
    """y = clamp(requant((sum of (x - zero_point) - zero_point) * 2**19) + output_zero_point), int8.

    The zero point is subtracted once more than there are terms: so does TensorFlow Lite Micro's ``add_n.h``, in whose
    int8 models the sum is off by that much.
    """

    name: ClassVar[str] = "ADD_N"
    zero_point: int
    output_zero_point: int
    requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Number, dtypes, shapes, and the sum's bound."""
        if len(inputs) < 2:
            yield f"it has {len(inputs)} inputs, expected are 2 or more"
        for index, x in enumerate(inputs):
            yield from common.expect_dtype(x, f"input {index}", INT8)
            if x.shape != inputs[0].shape:
                yield f"inputs have the shapes {inputs[0].shape} and {x.shape}, expected are equal ones"
        widest = sum(max(map(abs, differences(x, self.zero_point))) for x in inputs) + abs(self.zero_point)
        widest <<= FRACTION_BITS
        yield from common.rescaling_problems("the sum", -widest, widest, self.requant)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As each input."""
        return (inputs[0].type,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        total = np.full(inputs[0].shape, -self.zero_point, np.int64)
        for x in inputs:
            total += x.astype(np.int64) - self.zero_point
        y = self.requant.apply(total << FRACTION_BITS).reshape(inputs[0].shape) + self.output_zero_point
        return (np.clip(y, *full_range(INT8)).astype(np.int8),)


def _prepare(site: Site) -> Body:
    op: AddN = site.op
    final, _, helpers = common.finish(op.requant, op.output_zero_point, full_range(INT8))
    values = {
        "elements": site.inputs[0].elements,
        "terms": len(site.inputs),
        "zero_points": op.zero_point * (len(site.inputs) + 1),
        "factor": 1 << FRACTION_BITS,
        "finish": final,
    }
    return Body(values, helpers=helpers)


def _work(site: Site) -> Work:
    return Rates(80 + 12 * len(site.inputs), output=18 + 3.7 * len(site.inputs))(site)


KERNELS = (Kernel("add_n.direct", AddN, _prepare, work=_work, parameters=("x*",), overlaps=side_by_side),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("two", (1, 4, 3, 5), 2),
        _case("three", (1, 41), 3),
        _case("fifteen", (1, 41), 15),
        _case("fine_output", (1, 400), 3, output=(0.02, 5)),
        _case("coarse_output", (1, 400), 3, output=(3.0, -100)),
        _case("extreme_zero_points", (1, 400), 4, zero_point=-128, output=(0.2, 127)),
        _case("scalar", (), 2),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random sum."""
    output = (float(np.exp(rng.uniform(np.log(0.01), np.log(0.5)))), int(rng.integers(-128, 128)))
    shape = tuple(int(dim) for dim in rng.integers(1, 7, int(rng.integers(1, 5))))
    terms, zero_point = int(rng.integers(2, 9)), int(rng.integers(-128, 128))
    return _case(f"random_{rng.integers(1 << 30)}", shape, terms, zero_point, output)


def _case(name: str, shape: Shape, terms: int, zero_point: int = -3, output: tuple[float, int] = (0.11, 5)) -> Case:
    x = CaseTensor(shape, scale=0.052, zero_point=zero_point)
    return Case(name, "ADD_N", (x,) * terms, (CaseTensor(shape, "int8", *output),))
