"""The depthwise function that layers of any size share: they print the same text, and its plane has what is read."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tflite_builder import build_case

from tinygen import pipeline
from tinygen.emit import render
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em import depthwise_3x3
from tinygen.kernels.armv7em.depthwise_3x3 import _Plane
from tinygen.ops.convolution_cases import convolution_case
from tinygen.ops.window import Axis, Window
from tinygen.target import load_core

(KERNEL,) = depthwise_3x3.KERNELS
STRIDES = (1, 2)


def body(kernel: Kernel, shape: tuple[int, int, int, int], folder: Path) -> Body:
    """Of a layer that differs from others in nothing that instructions have as constants."""
    case = convolution_case(
        "sizes",
        depthwise=True,
        x=shape,
        filters=shape[3],
        kernel=(3, 3),
        activation="RELU",
        output_zero_point=-128,
        per_channel=False,
    )
    path = folder / "m.tflite"
    path.write_bytes(build_case(case))
    graph = pipeline.read(path).graph
    node = next(node for node in graph.nodes if node.op.name == "DEPTHWISE_CONV_2D")
    features = load_core("cortex-m4").features
    site = Site(node.op, graph.input_tensors(node), graph.output_tensors(node), "balanced", features=features)
    assert kernel.accepts(site)
    return kernel.prepare(site)


def test_layers_of_different_sizes_share_the_text(tmp_path: Path) -> None:
    bodies = [body(KERNEL, shape, tmp_path) for shape in ((1, 6, 9, 6), (1, 5, 4, 11), (1, 1, 12, 3))]
    texts = {render(KERNEL.template, **each.values) for each in bodies}
    assert len(texts) == 1
    assert len({tuple(each.runs.values()) for each in bodies}) == len(bodies)


@pytest.mark.parametrize(("stride", "before"), list(itertools.product(STRIDES, (0, 1, 2))))
def test_the_plane_has_all_rows_of_the_image_and_all_words_of_windows(stride: int, before: int) -> None:
    for height, width in itertools.product(range(1, 9), range(1, 6)):
        rows, columns = Axis(3, stride, 1, before, 1), Axis(3, stride, 1, before, 1)
        out = rows.output_size(height), columns.output_size(width)
        if min(out) < 1:
            continue
        plane = _Plane.of((1, height, width, 5), (1, *out, 5), Window(rows, columns))
        inside = [plane.place(row) + 4 * column for row in range(height) for column in range(width)]
        assert len(set(inside)) == height * width
        assert min(inside) >= 0
        assert max(inside) < plane.bytes
        # The two rows of words of the last turn, and the words of the last output there.
        assert plane.turns * plane.row + (out[1] - 1) * plane.step + 4 * 3 <= plane.bytes
        # An output's window begins in its turn's row of words; the image lies as far in as the padding says.
        computed = 1 if stride == 2 else 2
        assert (plane.turns - 1) * computed < out[0] <= plane.turns * computed
        assert plane.place(0) == plane.row * (before // 2) + 2 * (before % 2) + 4 * before
