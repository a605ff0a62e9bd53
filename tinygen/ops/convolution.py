"""What CONV_2D and DEPTHWISE_CONV_2D share: a window that slides over an image, and kernels split at its border."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.interval import BoolArray
from tinygen.ir import Tensor, TensorType
from tinygen.kernel import Body, Site
from tinygen.ops import common
from tinygen.ops.weighted import Weighted, weighted_body
from tinygen.ops.window import Window, WindowLoops


@dataclass(frozen=True)
class Convolution(Weighted):
    """A weighted sum over a window of (n, h, w, c); taps outside the image count as zero."""

    filter_rank: ClassVar[int] = 4
    window: Window

    def input_problems(self, x: Tensor) -> Iterator[str]:
        """The rank."""
        yield from common.expect_rank(x, "input", 4)

    def shape_problems(self, x: Sequence[int], weights: Sequence[int]) -> Iterator[str]:
        """Channels that do not fit, or a window that finds no place."""
        broken = list(self.depth_problems(x[3], weights))
        yield from broken
        if not broken:
            yield from self.window.problems(x)

    def depth_problems(self, channels: int, weights: Sequence[int]) -> Iterator[str]:
        """A filter that does not suit the input's channels."""
        yield from ()

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(n, oh, ow, o) of the input's dtype."""
        x, weights, _ = inputs
        size = self.window.output_size(*x.shape[1:3])
        return (TensorType((x.shape[0], *size, weights.shape[self.filter_axis]), x.dtype),)

    def tap_sets(self, x: Sequence[int]) -> tuple[BoolArray, BoolArray]:
        """By where the window lies in the image."""
        return self.window.rows.tap_sets(x[1]), self.window.columns.tap_sets(x[2])

    def describe(self) -> str:
        """Window in words."""
        return self.window.describe()


def convolution_body(site: Site, values: Mapping[str, object], helpers: frozenset[str] = frozenset()) -> Body:
    """Windows inside the image have the zero point folded into their bias; those over its border count their taps."""
    op: Convolution = site.op
    x, weights, bias = site.inputs
    assert weights.data is not None and bias.data is not None
    loops = WindowLoops.at(site)
    biases = {"bias": op.folded_bias(weights.data, bias.data)} if loops.has_inside else {}
    if loops.has_edge:
        biases["edge_bias"] = bias.data.astype(np.int64)
    return weighted_body(site, {"window": loops, "batch": x.shape[0], **values}, biases, helpers | loops.helpers)
