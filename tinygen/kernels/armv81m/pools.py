"""Pools, and MEAN, SUM and extremes over pixels, on int8: eight sums or sixteen extremes of channels in a vector.

Where sums of integers do not decide a mean of ONNX Runtime's, four sums in float32 are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from tinygen.access import Spacing
from tinygen.ir import Op
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.pools import Pool, in_turn, means_of, pool_of
from tinygen.kernels.armv81m import narrowing
from tinygen.kernels.armv81m.reals import Quotient, RealValues, Rounding, are_in_range
from tinygen.kernels.armv81m.rows import steps
from tinygen.ops.common import INT8, full_range
from tinygen.ops.float_pool import FloatAveragePool
from tinygen.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ops.reduce import Mean, ReduceMax, ReduceMin, Sum
from tinygen.proofs.word_products import WordProducts, prove_word_products

_MEANS, _EXTREMES, _REALS = 8, 16, 4
"""Lanes."""
_MOST_TAPS = 256
"""That many int8 values have a sum of 16 bits."""
_FRACTIONS = (22, 18)
"""Bits that are tried."""
_NEAR = 127
_UNROLL = {"speed": 8, "balanced": 4, "size": 1}
"""Taps that are written out, at most."""


@dataclass(frozen=True)
class Windows:
    """Windows that all lie inside of the image: how often each loop runs, and the distances between them in bytes."""

    height: int
    width: int
    """Of the output."""
    rows: int
    """Of taps."""
    together: int
    """Rows that are written out, one after the other."""
    unroll: int
    loops: int
    """Of so many taps in a row."""
    rest: int
    """Taps of a row that no loop runs over."""
    channels: int
    row_step: int
    """From the end of a row of taps to the next."""
    pixel_step: int
    """From a pixel's window to the next one's."""
    line_step: int
    """From where the last pixel of a row leaves off to the next row's first window."""
    lanes: int
    """Channels of a vector."""

    @staticmethod
    def of(pool: Pool, lanes: int, objective: str) -> Windows | None:
        """None where windows reach over the border."""
        walk = pool.walk
        if len(walk.rows) > 1 or len(walk.rows[0].pixels) > 1:
            return None
        ((pixels,),) = (rows.pixels for rows in walk.rows)
        channels, pitch = pool.channels, walk.image.width * pool.channels
        unroll = min(_UNROLL[objective], pixels.width)
        return Windows(
            height=walk.rows[0].count,
            width=pixels.count,
            rows=pixels.height,
            together=pixels.height if pixels.height * pixels.width <= _UNROLL[objective] else 1,
            unroll=unroll,
            loops=pixels.width // unroll,
            rest=pixels.width % unroll,
            channels=channels,
            row_step=pitch - pixels.width * channels,
            pixel_step=pixels.step + channels,
            line_step=pixels.leave,
            lanes=lanes,
        )

    @property
    def turns(self) -> int:
        """Of the loop over rows of taps."""
        return self.rows // self.together

    @property
    def near(self) -> bool:
        """Whether a load can move its pointer to the next tap."""
        return self.channels <= _NEAR

    @property
    def whole(self) -> int:
        """Vectors of channels that are full."""
        return self.channels // self.lanes

    @property
    def rest_channels(self) -> int:
        """Channels that are left."""
        return self.channels % self.lanes

    @property
    def pixels(self) -> int:
        """Of the output."""
        return self.height * self.width


@lru_cache(maxsize=1024)
def _line(op: AveragePool2D | FloatAveragePool | Mean | Sum, taps: int) -> WordProducts | None:
    """Proved for every sum of so many int8 values."""
    found = means_of(op, taps) if taps <= _MOST_TAPS else None
    if found is None:
        return None
    for bits in _FRACTIONS:
        proved = prove_word_products(
            found.expected, found.sums[None], found.clamp, (found.gain,), shift=0, fraction_bits=bits
        )
        if proved is not None and narrowing.is_possible(proved):
            return proved
    return None


