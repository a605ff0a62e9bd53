"""AVERAGE_POOL_2D and MAX_POOL_2D. Input and output share scale and zero point; taps outside the image do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from tinygen.access import Spacing
from tinygen.c_text import float_literal
from tinygen.fixedpoint import INT32_MAX
from tinygen.ir import Array, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site, Work
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT16, Clamp, full_range
from tinygen.ops.overlaps import by_window
from tinygen.ops.traits import Channelwise, Increasing
from tinygen.ops.window import Window, WindowLoops, same_padding
from tinygen.ops.work import POOL, window_work


@dataclass(frozen=True)
class _Pool2D(Increasing, Channelwise):
    window: Window
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and size."""
        yield from _window_problems(self.window, inputs[0], INT8, INT16)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, c), of the input's dtype."""
        return (_pooled_type(self.window, inputs[0]),)

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


class Ties(Enum):
    """Which way a mean goes that lies half-way between two integers; the values are for people."""

    AWAY_FROM_ZERO = "ties away from zero"
    UP = "ties up"
    """As a sum of values without sign, which half the divisor is added to: models of uint8."""


@dataclass(frozen=True)
class AveragePool2D(_Pool2D):
    """y = clamp(sum of the taps inside / their number), rounded to the nearest, on raw values."""

    name: ClassVar[str] = "AVERAGE_POOL_2D"
    ties: Ties = Ties.AWAY_FROM_ZERO

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and size, and the sum's bound."""
        broken = list(super().problems(inputs))
        yield from broken
        if not broken:
            low, high = full_range(inputs[0].dtype)
            # The sum of values counted from the least, with half the divisor for rounding.
            bound = self.window.taps * (high - low + 1)
            if bound > INT32_MAX:
                yield f"the sum of {self.window.taps} taps can reach {bound}, more than int32"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Sums and counts over the padded image."""
        (x,) = inputs
        height, width = self.window.output_size(*x.shape[1:3])
        total = np.zeros((x.shape[0], height, width, x.shape[3]), np.int64)
        count = np.zeros((1, height, width, 1), np.int64)
        for _, _, view in self.window.tap_views(self.window.pad(x.astype(np.int64), 0), height, width):
            total += view
        inside = self.window.pad(np.ones((1, *x.shape[1:3], 1), np.int64), 0)
        for _, _, view in self.window.tap_views(inside, height, width):
            count += view
        return (np.clip(self.divided(total, count), *self.clamp).astype(x.dtype),)

    def divided(self, total: Array, count: Array) -> Array:
        """The means of `count` values each, rounded."""
        if self.ties is Ties.UP:
            return np.asarray((total + count // 2) // count)
        magnitude = (np.abs(total) + count // 2) // count
        return np.asarray(np.where(total > 0, magnitude, -magnitude))

    def describe(self) -> str:
        """Window in words, and ties where they are not the usual ones."""
        return super().describe() + (f", {self.ties.value}" if self.ties is Ties.UP else "")


@dataclass(frozen=True)
class MaxPool2D(_Pool2D):
    """y = clamp(largest of the taps inside)."""

    name: ClassVar[str] = "MAX_POOL_2D"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Running maximum over the image padded with the smallest value."""
        (x,) = inputs
        largest = _largest(self.window, x, full_range(x.dtype)[0])
        return (np.clip(largest, *self.clamp).astype(x.dtype),)


