"""Pools, and MEAN and SUM over pixels, on int8: four channels in a word."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from tinygen.access import Spacing, spacing
from tinygen.fixedpoint import INT32_MAX, IntArray
from tinygen.ir import Op, Shape
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.blocks import MOST_WORDS, Blocks
from tinygen.kernels.armv7em.saturation import Saturation, in_each_byte
from tinygen.kernels.armv7em.window_order import window_order
from tinygen.kernels.armv7em.windows import Walk
from tinygen.ops.common import INT8, Clamp, full_range
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D, Ties
from tinygen.ops.reduce import Mean, ReduceMax, ReduceMin, Sum, reduction_loops
from tinygen.ops.window import Axis, Window
from tinygen.proofs.high_product import prove_high_product
from tinygen.proofs.word_products import FRACTION_BITS, WordProducts, prove_word_products

_MOST_TAPS = 16
"""More are not written out one by one."""
_FARTHEST = 4095
"""What LDR takes as an offset."""
_UNROLL = {"speed": 48, "balanced": 24, "size": 1}
"""Taps that the body of the innermost loop has in all, at most."""
_LANE = 1 << 15
_LARGEST_GAIN = 0.49
"""Of a halfword: its factor is 2**32 times as large, and a word."""


class Channels(NamedTuple):
    """Of a pixel: how many words they fill, and how many are left."""

    words: int
    rest: int


class Pool(NamedTuple):
    """What the kernels see of a layer: windows over one image of (height, width, channels)."""

    window: Window
    height: int
    width: int
    channels: int

    @property
    def walk(self) -> Walk:
        """Over all output pixels."""
        return Walk.of(self.window, self.height, self.width, self.channels)


def pool_of(site: Site) -> Pool | None:
    """The layer as a pool of one image, None if it is not one. A mean over the pixels of a batch is a row of pools."""
    shape: Shape = site.inputs[0].shape
    if any(tensor.dtype != INT8 for tensor in (site.inputs[0], *site.outputs)):
        return None
    if isinstance(site.op, AveragePool2D | FloatAveragePool | MaxPool2D):
        window: Window = site.op.window
        is_dense = window.rows.dilation == window.columns.dilation == 1
        return Pool(window, *shape[1:]) if shape[0] == 1 and is_dense else None
    loops = reduction_loops(shape, site.op.axes)
    kinds = "".join("r" if loop.is_reduced else "k" for loop in loops)
    if kinds not in ("r", "rk", "krk", "kr"):
        return None
    trips = [loop.trips for loop in loops]
    rows = trips[0] if kinds.startswith("k") else 1
    taps = trips[kinds.index("r")]
    channels = trips[-1] if kinds.endswith("k") else 1
    return Pool(Window(Axis(1, 1), Axis(taps, taps)), rows, taps, channels)


class Means(NamedTuple):
    """Sums (n,) of int8 values, the outputs (n,) for them, what these lie within, and how much a sum raises them."""

    sums: IntArray
    expected: IntArray
    clamp: Clamp
    gain: float


@dataclass(frozen=True)
class Line:
    """From sums of so many taps to outputs: the sums are doubled so often, and products of theirs are proved."""

    doublings: int
    products: WordProducts

    @property
    def factor(self) -> int:
        """Of a sum."""
        return self.products.factors[0]

    @property
    def offset(self) -> int:
        """Of the lowest output counted as zero."""
        return self.products.offset - (self.products.low << FRACTION_BITS)


def means_of(op: AveragePool2D | FloatAveragePool | Mean | Sum, taps: int) -> Means | None:
    """For every sum of so many int8 values; None where that is not known."""
    low, high = full_range(INT8)
    sums = np.arange(low * taps, high * taps + 1)
    if isinstance(op, FloatAveragePool):
        means = op.of_sums(sums - taps * op.zero_point, taps)
        return None if means is None else Means(sums, means, op.clamp, op.gain(taps))
    by_op = _division(op, taps, sums) if isinstance(op, AveragePool2D) else _rescaling(op, taps, sums)
    return Means(sums, *by_op)


@lru_cache(maxsize=1024)
def _line(op: AveragePool2D | FloatAveragePool | Mean | Sum, taps: int) -> Line | None:
    """Proved for every sum of so many int8 values."""
    found = means_of(op, taps)
    if found is None:
        return None
    sums, expected, clamp, gain = found
    doublings = math.ceil(math.log2(gain / _LARGEST_GAIN)) if gain > _LARGEST_GAIN else 0
    if taps * -full_range(INT8)[0] << doublings > _LANE:
        return None
    products = prove_word_products(expected, sums[None] << doublings, clamp, (gain / 2**doublings,), shift=16)
    return Line(doublings, products) if products else None


_SCALE_BITS = 8
_WORDS_OF_MEANS = 3
"""Of a block of channels; the constants of their rescaling take the registers of the fourth."""


@dataclass(frozen=True)
class Product:
    """A proved rescaling of sums: of one sum times 2**scale_bits, plus a start value that has the zero points, too."""

    scale_bits: int
    start: int
    multiplier: int
    addend: int
    step: int
    shift: int
    stepped: bool
    proof: str


@lru_cache(maxsize=1024)
def _product(op: Mean | Sum, taps: int) -> Product | None:
    low, high = full_range(INT8)
    reach = np.array([(low - op.zero_point) * taps]), np.array([(high - op.zero_point) * taps])
    clamp = full_range(INT8)
    if taps * -low > _LANE:
        return None
    found = prove_high_product(op.requant, op.output_zero_point, clamp, *reach, scale=1 << _SCALE_BITS)
    if found is None:
        return None
    start = int(found.start[0]) - (op.zero_point * taps << _SCALE_BITS)
    sums = [(value * taps << _SCALE_BITS) + start for value in (low, high)]
    if max(map(abs, (start, *sums))) > INT32_MAX:
        return None
    return Product(
        scale_bits=_SCALE_BITS,
        start=start,
        multiplier=int(found.multiplier[0]),
        addend=int(found.addend[0]),
        step=0 if found.step is None else int(found.step[0]),
        shift=found.shift,
        stepped=found.step is not None,
        proof=found.describe(),
    )


_Expected = tuple[IntArray, Clamp, float]


def _division(op: AveragePool2D, taps: int, sums: IntArray) -> _Expected:
    lowest = full_range(INT8)[0] if op.ties is Ties.UP else 0  # without sign, values are counted from the least
    means = op.divided(sums - taps * lowest, np.array(taps)) + lowest
    return np.clip(means, *op.clamp), op.clamp, 1 / taps


def _rescaling(op: Mean | Sum, taps: int, sums: IntArray) -> _Expected:
    clamp = full_range(INT8)
    y = op.requant.apply(sums - taps * op.zero_point) + op.output_zero_point
    return np.clip(y, *clamp), clamp, op.requant.factors[0]


def _is_short(site: Site) -> bool:
    pool = pool_of(site)
    if pool is None:
        return False
    pixels = list(pool.walk.pixels)
    return all(1 <= p.taps <= _MOST_TAPS and max(p.offsets) <= _FARTHEST for p in pixels) and len(pixels) <= 9


def _averages_short(site: Site) -> bool:
    pool = pool_of(site)
    return pool is not None and _is_short(site) and all(_line(site.op, taps) for taps in pool.walk.counts)


def _is_long(site: Site) -> bool:
    pool = pool_of(site)
    return pool is not None and not _is_short(site) and Blocks.of(pool.walk, site.objective) is not None


def _averages_long(site: Site) -> bool:
    pool = pool_of(site)
    if pool is None or not _is_long(site):
        return False
    (taps,) = pool.walk.counts
    line = _line(site.op, taps)
    return line is not None and line.doublings == 0


def _one_product(site: Site) -> Product | None:
    pool = pool_of(site)
    if pool is None or len(pool.walk.counts) > 1:
        return None
    (taps,) = pool.walk.counts
    return _product(site.op, taps)


def _prepare_mean(site: Site) -> Body:
    pool = pool_of(site)
    assert pool is not None
    proved = _one_product(site)
    proof = proved.proof if proved else ""
    return Body({**_values(pool, site.objective), "proved": proved}, variant=_variant(pool), proof=proof)


def _prepare_mean_blocks(site: Site) -> Body:
    pool = pool_of(site)
    assert pool is not None
    blocks = Blocks.of(pool.walk, site.objective, _WORDS_OF_MEANS)
    proved = _one_product(site)
    proof = proved.proof if proved else ""
    return Body({"blocks_of": blocks, "proved": proved}, variant=_variant(pool), proof=proof)


def _lines(op: Op, walk: Walk) -> Mapping[int, Line]:
    found = {taps: _line(op, taps) for taps in walk.counts}
    return {taps: line for taps, line in found.items() if line is not None}


def _prepare_average(site: Site) -> Body:
    pool = pool_of(site)
    assert pool is not None
    walk = pool.walk
    lines = _lines(site.op, walk)
    clip = _clip_values(next(iter(lines.values())))
    proof = next(iter(lines.values())).products.describe()
    return Body({**_values(pool, site.objective), "lines": lines, **clip}, variant=_variant(pool), proof=proof)


def _clip_values(line: Line) -> Mapping[str, object]:
    saturation = Saturation.of(line.products.low, line.products.high)
    return {
        "bits": saturation.bits,
        "room": in_each_byte(saturation.room),
        "lowest": in_each_byte(saturation.lowest),
    }


def _prepare_average_blocks(site: Site) -> Body:
    pool = pool_of(site)
    assert pool is not None
    lines = _lines(site.op, pool.walk)
    (line,) = lines.values()
    values = {"blocks_of": Blocks.of(pool.walk, site.objective), "factor": line.factor, "start": line.offset}
    return Body({**values, **_clip_values(line)}, variant=_variant(pool), proof=line.products.describe())


def _values(pool: Pool, objective: str) -> Mapping[str, object]:
    walk = pool.walk
    words = pool.channels // 4
    most = max(_UNROLL[objective] // max(walk.counts), 1)
    return {
        "walk": walk,
        "channels": Channels(words, pool.channels % 4),
        "unroll": max((size for size in range(1, most + 1) if words % size == 0), default=1),
    }


def _variant(pool: Pool) -> str:
    rows, columns = pool.window.rows, pool.window.columns
    return f"{rows.taps}x{columns.taps}_{pool.height}x{pool.width}x{pool.channels}"


def _prepare_extreme(site: Site) -> Body:
    pool = pool_of(site)
    assert pool is not None
    return Body({**_values(pool, site.objective), **_extreme_values(site.op)}, variant=_variant(pool))


def _extreme_values(op: MaxPool2D | ReduceMax | ReduceMin) -> Mapping[str, object]:
    low, high = full_range(INT8)
    clamp = op.clamp if isinstance(op, MaxPool2D) else (low, high)
    return {
        "largest": not isinstance(op, ReduceMin),
        "low": None if clamp[0] == low else in_each_byte(clamp[0] & 255),
        "high": None if clamp[1] == high else in_each_byte(clamp[1] & 255),
    }


def _prepare_extreme_blocks(site: Site) -> Body:
    pool = pool_of(site)
    assert pool is not None
    first = full_range(INT8)[1 if isinstance(site.op, ReduceMin) else 0]
    values = {"blocks_of": Blocks.of(pool.walk, site.objective), "first": in_each_byte(first & 255)}
    return Body({**values, **_extreme_values(site.op)}, variant=_variant(pool))


def _words_in_turn(site: Site) -> Mapping[int, Spacing]:
    """Pixel by pixel, four channels at a time, then those that are left one by one."""
    pool = pool_of(site)
    assert pool is not None
    words, rest = pool.channels // 4, pool.channels % 4
    return in_turn(pool, [4] * words + [1] * rest)


def _blocks_in_turn(site: Site, words: int = MOST_WORDS) -> Mapping[int, Spacing]:
    """Pixel by pixel, in blocks of at most so many words, then channels that are left one by one."""
    pool = pool_of(site)
    assert pool is not None
    blocks = Blocks.of(pool.walk, site.objective, words)
    assert blocks is not None
    return in_turn(pool, [4 * part.words or 1 for part in blocks.parts for _ in range(part.passes)])


def in_turn(pool: Pool, groups: list[int]) -> Mapping[int, Spacing]:
    """Pixel by pixel, so many channels at a time."""
    count = np.array(groups)
    image = pool.height, pool.width, pool.channels
    return {0: spacing(window_order(pool.window, image, np.cumsum(count) - count, count))}


def _kernels(
    name: str,
    ops: tuple[type[Op], ...],
    prepare: Callable[[Site], Body],
    accepts: Callable[[Site], bool],
    overlaps: Callable[[Site], Mapping[int, Spacing]],
) -> tuple[Kernel, ...]:
    needs = frozenset({"thumb2", "unaligned", "dsp"})
    return tuple(
        Kernel(name, op, prepare, requires=needs, accepts=accepts, overlaps=overlaps, assembly=True) for op in ops
    )


_AVERAGES = AveragePool2D, FloatAveragePool, Mean, Sum
_MEANS = Mean, Sum
_EXTREMES = MaxPool2D, ReduceMax, ReduceMin

KERNELS = (
    *_kernels("average_pool_2d.words", _AVERAGES, _prepare_average, _averages_short, _words_in_turn),
    *_kernels("average_pool_2d.blocks", _AVERAGES, _prepare_average_blocks, _averages_long, _blocks_in_turn),
    *_kernels(
        "mean.words",
        _MEANS,
        _prepare_mean,
        lambda site: _is_short(site) and _one_product(site) is not None,
        _words_in_turn,
    ),
    *_kernels(
        "mean.blocks",
        _MEANS,
        _prepare_mean_blocks,
        lambda site: _is_long(site) and _one_product(site) is not None,
        partial(_blocks_in_turn, words=_WORDS_OF_MEANS),
    ),
    *_kernels("max_pool_2d.words", _EXTREMES, _prepare_extreme, _is_short, _words_in_turn),
    *_kernels("max_pool_2d.blocks", _EXTREMES, _prepare_extreme_blocks, _is_long, _blocks_in_turn),
)