def _windows(site: Site, lanes: int) -> Windows | None:
    pool = pool_of(site)
    return None if pool is None else Windows.of(pool, lanes, site.objective)


def _taps(site: Site) -> int:
    """Of every window."""
    pool = pool_of(site)
    assert pool is not None
    (taps,) = pool.walk.counts
    return taps


def _averages(site: Site) -> bool:
    return _windows(site, _MEANS) is not None and _line(site.op, _taps(site)) is not None


def _prepare_average(site: Site) -> Body:
    windows, line = _windows(site, _MEANS), _line(site.op, _taps(site))
    assert windows is not None and line is not None
    values = {"w": windows, "factor": line.factors[0], "offset": narrowing.offset(line), **narrowing.values(line)}
    return Body(values, variant=_variant(site), proof=line.describe())


def _prepare_extreme(site: Site) -> Body:
    low, high = full_range(INT8)
    clamp = site.op.clamp if isinstance(site.op, MaxPool2D) else (low, high)
    values = {
        "w": _windows(site, _EXTREMES),
        "largest": not isinstance(site.op, ReduceMin),
        "low": None if clamp[0] == low else clamp[0],
        "high": None if clamp[1] == high else clamp[1],
    }
    return Body(values, variant=_variant(site))


def _averages_reals(site: Site) -> bool:
    """Tap by tap, whose number is a power of two."""
    op: FloatAveragePool = site.op
    taps = op.window.taps
    return (
        _windows(site, _REALS) is not None
        and taps & taps - 1 == 0
        and are_in_range(op.scale, op.output_scale)
        and not op.by_column
    )


def _prepare_average_of_reals(site: Site) -> Body:
    op: FloatAveragePool = site.op
    taps = op.window.taps
    low, high = (taps * (end - op.zero_point) * op.gain(taps) + op.output_zero_point for end in full_range(INT8))
    # What is added before rounding, and what after it.
    added = (0, op.output_zero_point) if op.in_float else (op.output_zero_point + op.offset, -op.offset)
    values = {
        "w": _windows(site, _REALS),
        "real": RealValues.of(np.float32(op.scale) / np.float32(taps), op.zero_point),
        "quotient": Quotient.of(np.float32(op.output_scale)),
        "rounding": Rounding.of(*added, (low, high), op.clamp),
    }
    return Body(values, variant=_variant(site), proof="float32 sums in vectors, as the profile has it")


def _variant(site: Site) -> str:
    pool = pool_of(site)
    assert pool is not None
    return f"{pool.window.rows.taps}x{pool.window.columns.taps}_{pool.height}x{pool.width}x{pool.channels}"


def _overlaps(site: Site, lanes: int) -> Mapping[int, Spacing]:
    pool = pool_of(site)
    assert pool is not None
    return in_turn(pool, list(steps(pool.channels, lanes)))


def _kernels(
    name: str, ops: tuple[type[Op], ...], lanes: int, prepare: Callable[[Site], Body], accepts: Callable[[Site], bool]
) -> tuple[Kernel, ...]:
    return tuple(
        Kernel(
            name,
            op,
            prepare,
            requires=frozenset({"thumb2", "mve", "loops"}),
            accepts=accepts,
            overlaps=partial(_overlaps, lanes=lanes),
            assembly=True,
        )
        for op in ops
    )


KERNELS = (
    *_kernels(
        "average_pool_2d.vectors", (AveragePool2D, FloatAveragePool, Mean, Sum), _MEANS, _prepare_average, _averages
    ),
    *_kernels(
        "max_pool_2d.vectors",
        (MaxPool2D, ReduceMax, ReduceMin),
        _EXTREMES,
        _prepare_extreme,
        lambda site: _windows(site, _EXTREMES) is not None,
    ),
    *_kernels("float_pool.vectors", (FloatAveragePool,), _REALS, _prepare_average_of_reals, _averages_reals),
)
