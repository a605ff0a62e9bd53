"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: the phases of an image become images of their own, and back; NHWC or NHC.

Converters put them around convolutions to dilate them; the pass `fuse_dilation` takes them away there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import float_literal
from tinygen.ir import Array, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8
from tinygen.ops.traits import Channelwise, Increasing
from tinygen.ops.work import Rates

Pair = tuple[int, int]


@dataclass(frozen=True)
class _Blocks(Increasing, Channelwise):
    """Rows and columns in blocks; without columns (NHC), there are blocks of one and borders of nothing."""

    block: Pair
    rows: Pair
    """Rows of the large image that are padded, or cropped: before, after."""
    columns: Pair

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, rank, blocks and borders."""
        (x,) = inputs
        yield from common.expect_dtype(x, "input", INT8, FLOAT32)
        if len(x.shape) not in (3, 4):
            yield f"the input has {len(x.shape)} dimensions {x.shape}, supported are 3 and 4"
        elif len(x.shape) == 3 and (self.block[1], *self.columns) != (1, 0, 0):
            yield f"the input {x.shape} has no columns"
        elif min(self.block) < 1 or min(*self.rows, *self.columns) < 0:
            yield f"blocks of {self.block} and borders of {self.rows} and {self.columns} must not be negative"
        else:
            yield from self._size_problems(image_shape(x.shape))

    @abstractmethod
    def _size_problems(self, image: Shape) -> Iterator[str]:
        """What of an image's size does not fit."""

    def describe(self) -> str:
        """Block and borders."""
        borders = f", borders {self.rows[0]}+{self.rows[1]} x {self.columns[0]}+{self.columns[1]}"
        return f"blocks {self.block[0]}x{self.block[1]}{borders if any((*self.rows, *self.columns)) else ''}"


def image_shape(shape: Shape) -> Shape:
    """NHWC: without columns, there is one."""
    return shape if len(shape) == 4 else (*shape[:2], 1, shape[2])


def _as_rank(image: Shape, rank: int) -> Shape:
    return image if rank == 4 else (*image[:2], image[3])


