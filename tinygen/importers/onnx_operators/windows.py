"""Windows over images: how the attributes of convolutions and pools describe them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tinygen.importers.converted import LARGEST_TENSOR, Refused
from tinygen.importers.onnx_call import Call, spatial
from tinygen.ir import Tensor
from tinygen.ops.window import Axis, Window, same_padding

_LARGEST_STEP = 32767
_ONE = Axis(1, 1)


def window(call: Call, x: Tensor, taps: Sequence[int]) -> Window:
    """The window of so many `taps` along each dimension of an image (n, c, h, w), or (n, c, w): then it has one row."""
    sizes = spatial(x)
    rank = len(sizes)
    if len(taps) != rank:
        raise Refused(f"its kernel has {len(taps)} dimensions, its input {x.shape} asks for {rank}")
    strides = _each(call, "strides", rank)
    dilations = _each(call, "dilations", rank)
    if min(*strides, *dilations, *taps, 1) < 1 or max(*strides, *dilations, *taps) > _LARGEST_STEP:
        raise Refused(
            f"kernel {list(taps)}, strides {strides} and dilations {dilations} must be from 1 to {_LARGEST_STEP}"
        )
    axes = [
        _padded(call, size, place, rank, Axis(taps[place], strides[place], dilations[place]))
        for place, size in enumerate(sizes)
    ]
    _expect_size(call, axes)
    if math.prod(size + axis.before + axis.after for size, axis in zip(sizes, axes, strict=True)) > LARGEST_TENSOR:
        raise Refused(f"with its padding the input {x.shape} is too large")
    return Window(axes[0], axes[1]) if rank == 2 else Window(_ONE, axes[0])


def _expect_size(call: Call, axes: Sequence[Axis]) -> None:
    """Refuses windows of which the standard's shapes count more, or fewer, than ONNX Runtime makes."""
    x, y = call.input(0, "input"), call.outputs[0]
    if not call.attribute("ceil_mode", 0) or len(y.shape) != len(x.shape):
        return
    made = tuple(axis.output_size(size) for axis, size in zip(axes, spatial(x), strict=True))
    if made != spatial(y):
        raise Refused(
            f"with ceil_mode its last window begins behind the input: its output is declared {spatial(y)}, "
            f"ONNX Runtime makes {made}",
            "export it with ceil_mode 0 and pads behind the input",
        )


def scattered_window(call: Call, x: Tensor, y: Tensor, taps: Sequence[int]) -> Window:
    """The window that ConvTranspose lays around each pixel of `x`, from the padded `y`."""
    sizes = spatial(x)
    rank = len(sizes)
    if len(taps) != rank:
        raise Refused(f"its kernel has {len(taps)} dimensions, its input {x.shape} asks for {rank}")
    strides, dilations = _each(call, "strides", rank), _each(call, "dilations", rank)
    grown = _each(call, "output_padding", rank, 0)
    if min(*strides, *dilations, *taps) < 1 or min(grown) < 0 or max(*strides, *dilations, *taps) > _LARGEST_STEP:
        raise Refused(f"kernel {list(taps)}, strides {strides}, dilations {dilations}, output_padding {grown} are off")
    mode, pads = call.attribute("auto_pad", "NOTSET"), _pads(call, rank)
    if mode.startswith("SAME") and any(grown):
        raise Refused(f"it has both auto_pad {mode} and output_padding, of which ONNX Runtime makes another size")
    axes = []
    for place, (size, wanted) in enumerate(zip(sizes, spatial(y), strict=True)):
        axis = Axis(taps[place], strides[place], dilations[place])
        left_out = (size - 1) * axis.stride + axis.extent + grown[place] - wanted
        before = pads[place]
        if mode != "NOTSET" or "output_shape" in call.node.attributes:
            before = max(left_out, 0) // 2 if mode == "SAME_UPPER" else max(left_out, 0) - max(left_out, 0) // 2
        elif left_out != before + pads[place + rank]:
            raise Refused(f"its output has the shape {y.shape}, its pads say otherwise")
        if (left_out < 0 or mode == "VALID") and left_out != 0:
            raise Refused(
                f"its output {y.shape} is larger than what its filters reach, or smaller without a padding",
                "give the size by pads and output_padding",
            )
        axes.append(dataclasses.replace(axis, before=before))
    return Window(axes[0], axes[1]) if rank == 2 else Window(_ONE, axes[0])


def _pads(call: Call, rank: int) -> list[int]:
    """The attribute, before all dimensions and then behind them."""
    pads = [int(value) for value in call.attribute("pads", [0] * (2 * rank))]
    if len(pads) != 2 * rank or min(pads) < 0 or max(pads) > LARGEST_TENSOR:
        raise Refused(f"its pads {pads} are not two for each of {rank} dimensions, from 0 up")
    return pads


def _each(call: Call, name: str, rank: int, default: int = 1) -> list[int]:
    """An attribute with a number for each dimension, which are the default where it is left out."""
    found = [int(value) for value in call.attribute(name, [default] * rank)]
    if len(found) != rank:
        raise Refused(f"its {name} {found} are not one for each of {rank} dimensions")
    return found


def _padded(call: Call, size: int, place: int, rank: int, axis: Axis) -> Axis:
    """The axis with its padding made explicit."""
    mode = call.attribute("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        less, more = same_padding(size, axis.taps, axis.stride, axis.dilation)
        if call.op != "Conv" and (-(-size // axis.stride) - 1) * axis.stride + axis.extent < size:
            raise Refused(f"with auto_pad {mode} its last window ends before its input, which ONNX Runtime gets wrong")
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    elif mode == "VALID":
        before, after = 0, 0
    elif mode == "NOTSET":
        pads = _pads(call, rank)
        before, after = pads[place], pads[place + rank]
    else:
        raise Refused(f"its auto_pad {mode!r} is unknown")
    padded = Axis(axis.taps, axis.stride, axis.dilation, before, after)
    if not call.attribute("ceil_mode", 0) or mode != "NOTSET":
        return padded
    # The last window may reach beyond the padding, if it begins before its end.
    steps = -(-(size + before + after - axis.extent) // axis.stride)
    steps -= steps * axis.stride >= size + before
    beyond = max(after, steps * axis.stride + axis.extent - size - before)
    return Axis(axis.taps, axis.stride, axis.dilation, before, beyond)
