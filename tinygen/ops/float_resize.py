"""RESIZE_BILINEAR as ONNX Runtime's Resize computes it between DequantizeLinear and QuantizeLinear: in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from tinygen.float32 import FloatArray
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.case import Case
from tinygen.ops.float_interpolation import Interpolation, interpolation_body, interpolation_case, random_interpolation
from tinygen.ops.table_copy import offset_table
from tinygen.ops.work import Rates


@dataclass(frozen=True)
class Neighbours:
    """Where the positions of an output axis lie in the input: between `first` and `second`, with the share of each."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    share_of_first: tuple[float, ...]
    share_of_second: tuple[float, ...]

    @staticmethod
    def of(source: FloatArray, size: int) -> Neighbours:
        """``SetupUpsampleBilinear``, for positions in the input before they are brought inside."""
        inside = np.clip(source, np.float32(0), np.float32(size - 1))
        first = inside.astype(np.int64)
        second = np.minimum(first + 1, size - 1)
        half = np.float32(0.5)
        of_first = np.where(first == second, half, np.abs(inside - second.astype(np.float32)))
        of_second = np.where(first == second, half, np.abs(inside - first.astype(np.float32)))
        return Neighbours(*(tuple(part.tolist()) for part in (first, second, of_first, of_second)))

    def __len__(self) -> int:
        return len(self.first)

    def in_order(self) -> Iterator[tuple[list[int], FloatArray]]:
        """Those on the one side of the positions and their shares, then those on the other."""
        yield list(self.first), np.array(self.share_of_first, np.float32)
        yield list(self.second), np.array(self.share_of_second, np.float32)


@dataclass(frozen=True)
class FloatResize(Interpolation):
    """Of four neighbours, those above first, and of these the left."""

    name: ClassVar[str] = "RESIZE_BILINEAR"
    rows: Neighbours
    columns: Neighbours

    def interpolated(self, reals: FloatArray) -> FloatArray:
        """Neighbour by neighbour."""
        parts = [
            across[:, np.newaxis] * down[:, np.newaxis, np.newaxis] * reals[:, row][:, :, column]
            for row, down in self.rows.in_order()
            for column, across in self.columns.in_order()
        ]
        return np.asarray(sum(parts[1:], parts[0]))


def _prepare(site: Site) -> Body:
    op: FloatResize = site.op
    _, _, width, channels = site.inputs[0].shape
    constants = {
        "top": offset_table(op.rows.first, width * channels),
        "bottom": offset_table(op.rows.second, width * channels),
        "of_top": np.array(op.rows.share_of_first, np.float32),
        "of_bottom": np.array(op.rows.share_of_second, np.float32),
        "left": offset_table(op.columns.first, channels),
        "right": offset_table(op.columns.second, channels),
        "of_left": np.array(op.columns.share_of_first, np.float32),
        "of_right": np.array(op.columns.share_of_second, np.float32),
    }
    return interpolation_body(site, constants)


KERNELS = (Kernel("float_resize.direct", FloatResize, _prepare, work=Rates(220, output=62, in_float=True)),)

_case = partial(interpolation_case, interpolation="linear")


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return (
        _case("twice", (1, 3, 4, 5), (8, 10)),
        _case("twice_asymmetric", (1, 3, 4, 5), (8, 10), mode="asymmetric"),
        _case("twice_aligned", (1, 3, 4, 5), (8, 10), mode="align_corners"),
        _case("odd", (1, 2, 7, 5), (19, 23), output_scale=0.05),
        _case("odd_pytorch", (1, 2, 7, 5), (19, 1), mode="pytorch_half_pixel"),
        _case("smaller", (1, 1, 9, 8), (7, 3)),
        _case("rows", (1, 4, 3, 6), (9, 6)),
        _case("batch", (2, 3, 2, 3), (3, 5), mode="align_corners"),
        _case("to_one_pixel", (1, 3, 6, 7), (1, 1), mode="align_corners"),
        _case("of_one_pixel", (1, 3, 1, 1), (4, 3)),
        _case("uint8", (1, 3, 4, 5), (7, 9), dtype="uint8", zero_points=(3, 250)),
        _case("saturated", (1, 3, 4, 5), (7, 9), output_scale=0.004),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random size and mode."""
    return random_interpolation(rng, "linear")