@dataclass(frozen=True)
class SpaceToBatch(_Blocks):
    """y[(dy * block_w + dx) * n + b, i, j] = padded x[b, i * block_h + dy, j * block_w + dx]."""

    name: ClassVar[str] = "SPACE_TO_BATCH_ND"
    zero_point: int
    value: int
    """What the runtime pads with: a raw value."""

    @property
    def pads_with_another_value(self) -> bool:
        """Whether there is padding, and it stands for anything but zero."""
        return self.value != self.zero_point and any((*self.rows, *self.columns))

    def _size_problems(self, image: Shape) -> Iterator[str]:
        height, width = self._padded(image)
        if height % self.block[0] or width % self.block[1]:
            yield f"{height} x {width} pixels, with padding, are not made of blocks of {self.block}"

    def _padded(self, image: Shape) -> Pair:
        return image[1] + sum(self.rows), image[2] + sum(self.columns)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """More images, smaller ones."""
        (x,) = inputs
        image = image_shape(x.shape)
        height, width = self._padded(image)
        count = image[0] * self.block[0] * self.block[1]
        phases = (count, height // self.block[0], width // self.block[1], image[3])
        return (TensorType(_as_rank(phases, len(x.shape)), x.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Pad, and bring the positions inside blocks to the front."""
        (x,) = inputs
        images = x.reshape(image_shape(x.shape))
        padded = np.pad(images, ((0, 0), self.rows, self.columns, (0, 0)), constant_values=self.value)
        count, height, width, channels = padded.shape
        block_h, block_w = self.block
        split = padded.reshape(count, height // block_h, block_h, width // block_w, block_w, channels)
        phases = split.transpose(2, 4, 0, 1, 3, 5).reshape(-1, height // block_h, width // block_w, channels)
        return (phases.reshape(_as_rank(phases.shape, x.ndim)),)


@dataclass(frozen=True)
class BatchToSpace(_Blocks):
    """y[b, i * block_h + dy - top, j * block_w + dx - left] = x[(dy * block_w + dx) * n + b, i, j], where inside y."""

    name: ClassVar[str] = "BATCH_TO_SPACE_ND"

    def _size_problems(self, image: Shape) -> Iterator[str]:
        if image[0] % (self.block[0] * self.block[1]):
            yield f"{image[0]} images do not make blocks of {self.block}"
        elif min(self._cropped(image)) < 1:
            yield f"{self.rows} rows and {self.columns} columns are cropped, which leaves nothing"

    def _cropped(self, image: Shape) -> Pair:
        return image[1] * self.block[0] - sum(self.rows), image[2] * self.block[1] - sum(self.columns)

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """Fewer images, larger ones."""
        (x,) = inputs
        image = image_shape(x.shape)
        count = image[0] // (self.block[0] * self.block[1])
        return (TensorType(_as_rank((count, *self._cropped(image), image[3]), len(x.shape)), x.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Bring the positions inside blocks back, and crop."""
        (x,) = inputs
        _, height, width, channels = image_shape(x.shape)
        block_h, block_w = self.block
        phases = x.reshape(block_h, block_w, -1, height, width, channels).transpose(2, 3, 0, 4, 1, 5)
        whole = phases.reshape(-1, height * block_h, width * block_w, channels)
        rows = slice(self.rows[0], whole.shape[1] - self.rows[1])
        columns = slice(self.columns[0], whole.shape[2] - self.columns[1])
        images = np.ascontiguousarray(whole[:, rows, columns])
        return (images.reshape(_as_rank(images.shape, x.ndim)),)


def _prepare(site: Site) -> Body:
    op: _Blocks = site.op
    (x,), (y,) = site.inputs, site.outputs
    source, result = image_shape(x.shape), image_shape(y.shape)
    values: dict[str, object] = {
        "block_h": op.block[0],
        "block_w": op.block[1],
        "top": op.rows[0],
        "left": op.columns[0],
        "pads": any((*op.rows, *op.columns)),
        "batch": min(source[0], result[0]),
        "height": source[1],
        "width": source[2],
        "out_height": result[1],
        "out_width": result[2],
        "channels": source[3],
    }
    if isinstance(op, SpaceToBatch):
        values["value"] = float_literal(op.value) if x.dtype == FLOAT32 else str(op.value)
    return Body(values)


KERNELS = (
    Kernel("space_to_batch_nd.direct", SpaceToBatch, _prepare, work=Rates(116, output=8)),
    Kernel("batch_to_space_nd.direct", BatchToSpace, _prepare, work=Rates(120, output=9)),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models.

    int8 paddings are tested where the zero point is 0: the runtime always pads with 0. Where that is not the zero
    point, models are refused, unless what was padded is cropped again.
    """
    nothing = ((0, 0), (0, 0))
    shapes: tuple[tuple[str, Shape, tuple[int, ...], tuple[Pair, ...]], ...] = (
        ("plain", (1, 4, 6, 3), (2, 2), nothing),
        ("uneven_blocks", (1, 5, 6, 3), (2, 3), ((1, 2), (0, 3))),
        ("batch", (2, 4, 4, 1), (2, 2), ((2, 0), (1, 1))),
        ("before", (1, 5, 7, 2), (2, 2), ((3, 0), (1, 0))),
        ("after", (1, 5, 7, 2), (3, 2), ((0, 1), (0, 1))),
        ("rows_only", (1, 5, 4, 2), (3, 1), ((0, 1), (0, 0))),
        ("blocks_of_one", (1, 3, 3, 2), (1, 1), nothing),
        ("without_columns", (2, 5, 3), (2,), ((1, 0),)),
        ("one_pixel", (1, 1, 1, 4), (2, 2), ((1, 0), (0, 1))),
    )
    return tuple(
        _case(f"{op.lower()}_{name}{suffix}", op, large, block, borders, dtype=dtype)
        for op in ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
        for dtype, suffix in (("int8", ""), ("float32", "_float"))
        for name, large, block, borders in shapes
    )


def random_case(rng: np.random.Generator) -> Case:
    """Random blocks."""
    block = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    borders = []
    sizes = []
    for step in block:
        before, after = (int(border) for border in rng.integers(0, 3, 2))
        sizes.append(int(rng.integers(2, 5)) * step - (before + after) % step)
        borders.append((before, after))
    large = (int(rng.integers(1, 3)), *sizes, int(rng.integers(1, 4)))
    op = str(rng.choice(["SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"]))
    return _case(f"random_{rng.integers(1 << 30)}", op, large, block, borders)


def _case(
    name: str, op: str, large: Shape, block: Sequence[int], borders: Sequence[Pair], *, dtype: str = "int8"
) -> Case:
    padded = [size + sum(border) for size, border in zip(large[1:-1], borders, strict=True)]
    count = large[0] * int(np.prod(block))
    small = (count, *(size // step for size, step in zip(padded, block, strict=True)), large[-1])
    shapes = (large, small) if op == "SPACE_TO_BATCH_ND" else (small, large)
    x, y = (CaseTensor(shape, dtype, scale=None if dtype == "float32" else 0.05) for shape in shapes)
    steps = CaseTensor((len(block),), "int32", data=np.array(block, np.int32))
    edges = CaseTensor((len(borders), 2), "int32", data=np.array(borders, np.int32))
    return Case(name, op, (x, steps, edges), (y,))
