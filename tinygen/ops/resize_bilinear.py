"""RESIZE_BILINEAR: each pixel of the output is a weighted mean of up to four of the input; int8, NHWC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tinygen.access import Spacing
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT32
from tinygen.ops.overlaps import Reach, by_pixel
from tinygen.ops.table_copy import offset_table
from tinygen.ops.traits import Channelwise, Increasing
from tinygen.ops.work import Rates

ONE = 1 << 10
"""Weights are in Q10."""


@dataclass(frozen=True)
class Positions:
    """Where the positions of an output axis lie in the input: between `first` and `second`.

    `weight` of ONE is the second's share; it is 0 where both are the same.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    weight: tuple[int, ...]

    @staticmethod
    def of(size: int, wanted: int, *, align_corners: bool, half_pixel_centers: bool) -> Positions:
        """``ComputeInterpolationValuesInteger`` for every position of one axis.

        `first` can exceed the input where its scale, which has 10 bits, is rounded up: the original reads beyond it.
        """
        if align_corners and wanted > 1:
            scale = (ONE * (size - 1) + (wanted - 1) // 2) // (wanted - 1)
        else:
            scale = (ONE * size + wanted // 2) // wanted
        start = scale // 2 - ONE // 2 if half_pixel_centers else 0
        source = start + scale * np.arange(wanted, dtype=np.int64)
        # Before the first position and behind the last, both neighbours are the edge, whatever their shares.
        first = np.maximum(source // ONE, 0)
        second = np.minimum(np.maximum(-(-source // ONE), 0), size - 1)
        weight = np.where(second > first, source - ONE * first, 0)
        return Positions(tuple(first.tolist()), tuple(second.tolist()), tuple(weight.tolist()))


@dataclass(frozen=True)
class ResizeBilinear(Increasing, Channelwise):
    """y = (sum of four neighbours times their Q20 weights) / 2**20, a whole number; scales do not change."""

    name: ClassVar[str] = "RESIZE_BILINEAR"
    rows: Positions
    columns: Positions
    whole: Literal["nearest", "floor", "trunc"] = "nearest"
    """Which one: the nearest, of two the one farther from zero; the next one below; or the next one towards zero."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank, and positions inside the image."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8)
        broken = list(common.expect_rank(x, "input", 4))
        yield from broken
        for size, positions, what in zip(x.shape[1:3], (self.rows, self.columns), ("rows", "columns"), strict=False):
            if max(positions.first) >= size and not broken:
                yield (
                    f"{size} {what} become {len(positions.first)}: the runtime's 10-bit scale is too coarse for that, "
                    f"and reads beyond the image"
                )

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """As many rows and columns as there are positions."""
        (x,) = inputs
        return (TensorType((x.shape[0], len(self.rows.first), len(self.columns.first), x.shape[3]), INT8),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers: along the rows first."""
        x = inputs[0].astype(np.int64)
        down = np.array(self.rows.weight)[:, np.newaxis, np.newaxis]
        rows = x[:, self.rows.first] * (ONE - down) + x[:, self.rows.second] * down
        right = np.array(self.columns.weight)[:, np.newaxis]
        acc = rows[:, :, self.columns.first] * (ONE - right) + rows[:, :, self.columns.second] * right
        if self.whole == "floor":
            return ((acc // (ONE * ONE)).astype(np.int8),)
        half = ONE * ONE // 2 if self.whole == "nearest" else 0
        return ((np.sign(acc) * ((np.abs(acc) + half) // (ONE * ONE))).astype(np.int8),)

    def describe(self) -> str:
        """Nothing that the shapes do not say."""
        return ""


def _prepare(site: Site) -> Body:
    op: ResizeBilinear = site.op
    (x,), (y,) = site.inputs, site.outputs
    batch, height, width, channels = x.shape
    row = width * channels
    return Body(
        {
            "batch": batch,
            "image_size": height * row,
            "height": y.shape[1],
            "width": y.shape[2],
            "channels": channels,
            "one": ONE,
            "whole": op.whole,
            "half": ONE * ONE // 2,
            "unit": ONE * ONE,
            "bits": 2 * (ONE.bit_length() - 1),
        },
        {
            "top": offset_table(op.rows.first, row),
            "bottom": offset_table(op.rows.second, row),
            "down": np.array(op.rows.weight, np.int16),
            "left": offset_table(op.columns.first, channels),
            "right": offset_table(op.columns.second, channels),
            "across": np.array(op.columns.weight, np.int16),
        },
    )


def _overlaps(site: Site) -> Mapping[int, Spacing]:
    op: ResizeBilinear = site.op
    rows, columns = (
        Reach(np.minimum(ends.first, ends.second), np.maximum(ends.first, ends.second))
        for ends in (op.rows, op.columns)
    )
    return by_pixel(site, rows, columns, channelwise=True)


KERNELS = (Kernel("resize_bilinear.direct", ResizeBilinear, _prepare, work=Rates(264, output=26), overlaps=_overlaps),)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("twice", (1, 4, 5, 3), (8, 10)),
        _case("twice_aligned", (1, 4, 5, 3), (8, 10), align_corners=True),
        _case("twice_half_pixel", (1, 4, 5, 3), (8, 10), half_pixel_centers=True),
        _case("half", (1, 8, 6, 4), (4, 3)),
        _case("half_half_pixel", (1, 8, 6, 4), (4, 3), half_pixel_centers=True),
        _case("odd", (1, 7, 5, 2), (19, 23)),
        _case("odd_aligned", (1, 7, 5, 2), (19, 23), align_corners=True),
        _case("odd_half_pixel", (1, 7, 5, 2), (19, 23), half_pixel_centers=True),
        _case("smaller", (1, 23, 9, 1), (7, 4)),
        _case("smaller_aligned", (1, 23, 9, 1), (7, 4), align_corners=True),
        _case("smaller_half_pixel", (1, 23, 9, 1), (7, 4), half_pixel_centers=True),
        _case("batch", (3, 2, 3, 2), (3, 5)),
        _case("same_size", (1, 3, 4, 5), (3, 4)),
        _case("to_one_pixel", (1, 6, 7, 3), (1, 1)),
        _case("to_one_pixel_aligned", (1, 6, 7, 3), (1, 1), align_corners=True),
        _case("to_one_pixel_half_pixel", (1, 6, 7, 3), (1, 1), half_pixel_centers=True),
        _case("of_one_pixel", (1, 1, 1, 3), (4, 3)),
        _case("of_one_pixel_aligned", (1, 1, 1, 3), (4, 3), align_corners=True),
        _case("of_one_pixel_half_pixel", (1, 1, 1, 3), (4, 3), half_pixel_centers=True),
        _case("large", (1, 3, 2, 1), (3, 341), align_corners=True),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random size and option."""
    option = rng.choice(["align_corners", "half_pixel_centers", ""])
    return _case(
        f"random_{rng.integers(1 << 30)}",
        tuple(int(dim) for dim in rng.integers(1, 10, 4)),
        (int(rng.integers(1, 20)), int(rng.integers(1, 20))),
        **({str(option): True} if option else {}),
    )


def _case(name: str, x: Shape, size: tuple[int, int], **options: bool) -> Case:
    wanted = CaseTensor((2,), str(INT32), data=np.array(size, np.int32))
    tensors = [CaseTensor(shape, scale=0.05, zero_point=-11) for shape in (x, (x[0], *size, x[3]))]
    return Case(name, "RESIZE_BILINEAR", (tensors[0], wanted), (tensors[1],), options)
