"""MIRROR_PAD: a border that mirrors what is inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tinygen.ir import Shape
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.strided_copy import StridedCopy, strided_copy_kernel
from tinygen.ops.table_copy import TableCopy, table_copy_kernel


class RegularMirrorPad(StridedCopy):
    """Borders that make regular steps of the indices, or of nothing."""

    name: ClassVar[str] = "MIRROR_PAD"
    dtypes = (INT8, FLOAT32)


class IrregularMirrorPad(TableCopy):
    """Indices that run backwards over the borders."""

    name: ClassVar[str] = "MIRROR_PAD"
    dtypes = (INT8, FLOAT32)


def mirrored(size: int, before: int, after: int, *, repeats_edge: bool) -> tuple[int, ...]:
    """The indices of one padded dimension; the edge itself is mirrored (SYMMETRIC) or not (REFLECT).

    Neither border is longer than what there is to mirror.
    """
    skipped = 0 if repeats_edge else 1
    left = range(before - 1 + skipped, skipped - 1, -1)
    right = range(size - 1 - skipped, size - 1 - skipped - after, -1)
    return (*left, *range(size), *right)


KERNELS = (strided_copy_kernel(RegularMirrorPad), table_copy_kernel(IrregularMirrorPad))


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    image = (1, 4, 5, 3)
    both = ((0, 0), (1, 1), (1, 1), (0, 0))
    return (
        _case("reflect", image, both, "REFLECT"),
        _case("symmetric", image, both, "SYMMETRIC"),
        _case("reflect_longest", image, ((0, 0), (3, 3), (4, 4), (0, 0)), "REFLECT"),
        _case("symmetric_longest", image, ((1, 1), (4, 4), (5, 5), (3, 3)), "SYMMETRIC"),
        _case("one_side", image, ((0, 0), (2, 0), (0, 3), (0, 0)), "REFLECT"),
        _case("channels", image, ((0, 0), (0, 0), (0, 0), (2, 1)), "REFLECT"),
        _case("symmetric_pair", (1, 1, 7), ((0, 0), (1, 0), (0, 0)), "SYMMETRIC"),
        _case("nothing", image, ((0, 0), (0, 0), (0, 0), (0, 0)), "REFLECT"),
        _case("vector", (9,), ((4, 2),), "REFLECT"),
        _case("long_vector", (300,), ((40, 299),), "REFLECT"),
        _case("wide_rows", (1, 300, 3, 100), ((0, 0), (2, 1), (0, 0), (0, 0)), "SYMMETRIC"),
        _case("six_dimensions", (2, 1, 2, 3, 2, 2), ((1, 0), (0, 0), (0, 1), (1, 2), (0, 0), (1, 1)), "REFLECT"),
        _case("int64_paddings", image, both, "REFLECT", index="int64"),
        _case("float", image, both, "SYMMETRIC", dtype="float32"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random border."""
    rank = int(rng.integers(1, 6))
    mode = str(rng.choice(["REFLECT", "SYMMETRIC"]))
    shape = tuple(int(dim) for dim in rng.integers(1, 6, rank))
    most = [dim if mode == "SYMMETRIC" else dim - 1 for dim in shape]
    borders = tuple((int(rng.integers(0, limit + 1)), int(rng.integers(0, limit + 1))) for limit in most)
    return _case(f"random_{rng.integers(1 << 30)}", shape, borders, mode)


def _case(
    name: str,
    x: Shape,
    borders: Sequence[tuple[int, int]],
    mode: str,
    *,
    dtype: str = "int8",
    index: str = "int32",
) -> Case:
    scale = 0.05 if dtype == "int8" else None
    y = tuple(before + size + after for size, (before, after) in zip(x, borders, strict=True))
    paddings = CaseTensor((len(x), 2), index, data=np.array(borders, index))
    tensors = [CaseTensor(shape, dtype, scale=scale) for shape in (x, y)]
    return Case(name, "MIRROR_PAD", (tensors[0], paddings), (tensors[1],), {"mode": mode})
