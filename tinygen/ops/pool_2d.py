"""AVERAGE_POOL_2D and MAX_POOL_2D. Input and output share scale and zero point; taps outside the image do not count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import Array, Op, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, Clamp
from tinygen.ops.window import Window, WindowLoops, same_padding


@dataclass(frozen=True)
class _Pool2D(Op):
    window: Window
    clamp: Clamp

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank and size."""
        (x,) = inputs
        broken = [*common.expect_dtype(x, "input", INT8), *common.expect_rank(x, "input", 4)]
        yield from broken
        if not broken and min(self.window.output_size(*x.shape[1:3])) < 1:
            yield f"the {self.window.describe()} does not fit into the input {x.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, c) int8."""
        (x,) = inputs
        return (TensorType((x.shape[0], *self.window.output_size(*x.shape[1:3]), x.shape[3]), INT8),)

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


@dataclass(frozen=True)
class AveragePool2D(_Pool2D):
    """y = clamp(sum of the taps inside / their number), on raw values, ties away from zero."""

    name: ClassVar[str] = "AVERAGE_POOL_2D"

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
        magnitude = (np.abs(total) + count // 2) // count
        return (np.clip(np.where(total > 0, magnitude, -magnitude), *self.clamp).astype(np.int8),)


@dataclass(frozen=True)
class MaxPool2D(_Pool2D):
    """y = clamp(largest of the taps inside)."""

    name: ClassVar[str] = "MAX_POOL_2D"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Running maximum over the image padded with the smallest value."""
        (x,) = inputs
        height, width = self.window.output_size(*x.shape[1:3])
        padded = self.window.pad(x, -128)
        largest = np.full((x.shape[0], height, width, x.shape[3]), -128, np.int8)
        for _, _, view in self.window.tap_views(padded, height, width):
            largest = np.maximum(largest, view)
        return (np.clip(largest, *self.clamp).astype(np.int8),)


def _prepare(site: Site) -> Body:
    op: _Pool2D = site.op
    (x,) = site.inputs
    low, high = op.clamp
    clamps = (low, high) != (-128, 127)
    loops = WindowLoops.of(op.window, x.shape, site.outputs[0].shape)
    helpers = {name for name, used in (("clamp", clamps), ("taps", loops.has_edge)) if used}
    return Body(
        values={
            "window": loops,
            "batch": x.shape[0],
            "low": low,
            "high": high,
            "clamps": clamps,
        },
        helpers=frozenset(helpers),
    )


KERNELS = (
    Kernel("average_pool_2d.direct", AveragePool2D, _prepare),
    Kernel("max_pool_2d.direct", MaxPool2D, _prepare),
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
) -> Case:
    size = tuple(
        (length + (sum(same_padding(length, taps, step)) if padding == "SAME" else 0) - taps) // step + 1
        for length, taps, step in zip(x[1:3], kernel, stride, strict=True)
    )
    return Case(
        f"{op.split('_')[0].lower()}_{name}",
        op,
        (CaseTensor(x, scale=0.05, zero_point=-11),),
        (CaseTensor((x[0], *size, x[3]), scale=0.05, zero_point=-11),),
        {
            "padding": padding,
            "filter_height": kernel[0],
            "filter_width": kernel[1],
            "stride_h": stride[0],
            "stride_w": stride[1],
            "fused_activation_function": activation,
        },
    )
