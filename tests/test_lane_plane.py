"""Depthwise convolutions with two pixels in a word: planes, groups of taps, and sums at their limits."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from accesses import expected, too_near
from building import build_bytes, differences
from emulated_bench import Bench
from tflite_builder import build_case

from tinygen.kernels.armv6m.depthwise_lanes import CUTS, Cut, cuts_of
from tinygen.kernels.armv6m.lane_plane import LANE, LanePlane, lane_plane
from tinygen.ops.convolution_cases import convolution_case
from tinygen.ops.window import Axis, Window
from tinygen.samples import Sample

BOARD = "microbit"
KERNEL = "depthwise_conv_2d.lane_plane"
MOST = 255
PLANES = 300
ZERO = -9


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


def rows_of_words(plane: LanePlane, image: np.ndarray) -> np.ndarray:
    """(height, words, 2): both pixels of every word, as the kernel fills rows."""
    distance = plane.words.out_width * plane.stride
    found = np.full((len(image), plane.words.pitch, 2), ZERO)
    for word in range(plane.words.pitch):
        left = word - plane.left
        if word >= plane.left:
            found[:, word, 0] = image[:, left]
        if word < plane.left + plane.inner:
            found[:, word, 1] = image[:, left + distance]
    return found


def test_words_hold_the_windows_of_both_halves() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(PLANES):
        height, width = int(rng.integers(1, 12)), int(rng.integers(4, 40))
        stride = int(rng.integers(1, 3))
        rows = Axis(3, int(rng.integers(1, 4)), 1, *(int(pad) for pad in rng.integers(0, 2, 2)))
        columns = Axis(3, stride, 1, *(int(pad) for pad in rng.integers(0, 2, 2)))
        window = Window(rows, columns)
        out = window.output_size(height, width)
        if min(out) < 1:
            continue
        plane = lane_plane((1, height, width, 1), (1, *out, 1), window, 1000)
        if plane is None:
            continue
        image = rng.integers(-128, 128, (height, width))
        words = rows_of_words(plane, image)
        padded = window.pad(image[None, :, :, None], ZERO)
        for y, x, view in window.tap_views(padded, *out):
            for row, column in itertools.product(range(out[0]), range(out[1])):
                half, place = divmod(column, plane.words.out_width)
                at = row * rows.stride + y - rows.before
                read = words[at, place * stride + x, half] if 0 <= at < height else ZERO
                assert read == view[0, row, column, 0]
        found.append((stride, plane.left, plane.right, plane.inner % 4))
    assert len(set(found)) == 6  # strides, borders at both sides, at one, at none, and where rows begin in the loop


def test_every_filter_has_a_cut_and_no_group_leaves_its_half() -> None:
    rng = np.random.default_rng(2)
    weights = np.where(rng.random((9, 500)) < 0.5, 127, rng.integers(-127, 128, (9, 500)))
    weights[:, ::3] //= 2
    chosen = cuts_of(weights)
    assert chosen is not None and set(chosen) == set(range(len(CUTS)))
    for number, cut in enumerate(CUTS):
        groups = cut.groups()
        assert sorted(itertools.chain(*groups)) == list(range(9))
        for group in groups:
            reach = 128 * np.abs(weights[group][:, chosen == number]).sum(axis=0)
            assert np.all(reach < LANE // 2)
    weights[:2, 5] = -128
    assert cuts_of(weights) is None


def at_its_limits(cut: Cut, rng: np.random.Generator) -> np.ndarray:
    """Nine weights of which every group comes to as much as it may, or to what it can, and no other cut takes less."""
    while True:
        weights = np.zeros(9, np.int64)
        for group in cut.groups():
            left = MOST
            for number, tap in enumerate(group):
                others = len(group) - number - 1
                weights[tap] = min(127, left) if others < 2 else int(rng.integers(0, 128))
                left -= weights[tap]
        weights *= rng.choice([-1, 1], 9) if rng.random() < 0.7 else rng.choice([-1, 1])
        if cuts_of(weights[:, None]) == [CUTS.index(cut)]:
            return weights


@pytest.mark.parametrize("stride", [1, 2])
def test_sums_at_their_limits_are_exact(bench: Bench, stride: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    channels = 4 * len(CUTS)
    case = convolution_case(
        "limits",
        depthwise=True,
        x=(1, 4, 8 * stride, channels),
        filters=channels,
        kernel=(3, 3),
        stride=(stride, stride),
        zero_point=-128,
        output_scale=1.5,
        output_zero_point=-128,
    )
    x, weights, bias = case.inputs
    assert weights is not None
    data = np.stack([at_its_limits(cut, rng) for cut in CUTS for _ in range(4)], axis=-1)
    limits = dataclasses.replace(weights, data=data.reshape(weights.shape).astype(np.int8))
    case = dataclasses.replace(case, inputs=(x, limits, bias))
    built = build_bytes(build_case(case), tmp_path, board=BOARD, kernel=KERNEL, overlap=False)
    assert [layer.kernel for layer in built.manifest.layers] == [KERNEL]
    (tensor,) = built.manifest.inputs
    ends = np.array([-128, 127], np.int8)
    inputs = [Sample(f"all {value}", (np.full(tensor.shape, value, np.int8),)) for value in ends]
    inputs += [Sample(f"ends {number}", (rng.choice(ends, tensor.shape),)) for number in range(8)]
    assert differences(built, inputs, bench.running(built, expected)) == []
    recorded = bench.recorded()
    assert recorded.outside.count == 0
    assert too_near(bench.expected, recorded.spacings) == []
