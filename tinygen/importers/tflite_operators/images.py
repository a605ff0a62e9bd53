"""What resizes images, or moves their pixels to channels or batches; NHWC."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused
from tinygen.importers.picking import picked
from tinygen.importers.tflite_call import Call, Converter, input_and_output, integers, scale_and_zero_point
from tinygen.ir import Tensor
from tinygen.ops.common import INT8
from tinygen.ops.resize_bilinear import Positions, ResizeBilinear
from tinygen.ops.resize_nearest_neighbor import IrregularResize, RegularResize, nearest
from tinygen.ops.space_to_batch import BatchToSpace, SpaceToBatch
from tinygen.ops.strided_copy import DepthToSpace, Loop, SpaceToDepth, row_major


def _image(x: Tensor) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise Refused(f"the input has {len(x.shape)} dimensions {x.shape}, expected are 4")
    batch, height, width, channels = x.shape
    return batch, height, width, channels


def _space_to_depth(call: Call) -> Converted:
    x, _ = input_and_output(call)
    batch, height, width, channels = _image(x)
    block = int(call.option("block_size"))
    if block < 1 or height % block or width % block:
        raise Refused(f"{height} x {width} pixels are not made of blocks of {block} x {block}")
    shape = (batch, height // block, width // block, block * block * channels)
    image, row, pixel, _ = row_major(x.shape)
    loops = (
        Loop(batch, image),
        Loop(shape[1], block * row),
        Loop(shape[2], block * pixel),
        Loop(block, row),
        Loop(block, pixel),
        Loop(channels, 1),
    )
    return Converted(SpaceToDepth(shape, 0, loops), (x,))


def _depth_to_space(call: Call) -> Converted:
    x, _ = input_and_output(call)
    batch, height, width, channels = _image(x)
    block = int(call.option("block_size"))
    if block < 1 or channels % (block * block):
        raise Refused(f"{channels} channels do not make blocks of {block} x {block} pixels")
    depth = channels // (block * block)
    image, row, pixel, _ = row_major(x.shape)
    loops = (
        Loop(batch, image),
        Loop(height, row),
        Loop(block, block * depth),
        Loop(width, pixel),
        Loop(block, depth),
        Loop(depth, 1),
    )
    return Converted(DepthToSpace((batch, height * block, width * block, depth), 0, loops), (x,))


_LARGEST_SIDE = 1 << 16


def _new_size(call: Call, x: Tensor) -> tuple[int, int]:
    """Rows and columns of the output."""
    size = integers(call, 1, "size", (2,))
    if not 1 <= min(size) <= max(size) <= _LARGEST_SIDE:
        raise Refused(f"the new size is {size[0]} x {size[1]}, supported is 1 to {_LARGEST_SIDE}")
    if size[0] * size[1] * x.shape[0] * x.shape[3] * x.dtype.itemsize > LARGEST_TENSOR:
        raise Refused(f"the new size {size[0]} x {size[1]} is too large")
    return size[0], size[1]


def _options(call: Call) -> dict[str, bool]:
    return {name: bool(call.option(name)) for name in ("align_corners", "half_pixel_centers")}


def _resize_nearest_neighbor(call: Call) -> Converted:
    x, _ = input_and_output(call)
    batch, height, width, channels = _image(x)
    rows, columns = _new_size(call, x)
    indices = (
        range(batch),
        nearest(height, rows, **_options(call)),
        nearest(width, columns, **_options(call)),
        range(channels),
    )
    return Converted(picked(x, (batch, rows, columns, channels), indices, RegularResize, IrregularResize), (x,))


def _resize_bilinear(call: Call) -> Converted:
    x, _ = input_and_output(call)
    _, height, width, _ = _image(x)
    rows, columns = _new_size(call, x)
    if all(_options(call).values()):
        raise Refused("align_corners and half_pixel_centers are both set", "set one of them")
    return Converted(
        ResizeBilinear(
            Positions.of(height, rows, **_options(call)),
            Positions.of(width, columns, **_options(call)),
        ),
        (x,),
    )


Pair = tuple[int, int]


def _blocks(call: Call, x: Tensor, borders: str) -> tuple[Pair, Pair, Pair]:
    """Block, and what is padded or cropped of rows and columns."""
    if len(x.shape) not in (3, 4):
        raise Refused(f"the input has {len(x.shape)} dimensions {x.shape}, supported are 3 and 4")
    dims = len(x.shape) - 2
    block = integers(call, 1, "block shape", (dims,))
    edges = integers(call, 2, borders, (dims, 2))
    if max(*block, *edges) > _LARGEST_SIDE:
        raise Refused(f"the block shape {block} or the {borders} {edges} is too large")
    return (block[0], block[1] if dims == 2 else 1), (edges[0], edges[1]), (edges[2], edges[3]) if dims == 2 else (0, 0)


def _space_to_batch(call: Call) -> Converted:
    x, y = input_and_output(call)
    zero_point = scale_and_zero_point(y, "output")[1] if x.dtype == INT8 else 0
    value = zero_point if call.was_uint8 else 0
    return Converted(SpaceToBatch(*_blocks(call, x, "paddings"), zero_point=zero_point, value=value), (x,))


def _batch_to_space(call: Call) -> Converted:
    x, _ = input_and_output(call)
    return Converted(BatchToSpace(*_blocks(call, x, "crops")), (x,))


CONVERTERS: Mapping[str, Converter] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "DEPTH_TO_SPACE": _depth_to_space,
    "RESIZE_BILINEAR": _resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPACE_TO_DEPTH": _space_to_depth,
}
