"""Tensors whose channels, dimension 1 in the file, are the last dimension here."""

from __future__ import annotations

from tinygen.importers.converted import Converted
from tinygen.importers.onnx_call import from_nhwc, to_nhwc
from tinygen.ir import Tensor


def channels_last(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, list[Converted], list[Converted]]:
    """Input and output with channels last, and what makes the one and is made of the other.

    Of two dimensions or fewer, they are that already.
    """
    if len(x.shape) < 3:
        return x, y, [], []
    image, before = to_nhwc(x)
    result, after = from_nhwc(y)
    return image, result, before, after
