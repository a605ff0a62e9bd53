"""Planes in strips: what the plan of a depthwise convolution loads, multiplies and stores is the convolution."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinygen.fixedpoint import IntArray
from tinygen.kernels.armv81m.strip_bands import Bands, bands_of
from tinygen.kernels.armv81m.strips import OUTPUTS, Strips, strips_of
from tinygen.kernels.armv81m.values import LANES
from tinygen.ops.window import Axis, Window

CHANNELS = 3


def axes() -> st.SearchStrategy[Axis]:
    return st.builds(
        Axis,
        taps=st.integers(1, 7),
        stride=st.integers(1, 3),
        dilation=st.integers(1, 2),
        before=st.integers(0, 3),
        after=st.integers(0, 3),
    )


def plane_of(strips: Strips, image: IntArray, width: int) -> IntArray:
    """A channel's plane, filled part by part, with zeros for zero points, and what the last load reaches beyond."""
    plane = np.zeros(strips.bytes(1), np.int64)
    for part in strips.parts:
        for strip in range(part.strips):
            first = part.first + strip * strips.column_step
            assert first >= 0 and first + part.columns <= width
            for row in range(strips.height):
                at = part.place + strip * strips.strip_bytes + row * strips.row
                plane[at : at + part.columns] = image[row, first : first + part.columns]
    return plane


def computed(strips: Strips, plane: IntArray, weights: IntArray, size: int) -> IntArray:
    """The outputs of a channel at their bytes, as the kernel walks; -1 where nothing was stored."""
    y = np.full(size, -1, np.int64)
    # Weights that lanes without a tap have are zero.
    vectors = np.append(weights, 0)[strips.scheme.taps_by_lane]
    x_at = y_at = 0
    for strip in range(strips.strips):
        if strip == strips.strips - 1:
            y_at -= strips.y_short
        for turn in strips.turns:
            x_at, y_at = x_at + turn.x_before, y_at + turn.y_before
            for block in turn.blocks * turn.times:
                sums = np.zeros(OUTPUTS, np.int64)
                for load in block.loads:
                    data = plane[x_at + load.offset : x_at + load.offset + LANES]
                    assert len(data) == LANES, "a load reaches beyond the planes"
                    for product in load.products:
                        sums[product.output] += data @ vectors[product.weights]
                for place, result in zip(strips.results[: strips.outputs], sums, strict=False):
                    assert y[y_at + place] in (-1, result)
                    y[y_at + place] = result
                x_at, y_at = x_at + block.x_step, y_at + block.y_step
        x_at, y_at = x_at + strips.x_next, y_at + strips.y_next
    assert x_at == strips.plane_bytes
    assert y_at == strips.out_width * CHANNELS
    return y


@settings(max_examples=80, deadline=None)
@given(axes(), axes(), st.integers(1, 13), st.integers(1, 19), st.integers(0, 2**32 - 1))
def test_every_plan_is_the_convolution(rows: Axis, columns: Axis, height: int, width: int, seed: int) -> None:
    window = Window(rows, columns)
    out = window.output_size(height, width)
    assume(min(out) > 0 and rows.before < rows.extent and columns.before < columns.extent)
    rng = np.random.default_rng(seed)
    image = rng.integers(-128, 128, (height, width))
    weights = rng.integers(-128, 128, (rows.taps, columns.taps))
    padded = window.pad(image[None, :, :, None], 0)
    views = window.tap_views(padded, *out)
    expected = sum(view[0, ..., 0] * weights[ky, kx] for ky, kx, view in views)
    for strips in strips_of((1, height, width, CHANNELS), (1, *out, CHANNELS), window):
        y = computed(strips, plane_of(strips, image, width), weights.reshape(-1), out[0] * out[1] * CHANNELS)
        assert np.array_equal(y[::CHANNELS].reshape(out), expected)
        assert (np.delete(y, np.s_[::CHANNELS]) == -1).all()


def image_of(bands: Bands, band: int, image: IntArray) -> IntArray:
    """The rows that a band's strips are filled from, with zeros outside the image."""
    first = band * bands.step - bands.before
    found = np.zeros((bands.strips.height, image.shape[1]), np.int64)
    top, count = max(-first, 0), bands.filled[band]
    found[top : top + count] = image[max(first, 0) :][:count]
    return found


@settings(max_examples=40, deadline=None)
@given(axes(), axes(), st.integers(4, 24), st.integers(1, 9), st.integers(0, 4000), st.integers(0, 2**32 - 1))
def test_bands_are_the_convolution(
    rows: Axis, columns: Axis, height: int, width: int, most_bytes: int, seed: int
) -> None:
    window = Window(rows, columns)
    out = window.output_size(height, width)
    assume(min(out) > 0 and rows.before < rows.extent and columns.before < columns.extent)
    bands = bands_of((1, height, width, CHANNELS), (1, *out, CHANNELS), window, 4, most_bytes)
    assume(bands is not None)
    assert bands is not None and bands.count > 1 and bands.bytes(4, width * CHANNELS) <= most_bytes
    rng = np.random.default_rng(seed)
    image = rng.integers(-128, 128, (height, width))
    weights = rng.integers(-128, 128, (rows.taps, columns.taps))
    padded = window.pad(image[None, :, :, None], 0)
    expected = sum(view[0, ..., 0] * weights[ky, kx] for ky, kx, view in window.tap_views(padded, *out))
    found = []
    for band in range(bands.count):
        plane = plane_of(bands.strips, image_of(bands, band, image), width)
        y = computed(bands.strips, plane, weights.reshape(-1), bands.results * out[1] * CHANNELS)
        found.append(y[::CHANNELS].reshape(bands.results, out[1]))
    assert np.array_equal(np.concatenate(found), expected)


def test_windows_of_three_share_loads() -> None:
    window = Window(Axis(3, 1, before=1, after=1), Axis(3, 1, before=1, after=1))
    best, *_ = strips_of((1, 48, 48, 8), (1, 48, 48, 8), window)
    assert best.scheme.stays
    assert all(2 * len(block.loads) <= OUTPUTS for turn in best.turns for block in turn.blocks)
