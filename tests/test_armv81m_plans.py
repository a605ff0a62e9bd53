"""What the assembly for MVE is planned from: every value of a row meets its weight once, and nothing beyond is read."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.kernels.armv7em.plane import Plane
from tinygen.kernels.armv81m.bands import Band
from tinygen.kernels.armv81m.pixel_blocks import PIXELS, PixelBlocks
from tinygen.kernels.armv81m.single_row import Row
from tinygen.kernels.armv81m.values import LANES
from tinygen.kernels.armv81m.walk import Load, Walk
from tinygen.ops.window import Axis

DEPTHS = (*range(1, 36), 112, 127, 128, 129, 130, 200, 240, 255, 256, 257, 300, 384, 391, 512, 1000)
REACH = 127


def loaded(loads: tuple[Load, ...], pointer: int) -> tuple[list[int], int]:
    """Where each vector begins, and where the pointer is then."""
    found = []
    for load in loads:
        assert abs(load.offset) <= REACH
        at = pointer + (0 if load.moves == "after" else load.offset)
        found.append(at)
        pointer = at + LANES if load.moves == "after" else at if load.moves else pointer
    return found, pointer


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_walk_multiplies_every_value_once_and_comes_back(depth: int) -> None:
    walk = Walk(depth)
    straight, pointer = loaded(walk.straight, walk.lead)
    looped, pointer = loaded(walk.turn * walk.turns, pointer)
    rest, pointer = loaded(walk.rest, pointer)
    begins = straight + looped + rest
    assert pointer - walk.back == walk.lead
    assert len(begins) == walk.vectors
    assert all(begin >= 0 and (walk.predicated or begin + LANES <= depth) for begin in begins)
    values = np.arange(1, depth + 1)
    padded = np.concatenate([values, np.zeros(LANES, np.int64)])
    (weights,) = walk.weights((values % 251 - 125).astype(np.int8)[None])
    total = sum(
        int(padded[begin : begin + LANES] @ row.astype(np.int64)) for begin, row in zip(begins, weights, strict=True)
    )
    assert total == int(values @ (values % 251 - 125))


@pytest.mark.parametrize("turn", [1, 8])
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_single_row_multiplies_every_value_once(depth: int, turn: int) -> None:
    row = Row(depth, 3, turn)
    whole = row.turns * row.turn + row.straight
    begins = [index * LANES for index in range(whole)]
    if row.last is not None:
        begins.append(whole * LANES + row.last)
    assert len(begins) == row.vectors
    assert all(begin >= 0 and (row.predicated or begin + LANES <= depth) for begin in begins)
    values = np.arange(1, depth + 1)
    padded = np.concatenate([values, np.zeros(LANES, np.int64)])
    (weights,) = row.in_vectors((values % 251 - 125).astype(np.int8)[None])
    total = sum(
        int(padded[begin : begin + LANES] @ each.astype(np.int64)) for begin, each in zip(begins, weights, strict=True)
    )
    assert total == int(values @ (values % 251 - 125))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 25])
@pytest.mark.parametrize("filters", [1, 2, 3, 6, 9])
def test_blocks_write_every_result(rows: int, filters: int) -> None:
    blocks = PixelBlocks(rows, 5, filters)
    written: set[int] = set()
    offsets = blocks.offsets.view("<u2").astype(int)
    steps = blocks.steps.reshape(-1).tolist() or [2] * blocks.pairs
    at = 0
    for block in range(blocks.count):
        if blocks.overlap and block == blocks.count - 1:
            at -= blocks.overlap * filters
        for step in steps:
            written |= set((at + offsets).tolist())
            at += step
        at += blocks.next_results
    assert written == set(range(rows * filters))


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 7, 125])
@pytest.mark.parametrize("filters", [1, 2, 3, 6, 9])
def test_sections_write_every_result_once(rows: int, filters: int) -> None:
    blocks = PixelBlocks(rows, 5, filters)
    written: list[int] = []
    offsets = blocks.offsets.view("<u2").astype(int)
    steps = blocks.steps.reshape(-1).tolist() or [2] * blocks.pairs
    at = 0
    for lanes, count in blocks.sections:
        for _ in range(count):
            block: set[int] = set()
            for step in steps:
                block |= set((at + offsets[: 2 * lanes]).tolist())
                at += step
            written += sorted(block)
            at += blocks.after(lanes)
    assert sorted(written) == [*range(rows * filters)]


@pytest.mark.parametrize(
    ("shape", "window", "strides"),
    [
        ((5, 6, 16), (3, 3), (1, 1)),
        ((6, 9, 32), (3, 2), (1, 1)),
        ((7, 9, 3), (3, 3), (2, 2)),
        ((9, 7, 10), (2, 5), (2, 1)),
        ((8, 8, 64), (3, 3), (2, 2)),
        ((6, 3, 16), (3, 3), (1, 1)),
    ],
)
def test_taps_give_the_sums_of_a_row_of_windows(
    shape: tuple[int, int, int], window: tuple[int, int], strides: tuple[int, int]
) -> None:
    rng = np.random.default_rng(2)
    height, width, channels = shape
    weights = rng.integers(-9, 9, (1, *window, channels)).astype(np.int8)
    rows, columns = (Axis(taps, stride) for taps, stride in zip(window, strides, strict=True))
    plane = Plane(height, width, channels, rows.output_size(height), columns.output_size(width), rows, columns, weights)
    band = Band(plane, 1)
    assert band.reaches
    image = rng.integers(-9, 9, (height, width, channels))
    flat = rng.integers(-9, 9, band.scratch)  # what lies between and beyond meets weights of zero
    for row in range(window[0]):
        flat[row * band.pitch : row * band.pitch + band.copied] = image[row].reshape(-1)[: band.copied]
    (vectors,) = band.weights
    sums = np.zeros(PIXELS, np.int64)
    registers: dict[int, np.ndarray] = {}
    pointer = band.lead
    taps = [(row, tap) for row in range(window[0]) for tap in band.run]
    for (row, tap), weight in zip(taps, vectors, strict=True):
        for lane, (register, place) in enumerate(tap):
            if place is not None:
                at = pointer + row * band.pitch + place
                assert abs(place) <= (508 if band.in_words else REACH) and 0 <= at <= band.scratch - LANES
                assert not band.in_words or at % 4 == 0
                registers[register] = flat[at : at + LANES]
            sums[lane] += int(registers[register] @ weight.astype(np.int64))
    for lane, at in enumerate(band.blocks.lanes):
        patch = image[: window[0], at * strides[1] : at * strides[1] + window[1]]
        assert sums[lane] == (patch * weights[0]).sum()
