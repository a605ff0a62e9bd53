"""RSQRT, int8 to int8 and int16 to int16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen import fixedpoint
from tinygen.ir import Array, Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, full_range
from tinygen.ops.lookup import Lookup, lookup_kernels
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.work import Rates
from tinygen.rescaling import Requant

FRACTION_BITS = 20  # of the inverse root
_LARGEST_SHIFT = 31


@dataclass(frozen=True)
class Rsqrt(Lookup):
    """y = clamp(requant(2**20 / sqrt(x - zero_point)) + output_zero_point), the highest value where x = zero_point.

    Below its zero point, where the runtime gives up the whole inference, x counts as the zero point. Source: TensorFlow
    Lite Micro's ``elementwise.cc``.
    """

    name: ClassVar[str] = "RSQRT"
    dtypes = (INT8, INT16)
    zero_point: int
    output_zero_point: int
    requant: Requant

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and what int32 leaves."""
        yield from super().problems(inputs)
        # Twice, for the output's zero point to fit, too.
        yield from common.rescaling_problems("twice the inverse root", 0, 2 << FRACTION_BITS, self.requant)
        if self.requant.shift[0] < -_LARGEST_SHIFT:
            yield "the output's scale is too coarse for an inverse root of the input"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        low, high = full_range(inputs[0].dtype)
        difference = np.maximum(inputs[0].astype(np.int64) - self.zero_point, 0)
        multiplier, shift = fixedpoint.inverse_square_root(difference)
        root = fixedpoint.multiply_by_quantized_multiplier(1, multiplier, shift + FRACTION_BITS)
        y = np.clip(self.requant.apply(root) + self.output_zero_point, low, high)
        return (np.where(difference == 0, high, y).astype(inputs[0].dtype),)


def _prepare(site: Site) -> Body:
    op: Rsqrt = site.op
    (x,) = site.inputs
    limits = full_range(x.dtype)
    final, _, helpers = common.finish(op.requant, op.output_zero_point, limits, x.dtype)
    values = {
        "elements": x.elements,
        "zero_point": op.zero_point,
        "fraction_bits": FRACTION_BITS,
        "highest": limits[1],
        "finish": final,
    }
    return Body(values, helpers=helpers | {"inverse_root", "requantise_wide"})


KERNELS = (
    *lookup_kernels(Rsqrt),
    Kernel("rsqrt.direct", Rsqrt, _prepare, work=Rates(464, output=325), overlaps=side_by_side),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("plain", 0.004, (0.05, -128)),
        _case("fine_output", 0.004, (0.003, -128)),
        _case("coarse_output", 0.004, (30.0, 5)),
        _case("fine_input", 3e-7, (12.0, -90)),
        _case("coarse_input", 40.0, (0.001, -128)),
        _case("same_scales", 1.0, (1.0, 0)),
        _case("zero_point", 0.004, (0.05, 7), zero_point=-20),
        _case("int16", 0.0002, (0.004, 0), "int16"),
        _case("int16_fine_output", 0.0002, (0.0003, 0), "int16"),
        _case("int16_coarse_output", 0.004, (3.0, 0), "int16"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random inverse root."""
    scale = float(np.exp(rng.uniform(np.log(1e-6), np.log(2.0))))
    output_scale = scale**-0.5 * float(np.exp(rng.uniform(np.log(1e-3), np.log(0.5))))
    dtype = str(rng.choice(["int8", "int16"]))
    return _case(
        f"random_{rng.integers(1 << 30)}",
        scale,
        (output_scale, int(rng.integers(-128, 128)) if dtype == "int8" else 0),
        dtype,
    )


def _case(
    name: str, scale: float, output: tuple[float, int], dtype: str = "int8", zero_point: int | None = None
) -> Case:
    shape = (1, 7, 37)
    if zero_point is None:
        zero_point = full_range(INT8)[0] if dtype == "int8" else 0
    return Case(
        name,
        "RSQRT",
        (CaseTensor(shape, dtype, scale, zero_point),),
        (CaseTensor(shape, dtype, *output),),
        lowest_input=zero_point,
    )