@dataclass(frozen=True)
class RealMaxPool(Channelwise):
    """y = largest of the taps inside, of float32: what nothing quantises."""

    name: ClassVar[str] = "MAX_POOL_2D"
    window: Window

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and size."""
        yield from _window_problems(self.window, inputs[0], FLOAT32)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, c)."""
        return (_pooled_type(self.window, inputs[0]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The largest over the image with a border below all values."""
        return (_largest(self.window, inputs[0], float(np.finfo(np.float32).min)),)

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def _window_problems(window: Window, x: Tensor, *dtypes: np.dtype[Any]) -> Iterator[str]:
    broken = [*common.expect_dtype(x, "input", *dtypes), *common.expect_rank(x, "input", 4)]
    yield from broken
    if not broken:
        yield from window.problems(x.shape)


def _pooled_type(window: Window, x: Tensor) -> TensorType:
    return TensorType((x.shape[0], *window.output_size(*x.shape[1:3]), x.shape[3]), x.dtype)


def _largest(window: Window, x: Array, lowest: float) -> Array:
    """Running maximum over the padded image."""
    height, width = window.output_size(*x.shape[1:3])
    largest = np.full((x.shape[0], height, width, x.shape[3]), lowest, x.dtype)
    for _, _, view in window.tap_views(window.pad(x, lowest), height, width):
        largest = np.maximum(largest, view)
    return largest


def _prepare_reals(site: Site) -> Body:
    loops = WindowLoops.at(site)
    values = {
        "window": loops,
        "batch": site.inputs[0].shape[0],
        "clamps": False,
        "lowest_name": float_literal(float(np.finfo(np.float32).min)),
    }
    return Body(values, helpers=loops.helpers)


def _prepare(site: Site) -> Body:
    op: _Pool2D = site.op
    (x,) = site.inputs
    low, high = op.clamp
    lowest, _ = full_range(x.dtype)
    clamps = op.clamp != full_range(x.dtype)
    loops = WindowLoops.at(site)
    helpers = loops.helpers | ({"clamp"} if clamps else set())
    return Body(
        values={
            "window": loops,
            "batch": x.shape[0],
            "low": low,
            "high": high,
            "clamps": clamps,
            "lowest": lowest,
            "lowest_name": f"{x.dtype}_MIN".upper(),
            "ties_up": isinstance(op, AveragePool2D) and op.ties is Ties.UP,
        },
        helpers=helpers,
    )


def _work(site: Site) -> Work:
    return window_work(site, POOL, site.op.window.taps)


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    return by_window(site, site.op.window, channelwise=True)


KERNELS = (
    Kernel("average_pool_2d.direct", AveragePool2D, _prepare, work=_work, overlaps=_overlaps),
    Kernel("max_pool_2d.direct", MaxPool2D, _prepare, work=_work, overlaps=_overlaps),
    Kernel("max_pool_2d.direct", RealMaxPool, _prepare_reals, overlaps=_overlaps),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return tuple(
        _case(name, op, **arguments)  # type: ignore[arg-type]
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
        for name, arguments in {
            "2x2": {"x": (1, 6, 4, 5), "kernel": (2, 2), "stride": (2, 2)},
            "global": {"x": (1, 5, 3, 7), "kernel": (5, 3), "stride": (5, 3), "padding": "VALID"},
            "same_odd_total": {"x": (1, 5, 6, 3), "kernel": (4, 2)},
            "stride_beyond_kernel": {"x": (1, 9, 11, 2), "kernel": (2, 1), "stride": (4, 3)},
            "kernel_over_image": {"x": (1, 2, 3, 4), "kernel": (5, 4)},
            "relu6": {"x": (1, 4, 4, 3), "kernel": (2, 2), "activation": "RELU6"},
            "batch": {"x": (2, 4, 4, 3), "kernel": (3, 3)},
            "one_pixel": {"x": (1, 1, 1, 1), "kernel": (1, 1)},
            "int16": {"x": (1, 6, 4, 5), "kernel": (2, 2), "stride": (2, 2), "dtype": "int16"},
            "int16_global": {"x": (1, 9, 7, 3), "kernel": (9, 7), "padding": "VALID", "dtype": "int16"},
            "int16_same_odd_total": {"x": (1, 5, 6, 3), "kernel": (4, 2), "dtype": "int16"},
            "int16_relu6": {"x": (1, 4, 4, 3), "kernel": (2, 2), "activation": "RELU6", "dtype": "int16"},
        }.items()
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random pool."""
    kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    return _case(
        f"random_{rng.integers(1 << 30)}",
        str(rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"])),
        x=(1, int(rng.integers(kernel[0], 12)), int(rng.integers(kernel[1], 12)), int(rng.integers(1, 9))),
        kernel=kernel,
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        padding=str(rng.choice(["SAME", "VALID"])),
        activation=str(rng.choice(["NONE", "RELU", "RELU6"])),
        dtype=str(rng.choice(["int8", "int16"])),
    )


def _case(
    name: str,
    op: str,
    *,
    x: tuple[int, int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    activation: str = "NONE",
    dtype: str = "int8",
) -> Case:
    size = tuple(
        (length + (sum(same_padding(length, taps, step)) if padding == "SAME" else 0) - taps) // step + 1
        for length, taps, step in zip(x[1:3], kernel, stride, strict=True)
    )
    scale = 0.05 if dtype == "int8" else 0.0002
    return Case(
        f"{op.split('_')[0].lower()}_{name}",
        op,
        (CaseTensor(x, dtype, scale=scale, zero_point=-11),),
        (CaseTensor((x[0], *size, x[3]), dtype, scale=scale, zero_point=-11),),
        {
            "padding": padding,
            "filter_height": kernel[0],
            "filter_width": kernel[1],
            "stride_h": stride[0],
            "stride_w": stride[1],
            "fused_activation_function": activation,
        },
    )
