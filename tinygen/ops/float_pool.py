"""AVERAGE_POOL_2D as ONNX Runtime's QLinearAveragePool and AveragePool compute it: sums of real values, in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.c_text import float_literal
from tinygen.fixedpoint import IntArray
from tinygen.float32 import FloatArray
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.case import ONNX, Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, Clamp, full_range
from tinygen.ops.overlaps import by_window
from tinygen.ops.pool_sums import Means, Sums
from tinygen.ops.real_scales import Averaging, RealResults, RealScales
from tinygen.ops.traits import Channelwise
from tinygen.ops.window import Window, WindowLoops
from tinygen.ops.work import Rates
from tinygen.proofs.tie_sums import TieSums

_MOST_TOGETHER = 8


class _Averages(Channelwise, Averaging):
    """The means of the real values that lie in each window: (n, oh, ow, c) of (n, h, w, c).

    Each step is in float32. Sums are divided by how many taps are inside the image, or, with `counts_border`, by how
    many there are. Taps are added up row by row; with `by_column`, those of each column first.
    """

    window: Window
    counts_border: bool
    by_column: bool

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and size."""
        broken = list(super().problems(inputs))
        yield from broken
        if not broken:
            yield from self.window.problems(inputs[0].shape)

    def means(self, x: Array) -> FloatArray:
        """Sums over the padded image, tap by tap, divided."""
        height, width = self.window.output_size(*x.shape[1:3])
        reals = self.real_values(x)
        taps = {(ky, kx): view for ky, kx, view in self.window.tap_views(self.window.pad(reals, 0), height, width)}
        columns, rows = range(self.window.columns.taps), range(self.window.rows.taps)
        parts = [[(ky, kx) for ky in rows] for kx in columns] if self.by_column else [list(taps)]
        total = np.zeros((x.shape[0], height, width, x.shape[3]), np.float32)
        for part in parts:
            found = np.zeros_like(total)
            for place in part:
                found = found + taps[place]  # a zero of the border changes nothing
            total = total + found
        count = np.zeros((1, height, width, 1), np.int64)
        inside = self.window.pad(np.ones((1, *x.shape[1:3], 1), np.int64), 1 if self.counts_border else 0)
        for _, _, view in self.window.tap_views(inside, height, width):
            count += view
        return np.asarray(total / count.astype(np.float32))

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


@dataclass(frozen=True)
class FloatAveragePool(_Averages, RealScales):
    """y = clamp(rint(mean of (x - zero_point) * scale / output_scale + output_zero_point)).

    Where the runtime computes on codes without sign, `offset` is 128: the zero point that is added before rounding is
    larger. Where it does not fuse the operator (`in_float`), QuantizeLinear rounds first.
    """

    name: ClassVar[str] = "AVERAGE_POOL_2D"
    window: Window
    scale: float
    zero_point: int
    output_scale: float
    output_zero_point: int
    clamp: Clamp
    counts_border: bool = False
    offset: int = 0
    in_float: bool = False
    by_column: bool = False
    curve: tuple[float, ...] = ()

    @property
    def rounding(self) -> str:
        """In words."""
        return "float32 sums, ties to even"

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank, size and scales."""
        yield from super().problems(inputs)
        yield from self.scale_problems()

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, c)."""
        (x,) = inputs
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), x.shape[3]), x.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The means, rounded."""
        (x,) = inputs
        mean = self.means(x) / np.float32(self.output_scale)
        if self.in_float:
            y = np.rint(mean).astype(np.int64) + self.output_zero_point
        else:
            y = np.rint(mean + np.float32(self.output_zero_point + self.offset)).astype(np.int64) - self.offset
        return (np.clip(y, *self.clamp).astype(x.dtype),)

    def gain(self, taps: int) -> float:
        """What a step of one of so many taps changes the output by."""
        return self.scale / (self.output_scale * (self.window.taps if self.counts_border else taps))

    def of_sums(self, sums: IntArray, taps: int) -> IntArray | None:
        """The results for sums of x - zero_point over `taps` taps; None where these do not decide them all."""
        if self.curve:
            return None
        results, certain = self._means(taps).certain(sums)
        return results if certain.all() else None

    def by_sums(self) -> Sums | None:
        """The results of windows inside the image, for sums of int8 values; None where such do not decide."""
        return None if self.curve else self._means(self.window.taps).by_sums(self.zero_point)

    def _means(self, taps: int) -> Means:
        return Means(self.gain(taps), taps, self.output_zero_point, self.clamp, self.offset)

    def ties_in_integers(self) -> TieSums | None:
        """What decides ties of windows inside the image without floats; None if there is nothing that was proved."""
        if self.in_float or self.by_column or self.scale != self.output_scale or self.output_zero_point + self.offset:
            return None
        low, high = full_range(INT8)
        return TieSums.of(self.scale, low - self.zero_point, high - self.zero_point, self.window.taps)


@dataclass(frozen=True)
class RealAveragePool(RealResults, _Averages):
    """y = mean of (x - zero_point) * scale, or of x of float32: float32, not quantised."""

    name: ClassVar[str] = "AVERAGE_POOL_2D"
    window: Window
    scale: float
    zero_point: int
    counts_border: bool
    by_column: bool
    curve: tuple[float, ...] = ()

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, c)."""
        (x,) = inputs
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), x.shape[3]), FLOAT32),)

    def describe(self) -> str:
        """Window, and the result's type."""
        return f"{super().describe()}, to float32"


