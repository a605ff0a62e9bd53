"""Kernels for Cortex-M0 on shapes that nobody chose: planes, bands, tiles and landings, and the bytes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from accesses import expected, too_near
from building import build_bytes, differences, varied
from emulated_bench import Bench
from tflite_builder import build_case

from tinygen.kernels.armv6m.winograd import Shape
from tinygen.kernels.armv6m.word_plane import WordPlane, word_plane
from tinygen.ops.case import Case
from tinygen.ops.convolution_cases import convolution_case
from tinygen.ops.window import Axis, Window, same_padding

BOARD = "microbit"
"""Its core is a Cortex-M0, and faults on unaligned access."""
ON_BOARD = 3  # random shapes of each kernel
PLANES = 400
MOST_WORDS = 60
"""Few, so that bands are needed."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


def random_axis(rng: np.random.Generator, size: int) -> Axis:
    taps, stride, dilation = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.choice([1, 1, 2]))
    return Axis(taps, stride, dilation, *same_padding(size, taps, stride, dilation))


def simulated(plane: WordPlane, image: np.ndarray) -> np.ndarray:
    """The windows (rows, columns, taps down, taps across) that bands find in the plane, as the kernel fills it."""
    rows, columns = plane.rows, plane.columns
    height = plane.words // plane.pitch
    words = np.full((height, plane.pitch), 99)
    found = []
    read = 0
    for band in plane.bands:
        if band.first == 0 and plane.fills_above:
            words[: rows.before] = 99
        new = image[read : band.image]
        assert len(new) == band.bottom - band.top >= (1 if plane.is_banded else 0)
        words[band.top : band.bottom, columns.before : columns.before + plane.width] = new
        words[band.bottom :] = 99  # what is below is never read, but in the last band
        read = band.image
        for y, x in itertools.product(range(band.stop - band.first), range(plane.out_width)):
            down = y * rows.stride + np.arange(rows.taps) * rows.dilation
            across = x * columns.stride + np.arange(columns.taps)
            found.append(words[np.ix_(down, across)])
        moved = plane.band * rows.stride
        words[: max(plane.kept, 0)] = words[moved : moved + max(plane.kept, 0)].copy()
    return np.array(found).reshape(plane.out_height, plane.out_width, rows.taps, columns.taps)


def test_bands_hold_all_windows() -> None:
    rng = np.random.default_rng(0)
    banded = 0
    for _ in range(PLANES):
        height, width = (int(size) for size in rng.integers(1, 14, 2))
        rows, columns = random_axis(rng, height), random_axis(rng, width)
        if columns.dilation > 1 or (width == 1 and columns.taps == 1):
            continue
        window = Window(rows, columns)
        out = window.output_size(height, width)
        plane = word_plane((1, height, width, 1), (1, *out, 1), window, MOST_WORDS)
        assert plane is not None
        banded += plane.is_banded
        image = rng.integers(-128, 128, (height, width))
        padded = window.pad(image[None, :, :, None], 99)[0, :, :, 0]
        wanted = np.empty((*out, rows.taps, columns.taps), np.int64)
        for y, x, view in window.tap_views(padded[None, :, :, None], *out):
            wanted[..., y, x] = view[0, :, :, 0]
        assert np.array_equal(simulated(plane, image), wanted), (window, height, width)
    assert banded > PLANES / 10


def random_case(rng: np.random.Generator, kernel: str) -> Case:
    depthwise, square = kernel.startswith("depthwise"), kernel in ("conv_2d.winograd_2x2_words", "conv_2d.packed_pairs")
    channels = int(rng.choice([3, 5, 8, 17, 24, 34])) if square else int(rng.integers(2, 7))
    taps = (3, 3) if square else (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    return convolution_case(
        "random",
        depthwise=depthwise,
        x=(1, int(rng.integers(4, 12)), int(rng.integers(4, 20)), channels),
        filters=channels * int(rng.choice([1, 1, 2])) if depthwise else int(rng.integers(4, 11)),
        kernel=taps,
        stride=(1, 1) if square else (int(rng.integers(1, 4)), int(rng.integers(1, 3))),
        padding=str(rng.choice(["SAME", "VALID"])),
        activation=str(rng.choice(["NONE", "RELU"])),
        zero_point=int(rng.integers(-128, 128)),
        output_zero_point=int(rng.integers(-128, 100)),
    )


@pytest.mark.parametrize(
    "kernel",
    [
        "depthwise_conv_2d.word_plane",
        "depthwise_conv_2d.word_plane_lean",
        "conv_2d.winograd_2x2_words",
        "conv_2d.packed_lean",
        "conv_2d.packed_bytes",
        "conv_2d.packed_fours",
        "conv_2d.packed_pairs",  # of up to 306 values: branches back go by landings
    ],
)
def test_random_shapes_give_the_references_bytes(bench: Bench, kernel: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tried = 0
    while tried < ON_BOARD:
        data = build_case(random_case(rng, kernel))
        objective = "size" if kernel == "conv_2d.packed_bytes" else "balanced"
        folder = tmp_path / str(tried)
        built = build_bytes(data, folder, objective=objective, board=BOARD, kernel=kernel, overlap=False)
        if [layer.kernel for layer in built.manifest.layers] != [kernel]:
            continue
        assert differences(built, varied(built, 3), bench.running(built, expected)) == []
        recorded = bench.recorded()
        assert recorded.outside.count == 0
        assert too_near(bench.expected, recorded.spacings) == []
        tried += 1


def test_tiles_read_and_write_what_they_say() -> None:
    for height, width, above, left in itertools.product(range(2, 7), range(2, 7), (0, 1), (0, 1)):
        shape = Shape(height, width, 3, height - 2 + 2 * above, width - 2 + 2 * left, 5, above, left)
        if shape.out_height < 1 or shape.out_width < 1:
            continue
        assert shape.is_covered
        order = shape.order()
        assert int(order.reads_to.max()) <= height * width * 3
        assert int(order.writes_to.max()) == shape.out_height * shape.out_width * 5
        outside = shape.runs()["outside"]
        columns = np.arange(shape.tile_columns)[:, None] * 2 - left + np.arange(4)
        assert outside == shape.tile_rows * shape.blocks * int(((columns < 0) | (columns >= width)).sum())
