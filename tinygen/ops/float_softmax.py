"""SOFTMAX over the last dimension as ONNX Runtime's QLinearSoftmax computes it: a table of exponentials, in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinygen.c_text import float_literal
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import INT8, full_range
from tinygen.ops.overlaps import side_by_side
from tinygen.ops.traits import Rowwise
from tinygen.ops.work import Rates
from tinygen.proofs.split_exponentials import split_exponentials

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class FloatSoftmax(Rowwise):
    """y = clamp(rint(e * k / sum of e) + output_zero_point) with e = exp(scale * (x - max)) times a constant.

    Exponentials are made so large that their sum just fits float32; k is the whole part of 1 / output_scale, as the
    runtime has it, and the sum goes from the first element to the last.
    """

    name: ClassVar[str] = "SOFTMAX"
    scale: float
    output_scale: float
    output_zero_point: int

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 exponentials, ties to even"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype and length."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8)
        if not x.shape or x.shape[-1] < 2:
            yield f"rows of one element ({x.shape}), of which the runtime's exponentials overflow"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As the input."""
        return (inputs[0].type,)

    @property
    def steps(self) -> float:
        """k, a float32 value."""
        return float(np.floor(np.float32(1) / np.float32(self.output_scale)))

    def exponentials(self, length: int) -> npt.NDArray[np.float64]:
        """(256,): of max - x = 0, 1, ... in rows of `length`, computed in double, but for one logarithm.

        The runtime has them as float32.
        """
        logarithm = math.log(np.float32(_LARGEST) / np.float32(length))
        room = max(0.0, float(np.float32(logarithm)) - 5) / self.scale
        return np.asarray(np.exp((room - np.arange(256)) * self.scale))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In float32, element by element."""
        (x,) = inputs
        rows = x.astype(np.int64)
        terms = self.exponentials(x.shape[-1]).astype(np.float32)[rows.max(axis=-1, keepdims=True) - rows]
        total = np.zeros(x.shape[:-1], np.float32)
        for index in range(x.shape[-1]):
            total = total + terms[..., index]
        y = np.rint(terms * np.float32(self.steps) / total[..., np.newaxis]).astype(np.int64)
        return (np.clip(y + self.output_zero_point, *full_range(INT8)).astype(np.int8),)


_MOST_STEPS = 256
_NEAR = 10
"""How far the first look at a quotient may be below it, in 256ths: by 2**-13 of up to 256, and what is cut off."""


def _factor(steps: float) -> tuple[int, int] | None:
    """Of a whole number of steps up to 256: 128 to 255, and by which power of two that is too large; None of others."""
    if not 1 <= steps <= _MOST_STEPS:
        return None
    up = 8 - int(steps).bit_length()
    return (int(steps) << up if up >= 0 else int(steps) >> -up), up


def _takes_integers(site: Site) -> bool:
    """Whether the exponentials are normal floats as far as they count, with which nothing overflows."""
    op: FloatSoftmax = site.op
    largest = np.float32(op.exponentials(site.inputs[0].shape[-1])[0])
    with np.errstate(over="ignore"):
        fits = np.isfinite(largest * np.float32(op.steps)) and largest >= 1
    return "fpu" not in site.features and _factor(op.steps) is not None and bool(fits)


def _values(site: Site) -> dict[str, object]:
    op: FloatSoftmax = site.op
    (x,) = site.inputs
    low, high = full_range(INT8)
    return {
        "rows": x.elements // x.shape[-1],
        "depth": x.shape[-1],
        "zero_point": op.output_zero_point,
        "low": low,
        "high": high,
    }


def _prepare_integers(site: Site) -> Body:
    op: FloatSoftmax = site.op
    exact = op.exponentials(site.inputs[0].shape[-1])
    table = exact.astype(np.float32)
    table = table[table >= np.finfo(np.float32).tiny]
    split = split_exponentials(exact) if len(table) == len(exact) else None
    constants: dict[str, Array] = {"exp": table.view(np.uint32)}
    if split is not None:
        constants = {"coarse": split.coarse, "fine": split.fine, "exponents": split.exponents}
    found = _factor(op.steps)
    assert found is not None
    factor, up = found
    values = {
        **_values(site),
        "steps": int(op.steps),
        "factor": factor,
        "exponent": 7 - up,
        "entries": len(table),
        "split": split,
        "near": _NEAR,
        "clamps": op.output_zero_point + op.steps > full_range(INT8)[1],
    }
    return Body(values, constants, proof="float32 sums, products and quotients in integers")


def _prepare(site: Site) -> Body:
    op: FloatSoftmax = site.op
    exact = op.exponentials(site.inputs[0].shape[-1])
    # Without an FPU, a table of all of them saves more time than bytes.
    split = split_exponentials(exact) if site.objective == "size" or "fpu" in site.features else None
    constants: dict[str, Array] = {"exp": exact.astype(np.float32)}
    if split is not None:
        constants = {"coarse": split.coarse, "fine": split.fine, "scales": split.scales}
    proof = "" if split is None else "exponentials by products of two tables, all 256 compared"
    values = {**_values(site), "steps": float_literal(op.steps), "split": split}
    return Body(values, constants, helpers=frozenset({"clamp", "round_float"}), proof=proof)


KERNELS = (
    Kernel(
        "float_softmax.integer",
        FloatSoftmax,
        _prepare_integers,
        work=Rates(400, output=135),
        accepts=_takes_integers,
        overlaps=side_by_side,
    ),
    Kernel(
        "float_softmax.direct", FloatSoftmax, _prepare, work=Rates(248, output=48, in_float=True), overlaps=side_by_side
    ),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("ten_classes", (1, 10), 0.1),
        _case("two_classes", (1, 2), 0.004),
        _case("rows", (3, 7), 0.05),
        _case("channels", (1, 4, 2, 3), 0.05, axis=1),
        _case("steep", (1, 10), 12.0),
        _case("flat", (1, 10), 1e-5),
        _case("long", (1, 600), 0.02),
        _case("254_steps", (3, 10), 0.1, output=(1 / 255, -128)),
        _case("300_steps", (3, 10), 0.1, output=(1 / 300.5, -128)),
        _case("coarse", (3, 10), 0.1, output=(0.013, 20)),
        _case("uint8", (3, 10), 0.1, output=(1 / 256, 0), dtype="uint8"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random softmax."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(2, 40)))
    scale = float(np.exp(rng.uniform(np.log(1e-3), np.log(2.0))))
    return _case(f"random_{rng.integers(1 << 30)}", shape, scale, output=(float(rng.choice([1 / 255, 1 / 256])), -128))


def _case(
    name: str,
    shape: Shape,
    scale: float,
    output: tuple[float, int] = (1 / 256, -128),
    axis: int = -1,
    dtype: str = "int8",
) -> Case:
    x, y = CaseTensor(shape, dtype, scale, 4), CaseTensor(shape, dtype, *output)
    return Case(name, "Softmax", (x,), (y,), {"axis": axis}, suffix=ONNX)
