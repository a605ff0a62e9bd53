"""What moves values, repeats them, or only renames them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygen.importers.converted import LARGEST_TENSOR, Converted, Refused
from tinygen.importers.onnx_call import Call, Converter, transposed
from tinygen.importers.onnx_operators.slices import axis_of, integers
from tinygen.importers.picking import broadcast, picked, tiled
from tinygen.ops.gather import IrregularGather, RegularGather
from tinygen.ops.reshape import Reshape


def _reshape(call: Call) -> Converted:
    """Shape inference has found the output's shape, whatever the operator says about it."""
    return Converted(Reshape.to(call.output.shape), (call.input(0, "input"),))


def _transpose(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    rank = len(x.shape)
    order = [int(axis) for axis in call.attribute("perm", list(range(rank))[::-1])]
    if sorted(order) != list(range(rank)):
        raise Refused(f"its perm {order} is no order of {rank} dimensions")
    return transposed(x, order, y)


def _expand(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    op = broadcast(x, y.shape)
    if op is None or y.bytes > LARGEST_TENSOR:
        raise Refused(f"the shape {x.shape} does not become {y.shape}")
    return Converted(op, (x,))


def _tile(call: Call) -> Converted:
    x, y = call.input(0, "input"), call.output
    repeats = integers(call, 1, "repeats")
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1 or y.bytes > LARGEST_TENSOR:
        raise Refused(f"its repeats {repeats} are not one for each of {len(x.shape)} dimensions, from 1 up")
    return Converted(tiled(x, repeats), (x,))


def _gather(call: Call) -> Converted:
    x, indices = call.input(0, "input"), integers(call, 1, "indices")
    axis = axis_of(int(call.attribute("axis", 0)), len(x.shape))
    size = x.shape[axis]
    outside = [index for index in indices if not -size <= index < size]
    if outside or not indices:
        raise Refused(f"its indices {outside} are not in dimension {axis}, which has {size}")
    taken: list[Sequence[int]] = [range(dim) for dim in x.shape]
    taken[axis] = tuple(index % size for index in indices)
    return Converted(picked(x, call.output.shape, taken, RegularGather, IrregularGather), (x,))


CONVERTERS: Mapping[str, Converter] = {
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _reshape,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