def _together(taps: int, objective: str) -> int:
    """How many taps are added in one step of the loop over them, all alike."""
    most = 1 if objective == "size" else _MOST_TOGETHER
    return max(count for count in range(1, most + 1) if taps % count == 0)


def _prepare(site: Site) -> Body:
    op: FloatAveragePool = site.op
    (x,) = site.inputs
    loops = WindowLoops.at(site)
    helpers = loops.helpers | {"clamp", "round_float"}
    sums = op.by_sums() if loops.has_inside else None
    has_table = loops.has_edge or sums is None
    in_integers = not has_table and sums is not None and sums.near == 1 and "fpu" not in site.features
    ties = op.ties_in_integers() if in_integers else None
    helpers -= {"round_float"} if ties is not None else set()
    return Body(
        values={
            "window": loops,
            "batch": x.shape[0],
            "is_real": False,
            "is_of_reals": False,
            "scale": float_literal(op.output_scale),
            "zero_point": op.output_zero_point if op.in_float else float_literal(op.output_zero_point + op.offset),
            "in_float": op.in_float,
            "by_column": op.by_column,
            "offset": op.offset,
            "counts_border": op.counts_border,
            "sums": sums,
            "ties": ties,
            "raised": op.window.taps * (op.output_zero_point - op.zero_point) + op.window.taps // 2,
            "in_a_row": loops.row_step == op.window.columns.taps * loops.column_step,
            "together": _together(op.window.taps, site.objective),
            "real": (float_literal(op.scale), op.zero_point),
            "has_table": has_table,
            "low": op.clamp[0],
            "high": op.clamp[1],
        },
        constants={"reals": op.reals()} if has_table else {},
        helpers=helpers,
        proof="" if ties is None else "float32 sums in integers, compared on all that can be ties",
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_window(site, site.op.window, channelwise=True)


def _prepare_reals(site: Site) -> Body:
    op: RealAveragePool = site.op
    (x,) = site.inputs
    loops = WindowLoops.at(site)
    values = {
        "window": loops,
        "batch": x.shape[0],
        "by_column": op.by_column,
        "counts_border": op.counts_border,
        "is_real": True,
        "is_of_reals": x.dtype == FLOAT32,
        "sums": None,
        "ties": None,
        "has_table": True,
    }
    constants = {} if x.dtype == FLOAT32 else {"reals": op.reals()}
    return Body(values, constants, loops.helpers)


KERNELS = (
    Kernel(
        "float_pool.direct", FloatAveragePool, _prepare, work=Rates(328, output=30, in_float=True), overlaps=_overlaps
    ),
    Kernel("float_pool.direct", RealAveragePool, _prepare_reals, work=Rates(328, output=30, in_float=True)),
)


_BORDER = {"count_include_pad": 1}


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("2x2", (1, 5, 6, 4), (2, 2), (2, 2)),
        _case("same_scale", (1, 5, 6, 4), (2, 2), (2, 2), scale=0.031, zero_points=(5, 5)),
        _case("exact_ties", (1, 5, 6, 4), (2, 2), (2, 2), scale=0.5, output_scale=0.5),
        _case(
            "from_zero", (1, 6, 6, 5), (2, 2), (2, 2), scale=0.03, output_scale=0.03, dtype="uint8", zero_points=(0, 0)
        ),
        _case("padded", (1, 3, 5, 6), (3, 2), pads=(1, 0, 1, 1)),
        _case("counts_border", (1, 3, 5, 6), (3, 3), (2, 2), pads=(1, 1, 1, 1), options=_BORDER),
        _case("counts_what_is_beyond", (1, 3, 6, 5), (3, 2), (2, 2), options={**_BORDER, "ceil_mode": 1}),
        _case("large", (1, 3, 9, 7), (9, 7)),
        _case("batch", (2, 3, 4, 4), (3, 3)),
        _case("one_dimension", (1, 3, 17), (5,), (2,)),
        _case("uint8", (1, 5, 6, 4), (3, 2), dtype="uint8", zero_points=(3, 250)),
        _case("to_float32", (1, 5, 6, 4), (2, 3), (2, 1), output_scale=None),
        _case(
            "padded_to_float32",
            (1, 3, 5, 6),
            (3, 2),
            pads=(1, 0, 1, 1),
            output_scale=None,
            dtype="uint8",
            zero_points=(3, 0),
        ),
        _case("border_to_float32", (2, 16, 5, 6), (3, 3), (2, 2), (1, 1, 1, 1), output_scale=None, options=_BORDER),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random mean."""
    kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    scales = np.exp(rng.uniform(np.log(0.01), np.log(0.2), 2))
    dtype = str(rng.choice(["int8", "uint8"]))
    zeros = rng.integers(*full_range(np.dtype(dtype)), 2, endpoint=True)
    return _case(
        f"random_{rng.integers(1 << 30)}",
        (1, int(rng.integers(1, 9)), int(rng.integers(kernel[0], 12)), int(rng.integers(kernel[1], 12))),
        kernel,
        (int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        tuple(int(rng.integers(0, taps)) for taps in (*kernel, *kernel)),
        dtype=dtype,
        scale=float(scales[0]),
        output_scale=float(scales[int(rng.random() < 0.5)]) if rng.random() < 0.8 else None,
        zero_points=(int(zeros[0]), int(zeros[1])),
        options={"count_include_pad": int(rng.integers(0, 2))},
    )


def _case(
    name: str,
    x: Shape,
    kernel: tuple[int, ...],
    strides: tuple[int, ...] = (1, 1),
    pads: tuple[int, ...] = (0, 0, 0, 0),
    *,
    dtype: str = "int8",
    scale: float = 0.05,
    output_scale: float | None = 0.031,
    zero_points: tuple[int, int] = (-11, 6),
    options: Mapping[str, object] | None = None,
) -> Case:
    rank = len(kernel)
    strides, pads = strides[:rank], pads[: 2 * rank]
    is_ceil = bool((options or {}).get("ceil_mode"))
    steps = (x[2 + axis] + pads[axis] + pads[rank + axis] - kernel[axis] for axis in range(rank))
    sizes = ((each + is_ceil * (stride - 1)) // stride + 1 for each, stride in zip(steps, strides, strict=True))
    return Case(
        name,
        "AveragePool",
        (CaseTensor(x, dtype, scale, zero_points[0]),),
        (CaseTensor((*x[:2], *sizes), dtype if output_scale else "float32", output_scale, zero_points[1]),),
        {"kernel_shape": kernel, "strides": strides, "pads": pads, **(options or {})},
        suffix=ONNX,
    )
