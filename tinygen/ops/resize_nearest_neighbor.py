"""RESIZE_NEAREST_NEIGHBOR: each pixel of the output is one of the input; NHWC."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinygen.ir import Shape
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT16
from tinygen.ops.strided_copy import StridedCopy, strided_copy_kernel
from tinygen.ops.table_copy import TableCopy, table_copy_kernel


class RegularResize(StridedCopy):
    """Every pixel becomes a block of equal ones, or every so many pixels stay."""

    name: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    dtypes = (INT8, INT16, FLOAT32)


class IrregularResize(TableCopy):
    """Rows and columns of the input for those of the output."""

    name: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    dtypes = (INT8, INT16, FLOAT32)


def nearest(size: int, wanted: int, *, align_corners: bool, half_pixel_centers: bool) -> tuple[int, ...]:
    """``GetNearestNeighbor`` for every position of one axis, in its float32 arithmetic."""
    if align_corners and wanted > 1:
        scale = np.float32(size - 1) / np.float32(wanted - 1)
    else:
        scale = np.float32(size) / np.float32(wanted)
    position = (np.arange(wanted, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0.0)) * scale
    # TfLiteRound is exact; in float64, so is adding a half.
    source = np.floor(position.astype(np.float64) + (0.5 if align_corners else 0.0))
    return tuple(int(index) for index in np.clip(source, 0, size - 1))


KERNELS = (strided_copy_kernel(RegularResize), table_copy_kernel(IrregularResize))


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("twice", (1, 3, 5, 4), (6, 10)),
        _case("uneven", (2, 3, 2, 1), (3, 6)),
        _case("half_pixel", (1, 3, 4, 2), (9, 8), half_pixel_centers=True),
        _case("same_size", (1, 3, 4, 2), (3, 4)),
        _case("half", (1, 8, 6, 3), (4, 2)),
        _case("half_half_pixel", (1, 8, 6, 3), (4, 2), half_pixel_centers=True),
        _case("to_one_pixel", (1, 8, 6, 3), (1, 1)),
        _case("to_one_pixel_aligned", (1, 8, 6, 3), (1, 1), align_corners=True),
        _case("of_one_pixel", (1, 1, 1, 3), (5, 3)),
        _case("of_one_pixel_aligned", (1, 1, 1, 3), (5, 3), align_corners=True),
        _case("larger", (1, 5, 7, 2), (8, 23)),
        _case("larger_aligned", (1, 5, 7, 2), (8, 23), align_corners=True),
        _case("larger_half_pixel", (2, 5, 7, 1), (8, 23), half_pixel_centers=True),
        _case("larger_both", (1, 5, 7, 2), (8, 23), align_corners=True, half_pixel_centers=True),
        _case("smaller", (1, 13, 11, 2), (5, 7)),
        _case("smaller_aligned", (1, 13, 11, 2), (5, 7), align_corners=True),
        # 0.5 and 1.5 lie between two pixels: up.
        _case("aligned_ties", (1, 3, 3, 1), (5, 5), align_corners=True),
        _case("int16", (1, 5, 4, 3), (7, 8), dtype="int16"),
        _case("int16_twice", (1, 5, 4, 3), (10, 8), dtype="int16"),
        _case("float", (1, 5, 4, 3), (7, 8), dtype="float32"),
        # The scale is no float32 value.
        _case("rounded_scale", (1, 3, 53, 1), (55, 159)),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random size."""
    return _case(
        f"random_{rng.integers(1 << 30)}",
        tuple(int(dim) for dim in rng.integers(1, 12, 4)),
        (int(rng.integers(1, 30)), int(rng.integers(1, 30))),
        align_corners=bool(rng.random() < 0.4),
        half_pixel_centers=bool(rng.random() < 0.4),
    )


def _case(name: str, x: Shape, size: tuple[int, int], *, dtype: str = "int8", **options: bool) -> Case:
    scale = None if dtype == "float32" else 0.05
    wanted = CaseTensor((2,), "int32", data=np.array(size, np.int32))
    tensors = [CaseTensor(shape, dtype, scale=scale) for shape in (x, (x[0], *size, x[3]))]
    return Case(name, "RESIZE_NEAREST_NEIGHBOR", (tensors[0], wanted), (tensors[1],), options)
