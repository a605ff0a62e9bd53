"""What resizes images, or moves their pixels to channels and back; NCHW, as in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.float32 import FloatArray
from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, clamp, from_nhwc, scale_and_zero_point, to_nhwc
from tinygen.importers.picking import picked
from tinygen.ir import Tensor
from tinygen.ops.float_cubic import CubicTaps, FloatCubic
from tinygen.ops.float_resize import FloatResize, Neighbours
from tinygen.ops.reshape import Reshape
from tinygen.ops.resize_bilinear import ONE, Positions, ResizeBilinear
from tinygen.ops.resize_nearest_neighbor import IrregularResize, RegularResize
from tinygen.ops.strided_copy import DepthToSpace, Loop, SpaceToDepth, row_major


def _blocks(call: Call, x: Tensor) -> int:
    if len(x.shape) != 4:
        raise Refused(f"its input has {len(x.shape)} dimensions {x.shape}, expected are 4")
    return int(call.attribute("blocksize"))


def _depth_to_space(call: Call) -> Converted:
    """Channels are (block row, block column, channel), DCR, or (channel, block row, block column), CRD."""
    x, y = call.input(0, "input"), call.output
    block = _blocks(call, x)
    if block < 1 or x.shape[1] % (block * block):
        raise Refused(f"{x.shape[1]} channels do not make blocks of {block} x {block} pixels")
    mode = call.attribute("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise Refused(f"its mode {mode!r} is unknown")
    depth = x.shape[1] // (block * block)
    image, plane, row, _ = row_major(x.shape)
    channel, corner = (plane, depth * plane) if mode == "DCR" else (block * block * plane, plane)
    loops = (
        Loop(x.shape[0], image),
        Loop(depth, channel),
        Loop(x.shape[2], row),
        Loop(block, block * corner),
        Loop(x.shape[3], 1),
        Loop(block, corner),
    )
    return Converted(DepthToSpace(y.shape, 0, loops), (x,))


def _space_to_depth(call: Call) -> Converted:
    """Channels become (block row, block column, channel)."""
    x, y = call.input(0, "input"), call.output
    block = _blocks(call, x)
    if block < 1 or x.shape[2] % block or x.shape[3] % block:
        raise Refused(f"{x.shape[2]} x {x.shape[3]} pixels are not made of blocks of {block} x {block}")
    image, plane, row, _ = row_major(x.shape)
    loops = (
        Loop(x.shape[0], image),
        Loop(block, row),
        Loop(block, 1),
        Loop(x.shape[1], plane),
        Loop(x.shape[2] // block, block * row),
        Loop(x.shape[3] // block, block),
    )
    return Converted(SpaceToDepth(y.shape, 0, loops), (x,))


_AS_PIXELS = "export it with mode nearest, coordinate_transformation_mode asymmetric and nearest_mode floor"


def _resize(call: Call) -> Sequence[Converted]:
    x, y = call.input(0, "input"), call.output
    mode = call.attribute("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise Refused(f"its mode is {mode}, supported are nearest, linear and cubic", _AS_PIXELS)
    for name, ordinary in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        if call.attribute(name, ordinary) != ordinary:
            raise Refused(f"its {name} is {call.attribute(name)}, supported is {ordinary}", _AS_PIXELS)
    if y.bytes > LARGEST_TENSOR or min(y.shape, default=1) < 1:
        raise Refused(f"its output {y.shape} is empty or too large")
    if mode == "linear":
        return _interpolated(call, x, y)
    if mode == "cubic":
        return _cubic(call, x, y)
    if x.shape == y.shape:
        return [Converted(Reshape.to(y.shape), (x,))]
    taken = [
        range(size) if size == wanted and scale == 1 else _nearest(call, size, wanted, scale)
        for size, wanted, scale in zip(x.shape, y.shape, _scales(call, x, y), strict=True)
    ]
    return [Converted(picked(x, y.shape, taken, RegularResize, IrregularResize), (x,))]


def _interpolated(call: Call, x: Tensor, y: Tensor) -> Sequence[Converted]:
    rows, columns = (Neighbours.of(*positions) for positions in _image_positions(call, x, y))
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    if x.quant is not None and x.quant is y.quant:
        of_integers = ResizeBilinear(_exactly(rows), _exactly(columns), "floor" if call.unsigned else "trunc")
        return [*before, Converted(of_integers, (image,), (result,)), *after]
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    op = FloatResize(rows, columns, float(scale), zero_point, float(y_scale), y_zero, clamp(call))
    return [*before, Converted(op, (image,), (result,)), *after]


_EXACT = 128
"""Products of two multiples of 1 / _EXACT and an integer of 8 bits are exact in float32, and so are their sums."""


def _exactly(neighbours: Neighbours) -> Positions:
    """The same with integer shares. Refuses others, which the runtime rounds otherwise where channels come last."""
    shares = np.array(neighbours.share_of_second)
    if np.any(shares * _EXACT % 1):
        raise Refused(
            "it interpolates integers, and ONNX Runtime rounds the neighbours' shares as it lays the image out",
            "use QDQ form: quant_format=QuantFormat.QDQ; or make images twice or four times as large, without "
            "align_corners",
        )
    return Positions(neighbours.first, neighbours.second, tuple((shares * ONE).astype(int).tolist()))


def _cubic(call: Call, x: Tensor, y: Tensor) -> Sequence[Converted]:
    if call.attribute("exclude_outside", 0):
        raise Refused("its exclude_outside is 1, supported is 0: pixels at the edge count for those beyond")
    if x.quant is not None and x.quant is y.quant:
        raise Refused("it interpolates integers by cubes", "use QDQ form: quant_format=QuantFormat.QDQ")
    (scale, zero_point), (y_scale, y_zero) = scale_and_zero_point(x, "input"), scale_and_zero_point(y, "output")
    a = float(call.attribute("cubic_coeff_a", -0.75))
    rows, columns = (CubicTaps.of(*positions, a) for positions in _image_positions(call, x, y))
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    op = FloatCubic(rows, columns, float(scale), zero_point, float(y_scale), y_zero, clamp(call))
    return [*before, Converted(op, (image,), (result,)), *after]


def _image_positions(call: Call, x: Tensor, y: Tensor) -> list[tuple[FloatArray, int]]:
    """Where rows and columns of the output lie in the input, and how many of them that has."""
    growth = _scales(call, x, y)
    if len(x.shape) != 4 or growth[0] != 1 or growth[1] != 1:
        raise Refused(f"it interpolates from {x.shape} to {y.shape}, supported are images (n, c, h, w)")
    return [(_positions(call, x.shape[axis], y.shape[axis], growth[axis]), x.shape[axis]) for axis in (2, 3)]


def _scales(call: Call, x: Tensor, y: Tensor) -> list[np.float32]:
    """By how much each dimension grows: as it is given, or else by its sizes."""
    place = 1 if call.node.version < 11 else 2
    given = call.optional(place)
    scales = [np.float32(wanted) / np.float32(size) for size, wanted in zip(x.shape, y.shape, strict=True)]
    if given is None or not given.elements:
        return scales
    values = call.constant(place, "scales").reshape(-1).astype(np.float32)
    axes = [int(axis) % len(x.shape) for axis in call.attribute("axes", list(range(len(x.shape))))]
    if len(axes) != len(values) or not np.all(np.isfinite(values) & (values > 0)):
        raise Refused(f"its scales {values.tolist()} are not one for each of {len(axes)} dimensions")
    by_axis = dict(zip(axes, values, strict=True))
    scales = [by_axis.get(axis, np.float32(1)) for axis in range(len(x.shape))]
    for size, wanted, scale in zip(x.shape, y.shape, scales, strict=True):
        if int(np.float32(size) * scale) != wanted:
            raise Refused(
                f"{size} times {scale} is {wanted}, or in float32 one more or less", "give sizes instead of scales"
            )
    return scales


_HALF_WAY = np.float32(1e-6)
"""What is nearer to half-way between two pixels is taken to be there."""


def _nearest(call: Call, size: int, wanted: int, scale: np.float32) -> list[int]:
    """The pixel for each position of a dimension, in ONNX Runtime's float32 arithmetic."""
    source = _positions(call, size, wanted, scale)
    half, one = np.float32(0.5), np.float32(1)
    rounding = call.attribute("nearest_mode", "round_prefer_floor") if call.node.version > 10 else "simple"
    floor, ceiling = np.floor(source), np.ceil(source)
    beyond = source - floor - half
    is_half = np.abs(beyond) < _HALF_WAY
    pixels = {
        "floor": floor,
        "ceil": ceiling,
        "round_prefer_floor": np.where(is_half | (beyond < 0), floor, ceiling),
        "round_prefer_ceil": np.where(is_half | (beyond > 0), ceiling, floor),
        "simple": ceiling if scale < one else np.trunc(source),
    }
    if rounding not in pixels:
        raise Refused(f"its nearest_mode {rounding!r} is unknown")
    return [int(pixel) for pixel in np.clip(pixels[rounding], 0, size - 1)]


def _positions(call: Call, size: int, wanted: int, scale: np.float32) -> FloatArray:
    """Where each position of a dimension lies in the input, in ONNX Runtime's float32 arithmetic."""
    positions = np.arange(wanted, dtype=np.float32)
    half = np.float32(0.5)
    mode = call.attribute("coordinate_transformation_mode", "half_pixel" if call.node.version > 10 else "asymmetric")
    if mode == "asymmetric":
        return np.asarray(positions / scale)
    if mode == "tf_half_pixel_for_nn":
        return np.asarray((positions + half) / scale)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and wanted > 1):
        return np.asarray((positions + half) / scale - half)
    if mode == "pytorch_half_pixel":
        return np.zeros(wanted, np.float32)
    if mode == "align_corners":
        return np.asarray(positions * np.float32(size - 1) / np.float32(max(wanted - 1, 1)))
    raise Refused(f"its coordinate_transformation_mode is {mode}, which is not supported", _AS_PIXELS)


CONVERTERS: Mapping[str, Converter] = {
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
}
